//! `f32_tile`: the innermost loop, on which all time is spent. A few rows of the left factor times one panel of the right.
//!
//! ```text
//! out[r][lane] = start[lane] + Σ over runs, Σ over i in a run: left[first + r·step + run + i] · panel[k][lane]      k counts up
//! ```
//!
//! The left factor is read where it lies: row `r` begins `r·step` numbers after the first, and its numbers come in `runs`,
//! contiguous pieces at the same places in each row. For a product of matrices there is one run, a whole row. For a
//! convolution on channels-last maps a row is an output pixel, `step` is stride × channels, and a run is what one row of
//! the kernel covers (all channels of kernel-width neighbouring pixels): no im2col, and the three channels of a picture
//! are no special case. The right factor is packed into panels of two vectors' width ([`Panels`]).
//!
//! Numeric contract: sums run over k in order, one rounding per step with fused multiply-add, two without.
//!
//! 1. All sums stay in registers: rows × 2 vectors of them, see [`Simd::ROWS`]. Each step loads two vectors of the panel
//!    and one number per row.
//! 2. Row counts that are not a multiple are split evenly (64 into 13, 13, 13, 13, 12, not 14·4 + 8), and each count has
//!    code of its own: nearly nothing is computed in vain.
#![allow(unsafe_code)]

use super::buffer::Buffer;
use super::choice::Kernels;
use super::simd::{MOST_LANES, Simd};

/// A right factor of k rows and n columns, in panels: for each group of `width` columns k rows of `width` numbers. The last
/// panel is filled up with zeros.
#[derive(Debug, Clone)]
pub struct Panels {
    k: usize,
    n: usize,
    width: usize,
    data: Buffer,
}

impl Panels {
    /// Zeros.
    pub fn zeros(kernels: Kernels, k: usize, n: usize) -> Self {
        let width = kernels.panel_width();
        Self { k, n, width, data: Buffer::zeros(n.div_ceil(width) * k * width) }
    }

    /// Packs what `at(k, n)` says.
    pub fn pack(kernels: Kernels, k: usize, n: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut panels = Self::zeros(kernels, k, n);
        for (i, j) in (0..n).flat_map(|j| (0..k).map(move |i| (i, j))) {
            *panels.at_mut(i, j) = at(i, j);
        }
        panels
    }

    /// One number.
    pub fn at_mut(&mut self, k: usize, n: usize) -> &mut f32 {
        &mut self.data[(n / self.width * self.k + k) * self.width + n % self.width]
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.n.div_ceil(self.width)
    }

    /// The panel's numbers, its first column and how many of its columns are real.
    pub fn panel(&self, p: usize) -> Panel<'_> {
        let len = self.k * self.width;
        let first = p * self.width;
        Panel { data: &self.data[p * len..][..len], first, real: self.width.min(self.n - first) }
    }

    /// Rows.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes of the packed numbers.
    pub fn bytes(&self) -> usize {
        self.data.len() * size_of::<f32>()
    }
}

/// One panel.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a> {
    /// k rows of the panel's width.
    pub data: &'a [f32],
    /// Its first column.
    pub first: usize,
    /// Columns that are not filling.
    pub real: usize,
}

/// The left factor.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    /// What it lies in.
    pub data: &'a [f32],
    /// From a row to the next.
    pub step: usize,
    /// Beginnings of the runs, relative to the row's.
    pub runs: &'a [usize],
    /// Length of each run.
    pub run: usize,
}

/// What sums begin with and what becomes of them.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    /// Added to each column, as many as the panel is wide.
    pub bias: Option<&'a [f32]>,
    /// Add to what `out` holds.
    pub accumulate: bool,
    /// Negative results become zero.
    pub relu: bool,
}

/// Computes `count` rows from the one that begins at `first` on, against one panel. Row `r` of the result goes to
/// `out[r·out_step..]`, as many numbers as the panel has real columns.
///
/// # Panics
///
/// If a slice is too short for that.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "the innermost call; a struct would only rename them")]
pub fn rows<S: Simd>(
    simd: S,
    left: &Left,
    first: usize,
    count: usize,
    panel: Panel,
    finish: Finish,
    out: &mut [f32],
    out_step: usize,
) {
    let tiles = count.div_ceil(S::ROWS);
    let mut done = 0;
    for t in 0..tiles {
        let next = count * (t + 1) / tiles;
        let (first, out) = (first + done * left.step, &mut out[done * out_step..]);
        macro_rules! tile_of {
            ($($rows:literal)*) => {
                match next - done {
                    // The comparison is constant: tiles that do not fit into the registers are not even compiled.
                    $($rows if $rows <= S::ROWS => tile::<S, $rows>(simd, left, first, panel, finish, out, out_step),)*
                    other => unreachable!("a tile of {other} rows"),
                }
            };
        }
        tile_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        done = next;
    }
}

#[inline(always)]
fn tile<S: Simd, const ROWS: usize>(
    simd: S,
    left: &Left,
    first: usize,
    panel: Panel,
    finish: Finish,
    out: &mut [f32],
    out_step: usize,
) {
    let width = 2 * S::LANES;
    let Panel { data: weights, real, .. } = panel;
    let furthest = left.runs.iter().max().map_or(0, |r| r + left.run);
    assert!(first + (ROWS - 1) * left.step + furthest <= left.data.len(), "rows beyond the left factor");
    assert_eq!(weights.len(), left.runs.len() * left.run * width, "length of a panel");
    assert!((ROWS - 1) * out_step + real <= out.len(), "rows beyond the result");

    let mut sums = [[simd.splat(0.0); 2]; ROWS];
    if let Some(bias) = finish.bias {
        let bias = [simd.load(bias), simd.load(&bias[S::LANES..])];
        sums = [bias; ROWS];
    }
    let mut w = weights.as_ptr();
    for &run in left.runs {
        // SAFETY: asserted above: the run of the last row ends inside of `left.data`.
        let mut x = unsafe { left.data.as_ptr().add(first + run) };
        for _ in 0..left.run {
            // SAFETY: the loops make runs × run steps, and the panel has as many rows of two vectors.
            let (w0, w1) = unsafe { (simd.load_at(w), simd.load_at(w.add(S::LANES))) };
            for (r, sums) in sums.iter_mut().enumerate() {
                // SAFETY: row `r` at this place of its run, inside of `left.data` as asserted.
                let x = unsafe { simd.splat_at(x.add(r * left.step)) };
                sums[0] = simd.mul_add(x, w0, sums[0]);
                sums[1] = simd.mul_add(x, w1, sums[1]);
            }
            // SAFETY: at most one past the end of what the loops read.
            unsafe {
                w = w.add(width);
                x = x.add(1);
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        let out = &mut out[r * out_step..][..real];
        if real == width {
            let (a, b) = out.split_at_mut(S::LANES);
            for (sum, out) in sums.into_iter().zip([a, b]) {
                put(simd, sum, finish, out);
            }
        } else {
            // A vector may be longer than what is left of the row: by way of the stack.
            let mut all = [0.0; 2 * MOST_LANES];
            let all = &mut all[..width];
            all[..real].copy_from_slice(out);
            let (a, b) = all.split_at_mut(S::LANES);
            for (sum, out) in sums.into_iter().zip([a, b]) {
                put(simd, sum, finish, out);
            }
            out.copy_from_slice(&all[..real]);
        }
    }
}

#[inline(always)]
fn put<S: Simd>(simd: S, mut sum: S::F32, finish: Finish, out: &mut [f32]) {
    if finish.accumulate {
        sum = simd.add(sum, simd.load(out));
    }
    if finish.relu {
        sum = simd.max(sum, simd.splat(0.0));
    }
    simd.store(sum, out);
}
