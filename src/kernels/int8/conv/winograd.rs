//! Winograd's convolution F(4×4, 3×3) in integers, exact: the same sums as the definition's, with 36 multiplications where
//! that has 144.
//!
//! As in f32 ([`conv::winograd`](crate::kernels::conv::winograd)), but with the points 0, ±1, ±2 and ∞, and with all fractions
//! taken out of the matrices (Lavin & Gray 2015, §4.3; G in parts of each row's own, which the rows of Aᵀ make up for):
//!
//! ```text
//!       4  0 -5  0 1 0         1  0 0          6 -4 -4  1  1  0
//!       0 -4 -4  1 1 0         1  1 1          0 -4  4  2 -2  0
//! Bᵀ =  0  4 -4 -1 1 0     G = 1 -1 1     Aᵀ = 0 -4 -4  4  4  0
//!       0 -2 -1  2 1 0         1  2 4          0 -4  4  8 -8 24
//!       0  2 -1 -2 1 0         1 -2 4
//!       0  4  0 -5 0 1         0  0 1          Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A = 24² Y
//! ```
//!
//! Why nothing is lost:
//!
//! - Of bytes, Bᵀ d B lies within ±17340 (rows 2 and 3: their coefficients above 0 sum up to 2, those below to -8, so both
//!   ways to at most 68 · 255), and of weights of 8 bits G g Gᵀ within ±49 · 128. Both are 16-bit numbers.
//! - Products are summed modulo 2³², and so is all that follows. 24² = 9 · 64: what comes out is multiplied with the inverse of
//!   9 modulo 2³², which leaves 64 · Y modulo 2³², and shifted down. That is Y if it lies within ±2²⁵, which
//!   [`supports`] makes sure of from the weights; other layers are computed directly.
#![allow(unsafe_code)]

use super::pack::folded;
use super::{Out, QuantScratch, Rescale};
use crate::kernels::ConvShape;
use crate::kernels::conv::tiles::{self, IN, OUT, POINTS, Part, Sizes, Square, Tiles, multiply, taps};
use crate::kernels::int8::dot::{Bytes, Reals, Scale, Sums, WordDot, WordForm, WordWork, Words};
use crate::kernels::team::Pieces;
use crate::kernels::tile::{Finish, Panels};
use std::ops::Range;

/// The inverse of 9 modulo 2³².
const NINTH: i32 = 0x38e3_8e39;
/// What sums are shifted down by: 24² = 9 · 2⁶.
const SHIFT: i32 = 6;
/// Sums that outlast that are smaller.
const MOST: i32 = 1 << (31 - SHIFT);

/// Transformed and packed weights, one right factor for each of the 36 places.
#[derive(Debug, Clone)]
pub struct Winograd {
    shape: ConvShape,
    words: WordDot,
    points: Vec<Panels<i16>>,
    /// With the input's zero points multiplied in; filled up to whole panels, as the factors.
    bias: Vec<i32>,
    factors: Vec<f32>,
    /// Whether scaled sums may lie outside of i32.
    wild: bool,
    /// What lies outside of the map: a pixel of zero points.
    outside: Vec<u8>,
    rescale: Rescale,
}

/// Whether the method computes a convolution, gains with these instructions, and is exact. Without padding it may be a fully
/// connected layer.
pub fn supports(words: WordDot, shape: &ConvShape, weight: &[i8]) -> bool {
    let fits = |weight: &[i8]| {
        let sum = |positive: bool| -> i32 {
            weight.iter().filter(|w| (**w > 0) == positive).map(|w| i32::from(*w).abs() * 255).sum()
        };
        sum(true).max(sum(false)) < MOST
    };
    let gains = tiles::supports(shape) && shape.pad > 0 && shape.stride <= words.form().strides;
    gains && shape.window() < 1 << 16 && weight.chunks_exact(shape.window()).all(fits)
}

impl Winograd {
    /// Transforms and packs a convolution that is [supported](supports).
    pub fn new(words: WordDot, shape: ConvShape, weight: &[i8], bias: &[i32], zeros: &[u8], rescale: Rescale) -> Self {
        let ConvShape { input, output, kernel, stride, .. } = shape;
        let (phases, WordForm { width, step, .. }) = (stride * stride, words.form());
        let mut points = vec![Panels::zeros(width, step, phases * input, output); POINTS];
        for (i, weight) in weight.chunks_exact(kernel * kernel).enumerate() {
            let (n, channel) = (i / input, i % input);
            for phase in 0..phases {
                let values = weight_transform(taps(&shape, weight, phase));
                for (value, panels) in values.into_iter().zip(&mut points) {
                    *panels.at_mut(phase * input + channel, n) = value;
                }
            }
        }
        let filled = points[0].count() * width;
        let (mut sums, mut factors) = (vec![0; filled], vec![0.0; filled]);
        for ((sum, bias), weight) in sums.iter_mut().zip(bias).zip(weight.chunks_exact(shape.window())) {
            *sum = folded(&shape, weight, *bias, zeros, 0);
        }
        factors[..output].copy_from_slice(rescale.factors());
        let wild = rescale.wild();
        Self { shape, words, points, bias: sums, factors, wild, outside: zeros.to_vec(), rescale }
    }

    /// Whether a map has so many tiles that the direct method, which reads far fewer bytes of weights, is slower.
    pub fn gains(&self, rows: usize, cols: usize) -> bool {
        Tiles::new(&self.shape, rows, cols).count() >= self.words.form().tiles
    }

    /// As [`QuantConv::run`](super::QuantConv::run).
    pub fn run(&self, x: &[u8], rows: usize, cols: usize, scratch: &mut QuantScratch, out: Out) {
        let tiles = Tiles::new(&self.shape, rows, cols);
        let outputs = self.shape.out_len(rows) * self.shape.out_len(cols) * self.shape.output;
        let fits = |len: usize| assert_eq!(len, outputs, "results of {rows}×{cols} for {:?}", self.shape);
        match (out, &self.rescale) {
            (Out::U8(out), Rescale::U8 { .. }) => {
                fits(out.len());
                self.blocks(x, &tiles, cols, scratch, &Pieces::new(out));
            }
            (Out::F32(out), Rescale::F32 { .. }) => {
                fits(out.len());
                self.blocks(x, &tiles, cols, scratch, &Pieces::new(out));
            }
            _ => panic!("a result of the other kind than the layer's"),
        }
    }

    fn blocks<T: Send>(&self, x: &[u8], tiles: &Tiles, cols: usize, scratch: &mut QuantScratch, out: &Pieces<T>)
    where
        for<'a> Block<'a, T>: WordWork,
    {
        let QuantScratch { words, products, .. } = scratch;
        let (weights, cols) = (&self.points[0], self.shape.out_len(cols));
        // Whole panels, as they are read.
        let outputs = PART.min(weights.count() * weights.width());
        let sizes = |count| Sizes::new::<i16, i32>(weights, outputs, count);
        tiles.each_block(BLOCK, sizes, words, products, |block, sizes, inputs, products| {
            self.words.run(Block { winograd: self, tiles, sizes, block, x, inputs, products, out, cols });
        });
    }
}

/// G g Gᵀ.
fn weight_transform(taps: [[i8; 3]; 3]) -> [i16; POINTS] {
    let g = |[a, b, c]: [i16; 3]| [a, a + b + c, a - b + c, a + 2 * b + 4 * c, a - 2 * b + 4 * c, c];
    let half = [0, 1, 2].map(|col| g([0, 1, 2].map(|row| i16::from(taps[row][col]))));
    let mut out = [0; POINTS];
    for (row, out) in out.chunks_exact_mut(IN).enumerate() {
        out.copy_from_slice(&g(half.map(|h| h[row])));
    }
    out
}

/// Bᵀ d.
#[inline(always)]
fn input_transform<W: Words>(w: W, d: [W::Word; IN]) -> [W::Word; IN] {
    let four = w.times(d[1], 4);
    let (u, v) = (w.minus(d[4], w.times(d[2], 4)), w.minus(d[3], four));
    let (s, t) = (w.minus(d[4], d[2]), w.minus(d[3], d[1]));
    let t = w.plus(t, t);
    let first = w.plus(w.minus(w.times(d[0], 4), w.times(d[2], 5)), d[4]);
    let last = w.plus(w.minus(four, w.times(d[3], 5)), d[5]);
    [first, w.plus(u, v), w.minus(u, v), w.plus(s, t), w.minus(s, t), last]
}

/// Aᵀ m.
#[inline(always)]
fn output_transform<W: Words>(w: W, m: [W::Sum; IN]) -> [W::Sum; OUT] {
    let (a, b) = (w.sum_plus(m[1], m[2]), w.sum_minus(m[1], m[2]));
    let (c, d) = (w.sum_plus(m[3], m[4]), w.sum_minus(m[3], m[4]));
    let (d2, b2) = (w.sum_up::<1>(d), w.sum_up::<1>(b));
    [
        w.sum_plus(w.sum_minus(six(w, m[0]), w.sum_up::<2>(a)), c),
        w.sum_up::<1>(w.sum_minus(d, b2)),
        w.sum_up::<2>(w.sum_minus(c, a)),
        w.sum_up::<2>(w.sum_plus(w.sum_minus(d2, b), six(w, m[5]))),
    ]
}

#[inline(always)]
fn six<W: Words>(w: W, v: W::Sum) -> W::Sum {
    w.sum_plus(w.sum_up::<1>(v), w.sum_up::<2>(v))
}

/// Some tiles, row by row of the map.
struct Block<'a, T> {
    winograd: &'a Winograd,
    tiles: &'a Tiles,
    sizes: Sizes,
    block: Range<usize>,
    x: &'a [u8],
    inputs: &'a mut [i16],
    products: &'a mut [i32],
    /// The whole map of outputs, and its columns.
    out: &'a Pieces<'a, T>,
    cols: usize,
}

impl WordWork for Block<'_, u8> {
    #[inline(always)]
    fn run<W: Words>(self, words: W) {
        let Winograd { rescale, wild, .. } = self.winograd;
        let zero = if let Rescale::U8 { zero, .. } = rescale { *zero } else { 0 };
        self.compute(words, |scale| Bytes { scale, zero, wild: *wild });
    }
}

impl WordWork for Block<'_, f32> {
    #[inline(always)]
    fn run<W: Words>(self, words: W) {
        let least = self.winograd.rescale.least();
        self.compute(words, |scale| Reals { scale, least });
    }
}

impl<'a, T> Block<'a, T> {
    #[inline(always)]
    fn compute<W: Words, F: Finish<W, Out = T>>(mut self, words: W, finish: impl Fn(Scale<'a>) -> F) {
        for tile in self.block.clone() {
            self.transform_input(words, tile);
        }
        let points = &self.winograd.points;
        let (panels, most) = (points[0].count(), PART / points[0].width());
        for first in (0..panels).step_by(most) {
            let part = Part { points, panels: first..(first + most).min(panels) };
            multiply(words, &part, self.block.len(), self.sizes, self.inputs, self.products, Sums);
            for tile in self.block.clone() {
                self.transform_output(words, &finish, tile, part.outputs());
            }
        }
    }

    #[inline(always)]
    fn transform_input<W: Words>(&mut self, words: W, tile: usize) {
        let Sizes { input_step, input_stride, .. } = self.sizes;
        let ConvShape { stride, input, .. } = self.winograd.shape;
        for phase in 0..stride * stride {
            let pixels = self.tiles.pixels(tile, phase).map(|at| match at {
                Some(at) => &self.x[at * input..][..input],
                None => &self.winograd.outside[..],
            });
            let to = (tile - self.block.start) * input_step + phase * input;
            for c in (0..input).step_by(W::WORDS) {
                let none = words.widened(&[0; MOST_WORDS]);
                let mut half = [[none; IN]; IN];
                for (col, half) in half.iter_mut().enumerate() {
                    let mut d = [none; IN];
                    for (row, d) in d.iter_mut().enumerate() {
                        *d = widened(words, &pixels[row * IN + col][c..]);
                    }
                    *half = input_transform(words, d);
                }
                for row in 0..IN {
                    let mut d = [none; IN];
                    d.iter_mut().zip(&half).for_each(|(d, half)| *d = half[row]);
                    for (col, v) in input_transform(words, d).into_iter().enumerate() {
                        words.store(v, &mut self.inputs[(row * IN + col) * input_stride + to + c..]);
                    }
                }
            }
        }
    }

    /// Up to four rows of four pixels, fewer at the ends, of the outputs whose products there are.
    #[inline(always)]
    fn transform_output<W: Words, F: Finish<W, Out = T>>(
        &mut self,
        words: W,
        finish: &impl Fn(Scale<'a>) -> F,
        tile: usize,
        outputs: Range<usize>,
    ) {
        let Sizes { product_step, product_stride, .. } = self.sizes;
        let Winograd { shape, bias, factors, .. } = self.winograd;
        let (pixel, width) = (shape.output, 2 * W::LANES);
        let from = (tile - self.block.start) * product_step;
        let square = self.tiles.square(tile);
        for c in outputs.clone().step_by(width) {
            let finish = finish(Scale { bias: &bias[c..][..width], factors: &factors[c..][..width] });
            let start = finish.start(words);
            // Two vectors, as results are put.
            let from = from + c - outputs.start;
            let a = self.outputs_at(words, from, product_stride);
            let b = self.outputs_at(words, from + W::LANES, product_stride);
            let len = width.min(pixel - c);
            let Square { row, col, height, width } = square;
            for (r, q) in (0..height).flat_map(|r| (0..width).map(move |q| (r, q))) {
                let sums = [words.sum_plus(start[0], a[r][q]), words.sum_plus(start[1], b[r][q])];
                let at = ((row + r) * self.cols + col + q) * pixel + c;
                // SAFETY: no other block has this tile, and tiles share no pixels.
                finish.put(words, sums, unsafe { self.out.take(at..at + len) });
            }
        }
    }

    /// A vector of each of the 4×4 outputs.
    #[inline(always)]
    fn outputs_at<W: Words>(&self, words: W, from: usize, stride: usize) -> [[W::Sum; OUT]; OUT] {
        let mut half = [[words.zero(); OUT]; IN];
        for (col, half) in half.iter_mut().enumerate() {
            let mut m = [words.zero(); IN];
            for (row, m) in m.iter_mut().enumerate() {
                *m = words.sums_at(&self.products[(row * IN + col) * stride + from..]);
            }
            *half = output_transform(words, m);
        }
        let mut out = [[words.zero(); OUT]; OUT];
        for (r, out) in out.iter_mut().enumerate() {
            let mut m = [words.zero(); IN];
            m.iter_mut().zip(&half).for_each(|(m, half)| *m = half[r]);
            for (out, v) in out.iter_mut().zip(output_transform(words, m)) {
                *out = words.sum_down::<SHIFT>(words.sum_times(v, NINTH));
            }
        }
        out
    }
}

/// Tiles worked on at a time: half of those in f32, because sums take twice as many bytes as words. As fast, and 10 MB less.
const BLOCK: usize = 96;
/// Outputs whose products are kept at a time, a multiple of every panel's width. As fast as all at once, and 6 MB less; in f32
/// (64 of them) it was a tenth slower.
const PART: usize = 128;
/// Lanes of the widest vector of words.
const MOST_WORDS: usize = 32;

/// The first words of a slice that may be too short; the missing are zero.
#[inline(always)]
fn widened<W: Words>(words: W, x: &[u8]) -> W::Word {
    if x.len() >= W::WORDS {
        return words.widened(x);
    }
    let mut all = [0; MOST_WORDS];
    all[..x.len()].copy_from_slice(x);
    words.widened(&all)
}
