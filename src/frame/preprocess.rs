//! From a picture to the network's input: scale, resize, subtract the mean (Faster R-CNN §3.3).
//!
//! The reference code subtracts the mean from the BGR pixels and lets `cv2.resize(fx=s, fy=s, INTER_LINEAR)` make the
//! shorter side 600, unless the longer one would exceed 1000. This gives the same numbers (up to f32 rounding):
//!
//! * output size: `round(size·s)`, half to even;
//! * output pixel `x` looks at source position `(x + 0.5)/s - 0.5`, between its two neighbours, clamped at the edge;
//!   `1/s` is exact here, not the ratio of the rounded sizes;
//! * the mean is subtracted after the resize: the two weights of a bilinear sample add up to one.
//!
//! Source: RGB8 rows. Result: planar f32, blue, green, red ([`Blob`]); or, for networks in 8 bits, the same numbers rounded,
//! as rows of red, green, blue bytes ([`Pixels`]).
//!
//! The arithmetic is in `resize`.

use super::Picture;
use super::resize::{Resize, Tap};
use crate::kernels::Kernels;

/// How large the network's input is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scaling {
    /// Wanted length of the shorter side, in pixels.
    pub short: u32,
    /// The longer side is not made longer than this.
    pub long_max: u32,
}

impl Default for Scaling {
    fn default() -> Self {
        Self { short: 600, long_max: 1000 }
    }
}

impl Scaling {
    /// The factor for a picture of this size.
    pub fn factor(&self, width: usize, height: usize) -> f64 {
        let (shorter, longer) = (width.min(height).max(1) as f64, width.max(height).max(1) as f64);
        let scale = f64::from(self.short) / shorter;
        if (scale * longer).round_ties_even() > f64::from(self.long_max) {
            f64::from(self.long_max) / longer
        } else {
            scale
        }
    }

    /// Columns and rows of the network's input for a picture of this size. Never zero: a very thin picture keeps one
    /// row or column, where OpenCV would refuse it.
    pub fn input_size(&self, width: usize, height: usize) -> (usize, usize) {
        let scale = self.factor(width, height);
        let side = |n: usize| ((n as f64 * scale).round_ties_even() as usize).max(1);
        (side(width), side(height))
    }
}

/// The network's input. Reused from picture to picture, so that its memory is taken once.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Blob {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Network input pixels per picture pixel, the same in both directions.
    pub scale: f32,
    /// Blue, green and red plane, `height·width` values each, row by row.
    pub data: Vec<f32>,
}

/// The network's input in 8 bits. Reused like a [`Blob`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pixels {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Network input pixels per picture pixel, the same in both directions.
    pub scale: f32,
    /// Red, green and blue of each pixel, row by row.
    pub data: Vec<u8>,
}

/// How a value of the network's input is told in 8 bits: `round(value / scale) + zero`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Steps {
    /// Value of one step.
    pub scale: f32,
    /// What stands for 0 in blue, green and red.
    pub zeros: [u8; 3],
}

/// Makes inputs of pictures, in memory that is kept.
#[derive(Debug)]
pub struct Preprocessor {
    kernels: Kernels,
    resize: Resize,
}

impl Default for Preprocessor {
    fn default() -> Self {
        Self::new(Kernels::best())
    }
}

impl Preprocessor {
    /// On certain kernels.
    pub fn new(kernels: Kernels) -> Self {
        Self { kernels, resize: Resize::default() }
    }

    /// Resizes `picture` by `scaling`, subtracts `mean_bgr` and writes the planes into `out`, on the current team.
    ///
    /// # Panics
    /// If the picture is empty or does not hold `width·height·3` bytes; no decoded picture is like that.
    pub fn planes(&mut self, picture: &Picture, scaling: Scaling, mean_bgr: [f32; 3], out: &mut Blob) {
        (out.width, out.height, out.scale) = self.prepare(picture, scaling);
        out.data.resize(3 * out.width * out.height, 0.0);
        self.resize.planes(self.kernels, picture, mean_bgr, out.width, &mut out.data);
    }

    /// The same numbers as [`planes`](Self::planes) makes, in 8 bits.
    ///
    /// # Panics
    /// As `planes` does.
    pub fn pixels(&mut self, picture: &Picture, scaling: Scaling, mean_bgr: [f32; 3], steps: Steps, out: &mut Pixels) {
        (out.width, out.height, out.scale) = self.prepare(picture, scaling);
        out.data.resize(3 * out.width * out.height, 0);
        self.resize.pixels(self.kernels, picture, mean_bgr, steps, out.width, &mut out.data);
    }

    /// Columns, rows and scale of the input; which pixels it looks at is noted.
    fn prepare(&mut self, picture: &Picture, scaling: Scaling) -> (usize, usize, f32) {
        let (width, height) = (picture.width, picture.height);
        assert!(width > 0 && height > 0 && picture.rgb.len() == width * height * 3, "not a picture");
        let factor = scaling.factor(width, height);
        let (out_width, out_height) = scaling.input_size(width, height);
        self.resize.columns.clear();
        self.resize.columns.extend((0..out_width).map(|x| Tap::new(x, 1.0 / factor, width)));
        self.resize.rows.clear();
        self.resize.rows.extend((0..out_height).map(|y| Tap::new(y, 1.0 / factor, height)));
        (out_width, out_height, factor as f32)
    }
}

/// [`Preprocessor::planes`] without memory that is kept.
///
/// # Panics
/// As `planes` does.
pub fn preprocess(picture: &Picture, scaling: Scaling, mean_bgr: [f32; 3], out: &mut Blob) {
    Preprocessor::default().planes(picture, scaling, mean_bgr, out);
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn gradient(width: usize, height: usize) -> Picture {
        let rgb = (0..width * height * 3).map(|i| (i * 7 % 251) as u8).collect();
        Picture::new(width, height, rgb).unwrap()
    }

    #[test]
    fn sizes_follow_the_rule_of_the_reference_code() {
        let s = Scaling::default();
        assert_eq!(s.input_size(500, 375), (800, 600));
        assert_eq!(s.input_size(375, 500), (600, 800));
        assert_eq!(s.input_size(1920, 1080), (1000, 562)); // 562.5, half to even
        assert_eq!(s.input_size(1000, 600), (1000, 600));
        assert_eq!(s.input_size(1, 1), (600, 600));
        assert_eq!(s.input_size(20_000, 1), (1000, 1));
    }

    #[test]
    fn at_factor_one_the_pixels_come_through_as_planar_bgr_minus_mean() {
        let p = gradient(7, 5);
        let mut blob = Blob::default();
        preprocess(&p, Scaling { short: 5, long_max: 100 }, [1.0, 2.0, 3.0], &mut blob);
        assert_eq!((blob.width, blob.height, blob.scale), (7, 5, 1.0));
        for (i, pixel) in p.rgb.chunks_exact(3).enumerate() {
            let got = [blob.data[i], blob.data[35 + i], blob.data[70 + i]];
            assert_eq!(got, [f32::from(pixel[2]) - 1.0, f32::from(pixel[1]) - 2.0, f32::from(pixel[0]) - 3.0]);
        }
    }

    #[test]
    fn the_mirrored_picture_gives_the_mirrored_input_where_the_sizes_divide() {
        let p = gradient(40, 30);
        let mut mirrored = p.clone();
        for row in mirrored.rgb.chunks_exact_mut(40 * 3) {
            row.reverse();
            row.chunks_exact_mut(3).for_each(<[u8]>::reverse);
        }
        let s = Scaling { short: 60, long_max: 200 };
        let (mut a, mut b) = (Blob::default(), Blob::default());
        preprocess(&p, s, [0.0; 3], &mut a);
        preprocess(&mirrored, s, [0.0; 3], &mut b);
        for (ra, rb) in a.data.chunks_exact(80).zip(b.data.chunks_exact(80)) {
            assert!(ra.iter().zip(rb.iter().rev()).all(|(x, y)| (x - y).abs() < 1e-4));
        }
    }

    proptest! {
        #[test]
        fn any_size_gives_values_between_the_extremes(w in 1usize..60, h in 1usize..60, short in 1u32..90) {
            let p = gradient(w, h);
            let mut blob = Blob::default();
            preprocess(&p, Scaling { short, long_max: 120 }, [0.0; 3], &mut blob);
            prop_assert_eq!(blob.data.len(), 3 * blob.width * blob.height);
            prop_assert!(blob.width >= 1 && blob.height >= 1 && blob.width <= 120 && blob.height <= 120);
            prop_assert!(blob.data.iter().all(|v| (0.0..=250.001).contains(v)));
        }

        #[test]
        fn a_reused_blob_gives_the_same_as_a_new_one(w in 1usize..40, h in 1usize..40) {
            let mut reused = Blob::default();
            preprocess(&gradient(50, 9), Scaling::default(), [0.0; 3], &mut reused);
            let mut fresh = Blob::default();
            let s = Scaling { short: 48, long_max: 64 };
            preprocess(&gradient(w, h), s, [0.0; 3], &mut reused);
            preprocess(&gradient(w, h), s, [0.0; 3], &mut fresh);
            prop_assert_eq!(reused.data, fresh.data);
        }
    }

    #[test]
    fn pixels_are_the_planes_rounded() {
        for (w, h, short) in
            [(7, 5, 5), (40, 30, 60), (50, 70, 33), (1, 1, 9), (1, 30, 20), (64, 48, 48), (333, 100, 71)]
        {
            let (p, scaling) = (gradient(w, h), Scaling { short, long_max: 200 });
            // Where zero points are not the rounded means, bytes change even at factor one.
            for (mean, steps) in [
                ([102.9801, 115.9465, 122.7717], Steps { scale: 1.0, zeros: [103, 116, 123] }),
                ([102.9801, 115.9465, 122.7717], Steps { scale: 0.75, zeros: [90, 128, 10] }),
            ] {
                let (mut blob, mut pixels) = (Blob::default(), Pixels::default());
                preprocess(&p, scaling, mean, &mut blob);
                let team = crate::kernels::Team::new(3).unwrap();
                let mut preprocessor = Preprocessor::default();
                for _ in 0..2 {
                    team.install(|| preprocessor.pixels(&p, scaling, mean, steps, &mut pixels));
                }
                assert_eq!((pixels.width, pixels.height, pixels.scale), (blob.width, blob.height, blob.scale));
                let plane = blob.width * blob.height;
                for (i, got) in pixels.data.iter().enumerate() {
                    let channel = 2 - i % 3;
                    let value = blob.data[channel * plane + i / 3] / steps.scale;
                    let want = (value.round_ties_even() + f32::from(steps.zeros[channel])).clamp(0.0, 255.0) as u8;
                    assert_eq!(*got, want, "{w}×{h} to {short} at {i}");
                }
            }
        }
    }

    #[test]
    fn the_number_of_threads_does_not_change_the_planes() {
        let run = |threads: usize| {
            let mut blob = Blob::default();
            let team = crate::kernels::Team::new(threads).unwrap();
            team.install(|| preprocess(&gradient(150, 97), Scaling { short: 131, long_max: 300 }, [1.0; 3], &mut blob));
            blob
        };
        assert_eq!(run(1), run(4));
    }
}
