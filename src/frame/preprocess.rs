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
//! Source: RGB8 rows. Result: planar f32, blue, green, red.
//!
//! 1. Columns and weights are computed once per picture, not per row.
//! 2. Source rows are stretched horizontally at most once each, into two rows kept between output rows.
//! 3. The vertical step is a plain loop over three slices, which the compiler vectorises.

use super::Picture;

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

/// Where a sample along one axis comes from: `w0·source[at] + w1·source[next]`.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tap {
    at: usize,
    next: usize,
    w0: f32,
    w1: f32,
}

impl Tap {
    /// The tap of output position `i`; `inverse` is source pixels per output pixel.
    fn new(i: usize, inverse: f64, source_len: usize) -> Self {
        // In f64, as IPP computes it inside of OpenCV; without IPP, OpenCV rounds the position to f32 first, which
        // moves the values of a 4000 pixel wide picture by up to 0.05.
        let position = (i as f64 + 0.5) * inverse - 0.5;
        let last = source_len - 1;
        let below = position.floor();
        if below < 0.0 {
            Self { at: 0, next: 0, w0: 1.0, w1: 0.0 }
        } else if below as usize >= last {
            Self { at: last, next: last, w0: 1.0, w1: 0.0 }
        } else {
            let w1 = (position - below) as f32;
            Self { at: below as usize, next: below as usize + 1, w0: 1.0 - w1, w1 }
        }
    }
}

/// Resizes `picture` by `scaling`, subtracts `mean_bgr` and writes the planes into `out`.
///
/// # Panics
/// If the picture is empty or does not hold `width·height·3` bytes; no decoded picture is like that.
pub fn preprocess(picture: &Picture, scaling: Scaling, mean_bgr: [f32; 3], out: &mut Blob) {
    let (width, height) = (picture.width, picture.height);
    assert!(width > 0 && height > 0 && picture.rgb.len() == width * height * 3, "not a picture");
    let factor = scaling.factor(width, height);
    let inverse = 1.0 / factor;
    let (out_width, out_height) = scaling.input_size(width, height);

    out.scale = factor as f32;
    (out.width, out.height) = (out_width, out_height);
    out.data.resize(3 * out_width * out_height, 0.0);
    let columns: Vec<Tap> = (0..out_width)
        .map(|x| Tap::new(x, inverse, width))
        .map(|tap| Tap { at: tap.at * 3, next: tap.next * 3, ..tap })
        .collect();
    let mut rows = [vec![0.0; 3 * out_width], vec![0.0; 3 * out_width]];

    // Which source row each of the two stretched rows holds.
    let mut held = [usize::MAX; 2];
    let plane = out_width * out_height;
    let (blue, rest) = out.data.split_at_mut(plane);
    let (green, red) = rest.split_at_mut(plane);
    for y in 0..out_height {
        let tap = Tap::new(y, inverse, height);
        for wanted in [tap.at, tap.next] {
            if !held.contains(&wanted) {
                // Rows only move down, so the one that is no longer needed is the upper one.
                let slot = if held[0] == tap.at || held[0] == tap.next { 1 } else { 0 };
                stretch(&picture.rgb[wanted * width * 3..][..width * 3], &columns, &mut rows[slot]);
                held[slot] = wanted;
            }
        }
        let [upper, lower] = [tap.at, tap.next].map(|row| &rows[usize::from(held[0] != row)]);
        for (channel, to) in [&mut *blue, &mut *green, &mut *red].into_iter().enumerate() {
            let part = channel * out_width..(channel + 1) * out_width;
            let to = &mut to[y * out_width..][..out_width];
            blend(&upper[part.clone()], &lower[part], tap, mean_bgr[channel], to);
        }
    }
}

/// One source row, stretched: RGB pixels to a blue, a green and a red row one after another.
fn stretch(source: &[u8], columns: &[Tap], to: &mut [f32]) {
    let (blue, rest) = to.split_at_mut(columns.len());
    let (green, red) = rest.split_at_mut(columns.len());
    for (((tap, b), g), r) in columns.iter().zip(blue).zip(green).zip(red) {
        let (p, q) = (&source[tap.at..tap.at + 3], &source[tap.next..tap.next + 3]);
        let mix = |c: usize| f32::from(p[c]) * tap.w0 + f32::from(q[c]) * tap.w1;
        (*b, *g, *r) = (mix(2), mix(1), mix(0));
    }
}

fn blend(upper: &[f32], lower: &[f32], tap: Tap, mean: f32, to: &mut [f32]) {
    for ((to, &u), &l) in to.iter_mut().zip(upper).zip(lower) {
        *to = u * tap.w0 + l * tap.w1 - mean;
    }
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
}
