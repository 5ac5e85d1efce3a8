//! Bilinear scaling: each output pixel from two columns of two rows of the picture.
//!
//! 1. Columns, rows and weights are computed once per picture, not per pixel.
//! 2. Source rows are stretched horizontally at most once each, into two rows kept between output rows.
//! 3. The vertical step is a plain loop over slices, compiled for the kernels' instruction set.
//! 4. Output rows are shared out in bands over the current team.
//! 5. At factor one nothing is mixed: a byte becomes what a table says, which is nearly always itself.

use super::Picture;
use super::preprocess::Steps;
use crate::kernels::int8::to_u8;
use crate::kernels::{Kernels, Simd, Work, team};

/// Where a sample along one axis comes from: `w0·source[at] + w1·source[next]`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tap {
    at: usize,
    next: usize,
    w0: f32,
    w1: f32,
}

impl Tap {
    /// The tap of output position `i`; `inverse` is source pixels per output pixel.
    pub fn new(i: usize, inverse: f64, source_len: usize) -> Self {
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

    /// Whether it takes one pixel as it is.
    fn is_plain(&self) -> bool {
        self.w0 == 1.0 && self.w1 == 0.0
    }
}

/// Which pixels make which, and memory.
#[derive(Debug, Default)]
pub struct Resize {
    pub columns: Vec<Tap>,
    pub rows: Vec<Tap>,
    bands: Vec<Stretched>,
    /// Mean and zero point of each number of a row of pixels.
    means: Vec<f32>,
    zeros: Vec<u8>,
}

/// The two source rows that are at work, stretched, and which they are.
#[derive(Debug, Default)]
struct Stretched {
    rows: [Vec<f32>; 2],
    held: [usize; 2],
}

impl Stretched {
    fn restart(&mut self, len: usize) {
        self.held = [usize::MAX; 2];
        // A vector of three channels is written as four numbers.
        self.rows.iter_mut().for_each(|row| row.resize(len + 1, 0.0));
    }

    /// The rows of a tap, stretched by `stretch` where they are not yet.
    #[inline(always)]
    fn of(&mut self, tap: Tap, stretch: impl Fn(usize, &mut [f32])) -> [&[f32]; 2] {
        for wanted in [tap.at, tap.next] {
            if !self.held.contains(&wanted) {
                // Rows only move down, so the one that is no longer needed is the upper one.
                let slot = if self.held[0] == tap.at || self.held[0] == tap.next { 1 } else { 0 };
                stretch(wanted, &mut self.rows[slot]);
                self.held[slot] = wanted;
            }
        }
        [tap.at, tap.next].map(|row| &self.rows[usize::from(self.held[0] != row)][..])
    }
}

/// Bands of output rows for each thread.
const BANDS: usize = 4;

impl Resize {
    /// Output rows of a band; there is memory for each.
    fn bands(&mut self) -> usize {
        let (rows, len) = (self.rows.len(), 3 * self.columns.len());
        let band = rows.div_ceil(BANDS * team::threads());
        self.bands.resize_with(rows.div_ceil(band), Stretched::default);
        self.bands.iter_mut().for_each(|band| band.restart(len));
        band
    }

    /// Blue, green and red plane, mean subtracted.
    pub fn planes(&mut self, kernels: Kernels, picture: &Picture, mean_bgr: [f32; 3], width: usize, out: &mut [f32]) {
        let band = self.bands();
        let (blue, rest) = out.split_at_mut(out.len() / 3);
        let (green, red) = rest.split_at_mut(rest.len() / 2);
        let Self { columns, rows, bands, .. } = self;
        team::for_each_band(bands, [blue, green, red], band * width, |i, stretched, planes| {
            kernels.run(Planes { picture, columns, rows: &rows[i * band..], mean_bgr, stretched, planes });
        });
    }

    /// Rows of red, green and blue bytes.
    pub fn pixels(
        &mut self,
        kernels: Kernels,
        picture: &Picture,
        mean_bgr: [f32; 3],
        steps: Steps,
        width: usize,
        out: &mut [u8],
    ) {
        let band = self.bands();
        let Self { columns, rows, bands, means, zeros } = self;
        if (width, rows.len()) == (picture.width, picture.height) && columns.iter().chain(&*rows).all(Tap::is_plain) {
            return recode(picture, mean_bgr, steps, band * width * 3, out);
        }
        let [b, g, r] = mean_bgr;
        means.clear();
        means.extend([r, g, b].into_iter().cycle().take(3 * width));
        let [b, g, r] = steps.zeros;
        zeros.clear();
        zeros.extend([r, g, b].into_iter().cycle().take(3 * width));
        team::for_each_band(bands, [out], band * width * 3, |i, stretched, [out]| {
            let rows = &rows[i * band..];
            kernels.run(Rows { picture, columns, rows, means, zeros, scale: steps.scale, stretched, out });
        });
    }
}

/// A picture of the right size already.
fn recode(picture: &Picture, mean_bgr: [f32; 3], steps: Steps, len: usize, out: &mut [u8]) {
    let code =
        |channel: usize, byte: usize| to_u8((byte as f32 - mean_bgr[channel]) / steps.scale, steps.zeros[channel]);
    let tables: [[u8; 256]; 3] = [2, 1, 0].map(|channel| std::array::from_fn(|byte| code(channel, byte)));
    let same = tables.iter().all(|table| table.iter().enumerate().all(|(byte, code)| byte == usize::from(*code)));
    team::for_each_chunk(out, len, |i, out| {
        let from = &picture.rgb[i * len..][..out.len()];
        if same {
            return out.copy_from_slice(from);
        }
        for (i, (out, byte)) in out.iter_mut().zip(from).enumerate() {
            *out = tables[i % 3][usize::from(*byte)];
        }
    });
}

/// A band of rows of the three planes.
struct Planes<'a> {
    picture: &'a Picture,
    columns: &'a [Tap],
    rows: &'a [Tap],
    mean_bgr: [f32; 3],
    stretched: &'a mut Stretched,
    planes: [&'a mut [f32]; 3],
}

impl Work for Planes<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let width = self.columns.len();
        let [blue, green, red] = self.planes.map(|plane| plane.chunks_exact_mut(width));
        for (((tap, blue), green), red) in self.rows.iter().zip(blue).zip(green).zip(red) {
            let stretch = |row: usize, to: &mut [f32]| stretch_planes(source(self.picture, row), self.columns, to);
            let [upper, lower] = self.stretched.of(*tap, stretch);
            for (channel, to) in [blue, green, red].into_iter().enumerate() {
                let (mean, at) = (self.mean_bgr[channel], channel * width);
                for ((to, u), l) in to.iter_mut().zip(&upper[at..]).zip(&lower[at..]) {
                    *to = u * tap.w0 + l * tap.w1 - mean;
                }
            }
        }
    }
}

/// A band of rows of pixels.
struct Rows<'a> {
    picture: &'a Picture,
    columns: &'a [Tap],
    rows: &'a [Tap],
    means: &'a [f32],
    zeros: &'a [u8],
    scale: f32,
    stretched: &'a mut Stretched,
    out: &'a mut [u8],
}

impl Work for Rows<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        for (tap, out) in self.rows.iter().zip(self.out.chunks_exact_mut(3 * self.columns.len())) {
            let stretch = |row: usize, to: &mut [f32]| stretch_pixels(source(self.picture, row), self.columns, to);
            let [upper, lower] = self.stretched.of(*tap, stretch);
            let numbers = upper.iter().zip(lower).zip(self.means).zip(self.zeros).zip(out);
            for ((((u, l), mean), zero), out) in numbers {
                *out = to_u8((u * tap.w0 + l * tap.w1 - mean) / self.scale, *zero);
            }
        }
    }
}

fn source(picture: &Picture, row: usize) -> &[u8] {
    &picture.rgb[row * picture.width * 3..][..picture.width * 3]
}

/// One source row, stretched: RGB pixels to a blue, a green and a red row one after another.
#[inline(always)]
fn stretch_planes(source: &[u8], columns: &[Tap], to: &mut [f32]) {
    let (blue, rest) = to.split_at_mut(columns.len());
    let (green, red) = rest.split_at_mut(columns.len());
    for (((tap, b), g), r) in columns.iter().zip(blue).zip(green).zip(red) {
        let (p, q) = (&source[3 * tap.at..][..3], &source[3 * tap.next..][..3]);
        let mix = |c: usize| f32::from(p[c]) * tap.w0 + f32::from(q[c]) * tap.w1;
        (*b, *g, *r) = (mix(2), mix(1), mix(0));
    }
}

/// One source row, stretched. `to` has room for one number more than the pixels take.
#[inline(always)]
fn stretch_pixels(source: &[u8], columns: &[Tap], to: &mut [f32]) {
    let last = source.len() / 3 - 1;
    for (i, tap) in columns.iter().enumerate() {
        // Four numbers make a vector; the fourth is overwritten by the next pixel's first.
        let four = |at: usize| match at < last {
            true => <[u8; 4]>::try_from(&source[3 * at..3 * at + 4]).unwrap_or_default(),
            false => [source[3 * at], source[3 * at + 1], source[3 * at + 2], 0],
        };
        let (p, q) = (four(tap.at), four(tap.next));
        let mixed: [f32; 4] = std::array::from_fn(|c| f32::from(p[c]) * tap.w0 + f32::from(q[c]) * tap.w1);
        to[3 * i..3 * i + 4].copy_from_slice(&mixed);
    }
}
