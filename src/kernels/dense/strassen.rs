//! Large layers by Strassen's method (*Gaussian Elimination is not Optimal*, 1969), one level of it: inputs, weights and outputs in
//! quarters, and seven products of quarters in the place of eight.
//!
//! ```text
//! M1 = (A11 + A22) (B11 + B22)                             C11 = M1 + M4 - M5 + M7
//! M2 = (A21 + A22)  B11         M3 = A11 (B12 - B22)       C12 = M3 + M5
//! M4 =  A22 (B21 - B11)         M5 = (A11 + A12) B22       C21 = M2 + M4
//! M6 = (A21 - A11) (B11 + B12)  M7 = (A12 - A22)(B21 + B22)      C22 = M1 - M2 + M3 + M6
//! ```
//!
//! A is the batch: its upper and lower half, each with the first and the second half of the features. The sums of weights are made
//! once, so they take 7/4 of the memory; those of inputs when their blocks are copied, block by block of k, as long as their rows
//! are near. Errors are a few times those of a plain
//! sum (Higham, *Accuracy and Stability of Numerical Algorithms*, §23.2.2), which [`Dense`](super::Dense)'s contract has room for.
#![allow(unsafe_code)]

use super::{Inputs, Plainly, Product, step};
use crate::kernels::buffer::Buffer;
use crate::kernels::choice::Kernels;
use crate::kernels::fetch::ask;
use crate::kernels::real::Number;
use crate::kernels::simd::{Simd, Work};
use crate::kernels::team::{self, Pieces};
use crate::kernels::tile::{Left, ONCE, Panels};
use std::ops::Range;

/// Numbers of each input taken at a time: twice those of the direct method, as there are half as many inputs.
const BLOCK: usize = 2 * super::BLOCK;
/// Inputs and outputs from which on less multiplying outweighs more adding.
const LARGE: usize = 1024;
/// Weights up to which three quarters more may be kept: 64 MB of them.
const MOST: usize = 1 << 24;
/// Rows for each thread from which on all panels pass by them: two tiles of AVX-512.
const FEW: usize = 28;

/// Signs of the four quarters 11, 12, 21 and 22 of A and of B in each product.
const FACTORS: [[[f32; 4]; 2]; 7] = [
    [[1.0, 0.0, 0.0, 1.0], [1.0, 0.0, 0.0, 1.0]],
    [[0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 0.0, 0.0]],
    [[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, -1.0]],
    [[0.0, 0.0, 0.0, 1.0], [-1.0, 0.0, 1.0, 0.0]],
    [[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]],
    [[-1.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0]],
    [[0.0, 1.0, 0.0, -1.0], [0.0, 0.0, 1.0, 1.0]],
];
/// The products that each quarter of C is made of, and their signs.
const SUMS: [&[(usize, f32)]; 4] = [
    &[(0, 1.0), (3, 1.0), (4, -1.0), (6, 1.0)],
    &[(2, 1.0), (4, 1.0)],
    &[(1, 1.0), (3, 1.0)],
    &[(0, 1.0), (1, -1.0), (2, 1.0), (5, 1.0)],
];

/// Packed weights.
#[derive(Debug, Clone)]
pub struct Strassen {
    kernels: Kernels,
    /// Half of what the layer takes.
    inputs: usize,
    /// Panels of half of what it makes.
    count: usize,
    /// Of the blocks of k one after the other, the seven products.
    blocks: Vec<Panels>,
}

/// Whether a layer can be computed so, and gains. Where memory is slow (ARM's boards) and where few RoIs are all that there is time
/// for, the larger weights cost more than fewer products save.
pub fn gains(kernels: Kernels, inputs: usize, outputs: usize) -> bool {
    let whole = inputs.is_multiple_of(2) && outputs.is_multiple_of(2 * kernels.panel_width());
    cfg!(target_arch = "x86_64") && whole && inputs.min(outputs) >= LARGE && inputs * outputs <= MOST
}

impl Strassen {
    /// Packs what `at(k, n)` says.
    pub fn pack(kernels: Kernels, inputs: usize, outputs: usize, at: impl Fn(usize, usize) -> f32 + Sync) -> Self {
        let (width, inputs, outputs) = (kernels.panel_width(), inputs / 2, outputs / 2);
        let blocks = team::map(FACTORS.len() * inputs.div_ceil(BLOCK), |i| {
            let ([_, signs], first) = (FACTORS[i % FACTORS.len()], i / FACTORS.len() * BLOCK);
            Panels::pack(width, 1, BLOCK.min(inputs - first), outputs, |k, n| {
                let quarter = |q: usize| at(first + k + q / 2 * inputs, n + q % 2 * outputs);
                (0..4).filter(|q| signs[*q] != 0.0).map(|q| signs[q] * quarter(q)).sum()
            })
        });
        Self { kernels, inputs, count: outputs / width, blocks }
    }

    /// Fills `out`, panel by panel, with `x · wᵀ + bias` for a batch of `n`, which is not 0.
    pub fn run(
        &self,
        x: Inputs,
        n: usize,
        bias: &[f32],
        relu: bool,
        [block, products]: [&mut Buffer; 2],
        out: &mut [f32],
    ) {
        let half = n.div_ceil(2);
        let threads = team::threads();
        // Threads wait for nobody: each makes and combines the products of some rows of the halves, which all panels pass by, or, of
        // few rows, those of some panels.
        let [by_rows, by_panels] = if half >= FEW * threads { [threads, 1] } else { [1, threads.min(self.count)] };
        let (most_rows, most_panels) = (half.div_ceil(by_rows), self.count.div_ceil(by_panels));
        let sizes =
            [most_rows * step::<f32>(BLOCK), FACTORS.len() * most_panels * most_rows * self.kernels.panel_width()];
        let parts = by_rows * by_panels;
        block.resize(parts * sizes[0]);
        products.resize(parts * sizes[1]);
        let (blocks, products, out) = (Pieces::new(block), Pieces::new(products), Pieces::new(out));
        let cut = |len: usize, part: usize, parts: usize| len * part / parts..len * (part + 1) / parts;
        team::for_each(parts, |part| {
            let of = |size: usize| part * size..(part + 1) * size;
            // SAFETY: each task has another `part`.
            let (block, products) = unsafe { (blocks.take(of(sizes[0])), products.take(of(sizes[1]))) };
            let rows = cut(half, part % by_rows, by_rows);
            let panels = cut(self.count, part / by_rows, by_panels);
            let left = Rows { x, n, half, inputs: self.inputs };
            self.multiply(left, rows.clone(), panels.clone(), block, products);
            // SAFETY: no other task has these rows of these panels.
            unsafe { self.combine(left, rows, panels, products, bias, relu, &out) };
        });
    }

    /// Some panels of the seven products of some rows.
    fn multiply(&self, left: Rows, rows: Range<usize>, panels: Range<usize>, block: &mut [f32], products: &mut [f32]) {
        let step = step::<f32>(BLOCK);
        let each = rows.len() * self.kernels.panel_width();
        for (i, weights) in self.blocks.iter().enumerate() {
            let (product, b) = (i % FACTORS.len(), i / FACTORS.len());
            for (row, out) in rows.clone().zip(block.chunks_exact_mut(step)) {
                left.sum(self.kernels, row, b * BLOCK, FACTORS[product][0], &mut out[..weights.k()]);
            }
            let products = &mut products[product * panels.len() * each..];
            for (p, out) in panels.clone().zip(products.chunks_exact_mut(each)) {
                let left = Left { data: &*block, first: 0, step, runs: &[0], run: weights.k(), again: ONCE };
                let finish = Plainly { bias: None, accumulate: b > 0, relu: false };
                let after = if p + 1 < panels.end { weights.get(p + 1) } else { None };
                let next = after.or_else(|| self.blocks.get(i + 1)?.get(panels.start));
                f32::run(self.kernels, Product { left: &left, panel: weights.panel(p).then(next), finish, out });
            }
        }
    }

    /// The outputs of some rows of both halves, and of some panels of both.
    ///
    /// # Safety
    ///
    /// Nobody else may use them.
    #[allow(clippy::too_many_arguments, reason = "where, of what, and into what")]
    unsafe fn combine(
        &self,
        Rows { n, half, .. }: Rows,
        rows: Range<usize>,
        panels: Range<usize>,
        products: &[f32],
        bias: &[f32],
        relu: bool,
        out: &Pieces<f32>,
    ) {
        let width = self.kernels.panel_width();
        let each = rows.len() * width;
        for (quarter, signs) in SUMS.into_iter().enumerate() {
            let (first, right) = (quarter / 2 * half, quarter % 2 * self.count);
            for (i, p) in panels.clone().enumerate() {
                let panel = right + p;
                let [start, end] = [rows.start, rows.end].map(|row| (panel * n + (first + row).min(n)) * width);
                let none: (&[f32], f32) = (&[], 0.0);
                let mut terms = [none; 4];
                for (term, (product, sign)) in terms.iter_mut().zip(signs) {
                    *term = (&products[(product * panels.len() + i) * each..][..end - start], *sign);
                }
                // SAFETY: these numbers are nobody else's, says the caller.
                let out = unsafe { out.take(start..end) };
                let bias = &bias[panel * width..][..width];
                self.kernels.run(Sum { terms: &terms[..signs.len()], bias, relu, out });
            }
        }
    }
}

/// The left factor of all products.
#[derive(Clone, Copy)]
struct Rows<'a> {
    x: Inputs<'a>,
    n: usize,
    /// Rows of the upper half. The lower half may lack the last one, which counts as zeros.
    half: usize,
    /// Features of the first half.
    inputs: usize,
}

impl Rows<'_> {
    /// Numbers of a row of a product's factor, from `first` on.
    fn sum(&self, kernels: Kernels, row: usize, first: usize, signs: [f32; 4], out: &mut [f32]) {
        self.ask(row + 1, first, signs, out.len());
        let mut at = 0;
        while at < out.len() {
            let none: (&[f32], f32) = (&[], 0.0);
            let (mut terms, mut count, mut len) = ([none; 4], 0, out.len() - at);
            for (q, sign) in signs.into_iter().enumerate() {
                if let Some(piece) = self.piece(q, row, first + at).filter(|_| sign != 0.0) {
                    len = len.min(piece.len());
                    terms[count] = (piece, sign);
                    count += 1;
                }
            }
            for (piece, _) in &mut terms[..count] {
                *piece = &piece[..len];
            }
            kernels.run(Sum { terms: &terms[..count], bias: &[], relu: false, out: &mut out[at..at + len] });
            at += len;
        }
    }

    /// Asks for what a row will be summed from, which may be far away.
    fn ask(&self, row: usize, first: usize, signs: [f32; 4], len: usize) {
        let line = Buffer::<f32>::LINE;
        for q in (0..4).filter(|q| signs[*q] != 0.0) {
            let Some(piece) = self.piece(q, row, first) else { continue };
            piece.chunks(line).take(len / line).for_each(|line| ask(line.as_ptr()));
        }
    }

    /// Numbers of a row of a quarter that lie together.
    fn piece(&self, quarter: usize, row: usize, first: usize) -> Option<&[f32]> {
        let row = row + quarter / 2 * self.half;
        (row < self.n).then(|| self.x.piece(row, 2 * self.inputs, quarter % 2 * self.inputs + first))
    }
}

/// `Σ sign · term + bias` of slices, each as long as `out`; the bias again and again, if there is one.
struct Sum<'a> {
    terms: &'a [(&'a [f32], f32)],
    bias: &'a [f32],
    relu: bool,
    out: &'a mut [f32],
}

impl Work for Sum<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { terms, bias, relu, out } = self;
        let whole = out.len() / S::LANES * S::LANES;
        let mut column = 0;
        for at in (0..whole).step_by(S::LANES) {
            let mut sum = simd.splat(0.0);
            if !bias.is_empty() {
                sum = simd.load(&bias[column..]);
                column = (column + S::LANES) % bias.len();
            }
            for (term, sign) in terms {
                sum = simd.mul_add(simd.load(&term[at..]), simd.splat(*sign), sum);
            }
            if relu {
                sum = simd.max(sum, simd.splat(0.0));
            }
            simd.store(sum, &mut out[at..]);
        }
        // A bias is as long as whole vectors, and so is what it is added to.
        for at in whole..out.len() {
            out[at] = terms.iter().map(|(term, sign)| sign * term[at]).sum();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::kernels::Team;
    use rand::{RngExt, SeedableRng};

    /// Odd batches, halves that are no whole blocks, more threads than rows and than panels.
    #[test]
    fn products_of_quarters_add_up_to_those_of_the_whole_on_any_number_of_threads() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(6);
        for (n, inputs, panels) in [(1, 2, 1), (2, 6, 2), (5, 70, 3), (115, 34, 1), (171, 2 * BLOCK + 6, 1)] {
            for kernels in Kernels::available() {
                let outputs = 2 * panels * kernels.panel_width();
                let mut random = |len: usize| (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
                let (x, w, bias) = (random(n * inputs), random(inputs * outputs), random(outputs));
                let strassen = Strassen::pack(kernels, inputs, outputs, |k, n| w[n * inputs + k]);
                let run = |threads: usize, relu: bool| {
                    let (mut block, mut products) = (Buffer::default(), Buffer::default());
                    let mut out = vec![f32::NAN; n * outputs];
                    Team::new(threads).unwrap().install(|| {
                        strassen.run(Inputs::Rows(&x), n, &bias, relu, [&mut block, &mut products], &mut out);
                    });
                    out
                };
                let plain = run(1, false);
                for (i, got) in plain.iter().enumerate() {
                    // Panel by panel.
                    let width = kernels.panel_width();
                    let (row, o) = (i / width % n, i / width / n * width + i % width);
                    let terms = x[row * inputs..][..inputs].iter().zip(&w[o * inputs..][..inputs]);
                    let want = f64::from(bias[o]) + terms.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>();
                    let error = (f64::from(*got) - want).abs();
                    assert!(
                        error < 1e-6 + 1e-7 * inputs as f64,
                        "{} n={n} k={inputs}, {i}: off by {error}",
                        kernels.name()
                    );
                }
                let relu: Vec<f32> = plain.iter().map(|v| v.max(0.0)).collect();
                for threads in [1, 2, 3] {
                    assert_eq!(run(threads, false), plain, "{} on {threads} threads", kernels.name());
                    assert_eq!(run(threads, true), relu, "{} on {threads} threads", kernels.name());
                }
            }
        }
    }
}
