//! From sums in registers to results in memory.
#![allow(unsafe_code)]

use super::Dot;
use crate::kernels::fetch::ask;
use crate::kernels::simd::{MOST_LANES, Simd};
use crate::kernels::team::Pieces;

/// What becomes of the sums of a row.
pub trait Finish<D: Dot>: Copy {
    /// What they become.
    type Out;

    /// What two vectors of sums begin with.
    #[inline(always)]
    fn start(self, dot: D) -> [D::Sum; 2] {
        [dot.zero(); 2]
    }

    /// Whether results are added to what there is, which is read then.
    #[inline(always)]
    fn adds(self) -> bool {
        false
    }

    /// Turns two vectors of sums into results: as many as `out` has room for, at most both vectors.
    fn put(self, dot: D, sums: [D::Sum; 2], out: &mut [Self::Out]);
}

/// Where rows of results go: row `r` to the numbers from `at + r·step` on.
#[derive(Debug)]
pub struct Target<'a, T> {
    /// What they lie in.
    pub pieces: &'a Pieces<'a, T>,
    /// The first row's first number.
    pub at: usize,
    /// From a row to the next.
    pub step: usize,
}

impl<T> Clone for Target<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Target<'_, T> {}

impl<T> Target<'_, T> {
    /// Asks for a row's numbers, as many as two vectors of so many `lanes`.
    #[inline(always)]
    pub fn ask(self, row: usize, lanes: usize) {
        let at = self.at + row * self.step;
        ask(self.pieces.address(at));
        ask(self.pieces.address(at + lanes));
    }
}

/// Finishes a row of `real` columns.
///
/// # Safety
///
/// As for [`rows`](super::rows).
#[inline(always)]
pub unsafe fn put<D: Dot, F: Finish<D>>(
    dot: D,
    sums: [D::Sum; 2],
    real: usize,
    finish: F,
    target: Target<F::Out>,
    row: usize,
) {
    let at = target.at + row * target.step;
    // Where the length is known when compiled, `put` has no branches.
    if real == 2 * D::LANES {
        // SAFETY: nobody else uses them, says the caller.
        finish.put(dot, sums, unsafe { target.pieces.take(at..at + 2 * D::LANES) });
    } else {
        // SAFETY: as above.
        finish.put(dot, sums, unsafe { target.pieces.take(at..at + real) });
    }
}

/// f32 sums as f32 results.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plainly<'a> {
    /// Added to each column, as many as the panel is wide.
    pub bias: Option<&'a [f32]>,
    /// Add to what `out` holds.
    pub accumulate: bool,
    /// Negative results become zero.
    pub relu: bool,
}

impl Plainly<'_> {
    /// Turns two vectors of sums into results: as many as `out` has room for.
    #[inline(always)]
    pub fn store<S: Simd>(self, simd: S, sums: [S::F32; 2], out: &mut [f32]) {
        let width = 2 * S::LANES;
        if out.len() == width {
            return self.both(simd, sums, out);
        }
        // A vector may be longer than what is left of the row: by way of the stack.
        let mut all = [0.0; 2 * MOST_LANES];
        let real = out.len();
        all[..real].copy_from_slice(out);
        self.both(simd, sums, &mut all[..width]);
        out.copy_from_slice(&all[..real]);
    }

    #[inline(always)]
    fn both<S: Simd>(self, simd: S, sums: [S::F32; 2], out: &mut [f32]) {
        let (a, b) = out.split_at_mut(S::LANES);
        for (i, (mut sum, out)) in sums.into_iter().zip([a, b]).enumerate() {
            if let Some(bias) = self.bias {
                sum = simd.add(sum, simd.load(&bias[i * S::LANES..]));
            }
            if self.accumulate {
                sum = simd.add(sum, simd.load(out));
            }
            if self.relu {
                sum = simd.max(sum, simd.splat(0.0));
            }
            simd.store(sum, out);
        }
    }
}
