//! Winograd's convolution F(4×4, 3×3): 36 multiplications where the definition has 144 (Lavin & Gray 2015, §4).
//!
//! ```text
//! for each 4×4 tile of the output, from the 6×6 pixels d it depends on:    Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A
//! ```
//!
//! The product ⊙ is summed over channels, so for each of the 36 places of a tile it is a product of matrices (tiles ×
//! channels) · (channels × outputs), which runs on the same tile code as everything else. The three matrices follow from the
//! points where the polynomials are evaluated, here 0, ±√½, ±√2 and ∞: with them errors stay several times smaller than
//! with the usual whole numbers, and the constants in Bᵀ are still 1, ½, 2 and 2½ but for two factors.
//!
//! A 5×5 convolution of step 2 is the sum of four 3×3 ones of step 1: over pixels of even and odd row and column. They are
//! four times as many channels to this method, and 36·4 multiplications replace 400.
//!
//! Layout and blocks: see [`tiles`](super::tiles). Measured on one core of a Zen 4 at 600×1000: see `benches/NOTES.md`.
#![allow(unsafe_code)]

use super::super::buffer::Buffer;
use super::super::real::{Number, Real, RealWork};
use super::super::simd::{Simd, load_some, store_some};
use super::super::team::Pieces;
use super::super::tile::{Panels, Plainly};
use super::tiles::{IN, OUT, POINTS, Part, Sizes, Square, Tiles, multiply, taps};
use super::{ConvShape, Scratch, Task};

/// Tiles worked on at a time: a left factor of 400 channels then takes 300 KB in f32.
const BLOCK: usize = 192;

/// The points √½ and √2; minus, 0 and ∞ go without saying.
const A: f64 = std::f64::consts::FRAC_1_SQRT_2;
const B: f64 = std::f64::consts::SQRT_2;

/// Transformed and packed weights, one right factor for each of the 36 places.
#[derive(Debug, Clone)]
pub struct Winograd<T: Number = f32> {
    set: T::Set,
    points: Vec<Panels<T>>,
    bias: Buffer,
    /// What lies outside of the map: a pixel of zeros.
    outside: Buffer,
    /// Pixels between those that a 3×3 convolution sees; its square is the number of phases.
    stride: usize,
}

impl<T: Number> Winograd<T> {
    /// Transforms and packs `[output, input, kernel, kernel]`.
    pub fn new(set: T::Set, shape: ConvShape, weight: &[f32], bias: &[f32]) -> Self {
        let ConvShape { input, output, kernel, stride, .. } = shape;
        let phases = stride * stride;
        let width = T::panel_width(set);
        let mut points = vec![Panels::zeros(width, T::STEP, phases * input, output); POINTS];
        for (i, weight) in weight.chunks_exact(kernel * kernel).enumerate() {
            let (n, channel) = (i / input, i % input);
            for phase in 0..phases {
                let tap = taps(&shape, weight, phase);
                for (value, panels) in weight_transform(tap).into_iter().zip(&mut points) {
                    *panels.at_mut(phase * input + channel, n) = T::nearest(value);
                }
            }
        }
        let mut padded = Buffer::zeros(points[0].count() * width);
        padded[..output].copy_from_slice(bias);
        Self { set, points, bias: padded, outside: Buffer::zeros(input), stride }
    }

    pub(super) fn run(&self, task: &Task, x: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        let tiles = Tiles::new(task.shape, task.rows, task.cols);
        let sizes = |count: usize| Sizes::new::<T, f32>(&self.points[0], self.points[0].n(), count);
        let (inputs, out) = (T::buffer(&mut scratch.operands), &Pieces::new(out));
        tiles.each_block(BLOCK, sizes, inputs, &mut scratch.products, |block, sizes, inputs, products| {
            T::run(self.set, Block { winograd: self, task, sizes, tiles: &tiles, block, x, inputs, products, out });
        });
    }
}

/// G g Gᵀ, in f64. Row p of G is (1, p, p²)/M'(p), M the product of all differences to points; the last row is for ∞.
fn weight_transform(taps: [[f32; 3]; 3]) -> [f32; POINTS] {
    let g = |v: [f64; 3]| {
        let even = [0.5, 2.0].map(|square| v[0] + square * v[2]);
        let odd = [A, B].map(|point| point * v[1]);
        let ([ea, eb], [oa, ob]) = (even, odd);
        [v[0], (ea + oa) / -1.5, (ea - oa) / -1.5, (eb + ob) / 6.0, (eb - ob) / 6.0, v[2]]
    };
    let half = [0, 1, 2].map(|col| g([0, 1, 2].map(|row| f64::from(taps[row][col]))));
    let mut out = [0.0; POINTS];
    for (row, out) in out.chunks_exact_mut(IN).enumerate() {
        for (out, value) in out.iter_mut().zip(g(half.map(|h| h[row]))) {
            *out = value as f32;
        }
    }
    out
}

/// Bᵀ d.
#[inline(always)]
fn input_transform<S: Simd>(simd: S, d: [S::F32; IN]) -> [S::F32; IN] {
    let c = |v: f64| simd.splat(v as f32);
    let u = simd.mul_add(c(-2.0), d[2], d[4]);
    let v = simd.mul(c(A), simd.mul_add(c(-2.0), d[1], d[3]));
    let s = simd.mul_add(c(-0.5), d[2], d[4]);
    let t = simd.mul(c(B), simd.mul_add(c(-0.5), d[1], d[3]));
    let first = simd.mul_add(c(-2.5), d[2], simd.add(d[0], d[4]));
    let last = simd.mul_add(c(-2.5), d[3], simd.add(d[1], d[5]));
    [first, simd.add(u, v), simd.sub(u, v), simd.add(s, t), simd.sub(s, t), last]
}

/// Aᵀ m.
#[inline(always)]
fn output_transform<S: Simd>(simd: S, m: [S::F32; IN]) -> [S::F32; OUT] {
    let c = |v: f64| simd.splat(v as f32);
    let (plus_a, minus_a) = (simd.add(m[1], m[2]), simd.sub(m[1], m[2]));
    let (plus_b, minus_b) = (simd.add(m[3], m[4]), simd.sub(m[3], m[4]));
    [
        simd.add(m[0], simd.add(plus_a, plus_b)),
        simd.mul_add(c(A), minus_a, simd.mul(c(B), minus_b)),
        simd.mul_add(c(0.5), plus_a, simd.mul(c(2.0), plus_b)),
        simd.mul_add(c(0.5 * A), minus_a, simd.mul_add(c(2.0 * B), minus_b, m[5])),
    ]
}

/// Some tiles, row by row of the map.
struct Block<'a, T: Number> {
    winograd: &'a Winograd<T>,
    task: &'a Task<'a>,
    sizes: Sizes,
    tiles: &'a Tiles,
    block: std::ops::Range<usize>,
    x: &'a [f32],
    inputs: &'a mut [T],
    products: &'a mut [f32],
    /// The whole map of outputs.
    out: &'a Pieces<'a, f32>,
}

impl<T: Number> RealWork<T> for Block<'_, T> {
    #[inline(always)]
    fn run<D: Real<Input = T, Weight = T>>(mut self, dot: D) {
        for tile in self.block.clone() {
            self.transform_input(dot, tile);
        }
        let points = &self.winograd.points;
        let all = Part { points, panels: 0..points[0].count() };
        multiply(dot, &all, self.block.len(), self.sizes, self.inputs, self.products, Plainly::default());
        for tile in self.block.clone() {
            self.transform_output(dot.simd(), tile);
        }
    }
}

impl<T: Number> Block<'_, T> {
    #[inline(always)]
    fn transform_input<D: Real<Input = T>>(&mut self, dot: D, tile: usize) {
        let simd = dot.simd();
        let Sizes { input_step, input_stride, .. } = self.sizes;
        let (stride, pixel) = (self.winograd.stride, self.task.shape.input);
        for phase in 0..stride * stride {
            let pixels = self.tiles.pixels(tile, phase).map(|at| match at {
                Some(at) => &self.x[at * pixel..][..pixel],
                None => &self.winograd.outside[..],
            });
            let to = (tile - self.block.start) * input_step + phase * pixel;
            for c in (0..pixel).step_by(D::LANES) {
                let len = D::LANES.min(pixel - c);
                let mut half = [[simd.splat(0.0); IN]; IN];
                for (col, half) in half.iter_mut().enumerate() {
                    let mut d = [simd.splat(0.0); IN];
                    for (row, d) in d.iter_mut().enumerate() {
                        *d = load_some(simd, &pixels[row * IN + col][c..][..len]);
                    }
                    *half = input_transform(simd, d);
                }
                for row in 0..IN {
                    let mut d = [simd.splat(0.0); IN];
                    d.iter_mut().zip(&half).for_each(|(d, half)| *d = half[row]);
                    for (col, v) in input_transform(simd, d).into_iter().enumerate() {
                        dot.store(v, &mut self.inputs[(row * IN + col) * input_stride + to + c..]);
                    }
                }
            }
        }
    }

    /// Up to four rows of four pixels, fewer at the ends.
    #[inline(always)]
    fn transform_output<S: Simd>(&mut self, simd: S, tile: usize) {
        let Sizes { product_step, product_stride, .. } = self.sizes;
        let task = self.task;
        let pixel = task.shape.output;
        let from = (tile - self.block.start) * product_step;
        let Square { row, col, height, width } = self.tiles.square(tile);
        for c in (0..pixel).step_by(S::LANES) {
            let mut half = [[simd.splat(0.0); OUT]; IN];
            for (col, half) in half.iter_mut().enumerate() {
                let mut m = [simd.splat(0.0); IN];
                for (row, m) in m.iter_mut().enumerate() {
                    *m = simd.load(&self.products[(row * IN + col) * product_stride + from + c..]);
                }
                *half = output_transform(simd, m);
            }
            let bias = simd.load(&self.winograd.bias[c..]);
            let len = S::LANES.min(pixel - c);
            for r in 0..height {
                let mut m = [simd.splat(0.0); IN];
                m.iter_mut().zip(&half).for_each(|(m, half)| *m = half[r]);
                let first = (row + r) * task.out_cols + col;
                for (q, v) in output_transform(simd, m).into_iter().enumerate().take(width) {
                    let mut v = simd.add(v, bias);
                    if task.relu {
                        v = simd.max(v, simd.splat(0.0));
                    }
                    let at = (first + q) * pixel + c;
                    // SAFETY: no other block has this tile, and tiles share no pixels.
                    store_some(simd, v, unsafe { self.out.take(at..at + len) });
                }
            }
        }
    }
}
