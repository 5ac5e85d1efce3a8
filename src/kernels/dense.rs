//! Fully connected layers: `y = x · wᵀ + b` for a batch of inputs.
//!
//! Weights (`[outputs, inputs]`, as stored by frameworks) are packed once. A [`Batch`] between two layers lies panel by
//! panel: for each group of outputs as wide as a panel, those numbers of all inputs of the batch. So threads write to
//! places of their own, and the next layer reads whole cache lines.
//!
//! Numeric contract: within 1e-5 of the sum in f64, relative to the largest output, with bf16 within 1e-2; the same for any
//! number of threads.
//!
//! 1. k is cut into blocks: a block of all inputs and one of a panel fit into a second-level cache together. The sums of
//!    the blocks before are read and written again, which costs little.
//! 2. Each block of the inputs is copied first: rows of a power of two numbers would share one set of the cache. With
//!    AVX-512 layers of few outputs read a [`Batch`] where it lies.
//! 3. Large layers in f32 are multiplied by Strassen's method ([`strassen`]), on x86-64.
//! 4. Against the `gemm` crate on one core of a Zen 4 (fc6 of ZF, 300 RoIs): see `benches/NOTES.md`.
#![allow(unsafe_code)]

mod strassen;

use super::bf16::Bf16;
use super::buffer::Buffer;
use super::choice::Kernels;
use super::real::{Number, Operands, Real, RealWork};
use super::team::{self, Pieces};
use super::tile::{Left, ONCE, Panel, Panels, Plainly, Target, rows};
use std::ops::Range;
use strassen::Strassen;

/// Numbers of each input taken at a time; with 300 inputs 600 KB. A multiple of every panel's width.
const BLOCK: usize = 512;

/// Panels up to which inputs are not worth copying.
const FEW: usize = 8;
/// Features of an input that lie together, so many that it can be read where it lies: those of a panel of AVX-512.
const TOGETHER: usize = 32;

/// A layer with its packed weights.
#[derive(Debug, Clone)]
pub struct Dense {
    kernels: Kernels,
    inputs: usize,
    outputs: usize,
    /// Of a panel.
    width: usize,
    weights: Weights,
    bias: Buffer,
}

#[derive(Debug, Clone)]
enum Weights {
    F32(Blocks<f32>),
    Strassen(Strassen),
    Bf16(Blocks<u16>),
}

/// One right factor for each block of k.
#[derive(Debug, Clone)]
struct Blocks<T: Number> {
    set: T::Set,
    panels: Vec<Panels<T>>,
}

impl<T: Number> Blocks<T> {
    /// Packs what `at(k, n)` says.
    fn pack(set: T::Set, inputs: usize, outputs: usize, at: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        let panels = team::map(inputs.div_ceil(BLOCK), |i| {
            let (first, len) = (i * BLOCK, BLOCK.min(inputs - i * BLOCK));
            Panels::pack(T::panel_width(set), T::STEP, len, outputs, |k, n| T::nearest(at(first + k, n)))
        });
        Self { set, panels }
    }
}

/// Memory to work in, kept from run to run.
#[derive(Debug, Clone, Default)]
pub struct DenseScratch {
    operands: Operands,
    /// Of [`strassen`].
    products: Buffer,
}

/// Outputs of a layer for a batch, panel by panel.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    numbers: Buffer,
    features: usize,
    width: usize,
    len: usize,
}

/// What a layer takes.
#[derive(Debug, Clone, Copy)]
pub enum Inputs<'a> {
    /// All features of the first input, then of the next.
    Rows(&'a [f32]),
    /// What the layer before made.
    Batch(&'a Batch),
}

impl<'a> Inputs<'a> {
    /// Some numbers of input `i` from feature `first` on, as many as lie together; the inputs have so many `features`.
    fn piece(self, i: usize, features: usize, first: usize) -> &'a [f32] {
        match self {
            Inputs::Rows(x) => &x[i * features + first..(i + 1) * features],
            Inputs::Batch(Batch { numbers, width, len, .. }) => {
                let (panel, column) = (first / width, first % width);
                &numbers[(panel * len + i) * width + column..][..(width - column).min(features - first)]
            }
        }
    }

    /// Fills `out` with features `first..` of input `i`, of so many `features`.
    fn copy<T: Number>(self, kernels: Kernels, i: usize, features: usize, first: usize, out: &mut [T]) {
        let mut at = 0;
        while at < out.len() {
            let piece = self.piece(i, features, first + at);
            let len = piece.len().min(out.len() - at);
            T::convert(kernels, &piece[..len], &mut out[at..at + len]);
            at += len;
        }
    }

    /// A batch and its numbers, if products can be computed of them as they lie.
    fn in_place<T: Number>(self, features: usize) -> Option<(&'a Batch, &'a [T])> {
        match self {
            Inputs::Batch(batch) if batch.width >= TOGETHER && features.is_multiple_of(batch.width) => {
                Some((batch, T::as_it_is(&batch.numbers)?))
            }
            _ => None,
        }
    }
}

impl Batch {
    /// The features of one input after the other.
    pub fn to_rows(&self, out: &mut Vec<f32>) {
        out.clear();
        out.resize(self.len * self.features, 0.0);
        for (i, row) in out.chunks_exact_mut(self.features.max(1)).enumerate() {
            Inputs::Batch(self).copy(Kernels::scalar(), i, self.features, 0, row);
        }
    }
}

impl Dense {
    /// Packs `[outputs, inputs]`; no bias is one of zeros. Weights are for inputs in the order channel, cell, of so many
    /// `cells`; inputs come in the order cell, channel. With one cell that is the same. With `bf16`,
    /// weights and inputs are rounded to that.
    ///
    /// # Panics
    ///
    /// If a slice has another length than the sizes say, or the cells do not divide the inputs.
    pub fn new(
        kernels: Kernels,
        inputs: usize,
        outputs: usize,
        cells: usize,
        weight: &[f32],
        bias: Option<&[f32]>,
        bf16: Option<Bf16>,
    ) -> Self {
        assert_eq!(weight.len(), inputs * outputs, "weights of {outputs}×{inputs}");
        assert!(cells > 0 && inputs.is_multiple_of(cells), "{inputs} inputs of {cells} cells");
        let channels = inputs / cells;
        let at = |k: usize, n: usize| {
            let (cell, channel) = (k / channels, k % channels);
            weight[n * inputs + channel * cells + cell]
        };
        let (weights, width) = match bf16 {
            None if strassen::gains(kernels, inputs, outputs) => {
                (Weights::Strassen(Strassen::pack(kernels, inputs, outputs, at)), kernels.panel_width())
            }
            None => (Weights::F32(Blocks::pack(kernels, inputs, outputs, at)), kernels.panel_width()),
            Some(bf16) => (Weights::Bf16(Blocks::pack(bf16, inputs, outputs, at)), bf16.panel_width()),
        };
        let mut padded = Buffer::zeros(outputs.div_ceil(width) * width);
        if let Some(bias) = bias {
            padded[..outputs].copy_from_slice(bias);
        }
        Self { kernels, inputs, outputs, width, weights, bias: padded }
    }

    /// Numbers it takes per input.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Numbers it makes per input.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Runs a batch of `n` inputs through, on the current team. `scratch` is memory to work in; `relu`: negative
    /// results become zero.
    ///
    /// # Panics
    ///
    /// If `x` is not `n` times what the layer takes.
    pub fn run(&self, x: Inputs, n: usize, relu: bool, scratch: &mut DenseScratch, out: &mut Batch) {
        match x {
            Inputs::Rows(x) => assert_eq!(x.len(), n * self.inputs, "{n} inputs of {}", self.inputs),
            Inputs::Batch(x) => assert_eq!((x.len, x.features), (n, self.inputs), "a batch"),
        }
        let width = self.width;
        (out.features, out.width, out.len) = (self.outputs, width, n);
        out.numbers.resize(self.outputs.div_ceil(width) * n * width);
        if n == 0 {
            return;
        }
        let DenseScratch { operands, products } = scratch;
        match &self.weights {
            Weights::F32(blocks) => self.multiply(blocks, x, n, relu, operands, &mut out.numbers),
            Weights::Strassen(strassen) => {
                let memory = [f32::buffer(operands), products];
                strassen.run(x, n, &self.bias, relu, memory, &mut out.numbers);
            }
            Weights::Bf16(blocks) => self.multiply(blocks, x, n, relu, operands, &mut out.numbers),
        }
    }

    fn multiply<T: Number>(
        &self,
        Blocks { set, panels: blocks }: &Blocks<T>,
        x: Inputs,
        n: usize,
        relu: bool,
        operands: &mut Operands,
        out: &mut [f32],
    ) {
        let width = self.width;
        let count = self.outputs.div_ceil(width);
        let in_place = if count <= FEW { x.in_place::<T>(self.inputs) } else { None };
        for (b, panels) in blocks.iter().enumerate() {
            let (start, len) = (b * BLOCK, BLOCK.min(self.inputs - b * BLOCK));
            let mut runs = [0; BLOCK / TOGETHER];
            let left = match in_place {
                Some((batch, numbers)) => {
                    let runs = &mut runs[..len / batch.width];
                    for (i, run) in runs.iter_mut().enumerate() {
                        *run = (start + i * batch.width) * batch.len;
                    }
                    Left { data: numbers, first: 0, step: batch.width, runs, run: batch.width, again: ONCE }
                }
                None => {
                    let block = T::buffer(operands);
                    self.copy(x, n, start..start + len, panels.k(), block);
                    Left { data: block, first: 0, step: step::<T>(BLOCK), runs: &[0], run: panels.k(), again: ONCE }
                }
            };
            let (first, last) = (b == 0, b + 1 == blocks.len());
            let threads = team::threads();
            // Threads take one panel after the other, so each has done `threads` of them when it comes to the next. What lies in place
            // of the next block is farther away than its weights.
            let rest = in_place.map(|(batch, numbers)| &numbers[((start + len) * batch.len).min(numbers.len())..]);
            let then = |panel: usize| {
                let (this, next) = (panels.panel(panel), panel + threads);
                match rest {
                    Some(rest) if next >= count => this.then_all(&rest[..rest.len().min(BLOCK * n)]),
                    _ => this.then(panels.get(next).or_else(|| blocks.get(b + 1)?.get(next - count))),
                }
            };
            share(count, n, width, out, |panel, row, out| {
                let left = Left { first: row * left.step, ..left };
                let bias = first.then_some(&self.bias[panel * width..][..width]);
                let finish = Plainly { bias, accumulate: !first, relu: relu && last };
                T::run(*set, Product { left: &left, panel: then(panel), finish, out });
            });
        }
    }

    /// Some features of all inputs, row by row, with zeros up to `k` of them.
    fn copy<T: Number>(&self, x: Inputs, n: usize, features: Range<usize>, k: usize, block: &mut Buffer<T>) {
        let step = step::<T>(BLOCK);
        block.resize(n * step);
        team::for_each_chunk(block, step * 16, |i, rows| {
            for (j, row) in rows.chunks_exact_mut(step).enumerate() {
                let (i, (row, rest)) = (i * 16 + j, row.split_at_mut(features.len()));
                x.copy(self.kernels, i, self.inputs, features.start, row);
                rest[..k - features.len()].fill(T::nearest(0.0));
            }
        });
    }
}

/// From row to row of a copied block: not a power of two.
const fn step<T: Number>(block: usize) -> usize {
    block + Buffer::<T>::LINE
}

/// Calls `f` with each panel, the first of some rows, and where their results go. Few panels are cut into parts of the
/// batch, so that there is enough to share out evenly.
fn share(panels: usize, n: usize, width: usize, out: &mut [f32], f: impl Fn(usize, usize, &mut [f32]) + Sync) {
    let cuts = (4 * team::threads()).div_ceil(panels.max(1)).clamp(1, n);
    let outs = Pieces::new(out);
    team::for_each(panels * cuts, |task| {
        let (panel, cut) = (task / cuts, task % cuts);
        let (start, end) = (n * cut / cuts, n * (cut + 1) / cuts);
        // SAFETY: no two tasks have panel and part in common.
        f(panel, start, unsafe { outs.take((panel * n + start) * width..(panel * n + end) * width) });
    });
}

/// One block of k against one panel.
struct Product<'a, T> {
    left: &'a Left<'a, T>,
    panel: Panel<'a, T>,
    finish: Plainly<'a>,
    out: &'a mut [f32],
}

impl<T: Copy> RealWork<T> for Product<'_, T> {
    #[inline(always)]
    fn run<D: Real<Input = T, Weight = T>>(self, dot: D) {
        let width = 2 * D::LANES;
        let count = self.out.len() / width;
        let pieces = Pieces::new(self.out);
        let target = Target { pieces: &pieces, at: 0, step: width };
        // SAFETY: `out` is borrowed mutably.
        unsafe { rows(dot, &[*self.left], count, self.panel, self.finish, target) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn layers_in_a_row_agree_with_the_sums_in_f64_for_odd_sizes_and_empty_batches() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for [n, k, middle, m] in [
            [1, 1, 1, 1],
            [0, 4, 3, 2],
            [3, 7, 5, 2],
            [15, 513, 33, 84],
            [30, 1024, 600, 21],
            [17, 1100, 512, 65],
            [9, 1030, 2048, 1024],
            [1, 1024, 1024, 1],
            [31, 40, 1056, 40],
        ] {
            let mut random = |len: usize| (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
            let (x, w1, b1) = (random(n * k), random(middle * k), random(middle));
            let w2 = random(m * middle);
            let layer = |x: &[f64], w: &[f32], b: Option<&[f32]>, k: usize, m: usize| -> Vec<f64> {
                let one = |i: usize, o: usize| {
                    let terms = x[i * k..][..k].iter().zip(&w[o * k..][..k]).map(|(x, w)| x * f64::from(*w));
                    terms.sum::<f64>() + b.map_or(0.0, |b| f64::from(b[o]))
                };
                (0..n * m).map(|i| one(i / m, i % m)).collect()
            };
            let exact: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
            let hidden: Vec<f64> = layer(&exact, &w1, Some(&b1), k, middle).iter().map(|v| v.max(0.0)).collect();
            let want = layer(&hidden, &w2, None, middle, m);
            let scale = want.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
            for kernels in Kernels::available() {
                for bf16 in std::iter::once(None).chain(Bf16::available().into_iter().map(Some)) {
                    let first = Dense::new(kernels, k, middle, 1, &w1, Some(&b1), bf16);
                    let second = Dense::new(kernels, middle, m, 1, &w2, None, bf16);
                    let (mut scratch, mut between, mut last, mut got) = Default::default();
                    for _ in 0..2 {
                        first.run(Inputs::Rows(&x), n, true, &mut scratch, &mut between);
                        second.run(Inputs::Batch(&between), n, false, &mut scratch, &mut last);
                        Batch::to_rows(&last, &mut got);
                    }
                    assert_eq!(got.len(), want.len());
                    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
                        let error = (f64::from(*got) - want).abs();
                        let tolerance = if bf16.is_some() { 1e-2 } else { 1e-5 };
                        let name = format!("{} {bf16:?}", kernels.name());
                        assert!(error <= tolerance * scale, "{name} n={n} k={k}, {i}: {got}, want {want}");
                    }
                }
            }
        }
    }

    #[test]
    fn inputs_may_come_cell_by_cell() {
        let (channels, cells, n) = (5, 9, 3);
        let value = |i: usize| (i * 37 % 101) as f32 * 0.01;
        let (weight, x): (Vec<f32>, Vec<f32>) =
            ((0..2 * channels * cells).map(value).collect(), (0..n * channels * cells).map(value).collect());
        let by_cell: Vec<f32> = (0..x.len())
            .map(|i| x[i / (channels * cells) * channels * cells + i % channels * cells + i / channels % cells])
            .collect();
        for kernels in Kernels::available() {
            let run = |cells: usize, x: &[f32]| {
                let layer = Dense::new(kernels, x.len() / n, 2, cells, &weight, None, None);
                let (mut scratch, mut batch, mut rows) = Default::default();
                layer.run(Inputs::Rows(x), n, false, &mut scratch, &mut batch);
                Batch::to_rows(&batch, &mut rows);
                rows
            };
            for (got, want) in run(cells, &by_cell).iter().zip(run(1, &x)) {
                assert!((got - want).abs() < 1e-4, "{}: {got}, want {want}", kernels.name());
            }
        }
    }
}
