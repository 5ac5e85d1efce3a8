//! The body of the innermost loop, and in which form compilers make good code of it.
#![allow(unsafe_code)]

use super::Dot;

/// How far rows are from the first, in numbers.
///
/// Left to themselves, compilers add up the distances in every step, which with AVX2 takes 5 % of the time. Here that of each odd
/// row is a number of its own, from which that of others follows by a shift, which is part of reading on x86-64.
#[derive(Debug, Clone, Copy)]
pub struct Apart {
    odd: [usize; MOST_ROWS / 2],
}

/// Rows of the largest tile.
const MOST_ROWS: usize = 14;
/// Rows whose distances fit into the registers of an x86-64, which reads at the sum of two. The larger tiles of AVX-512 have
/// time for additions, and other processors have more registers.
const FEW_ROWS: usize = if cfg!(target_arch = "x86_64") { 8 } else { 0 };

impl Apart {
    #[inline(always)]
    /// Of `rows` rows, `step` numbers from one to the next.
    pub fn new(step: usize, rows: usize) -> Self {
        let mut odd = [0; MOST_ROWS / 2];
        for (i, odd) in odd.iter_mut().enumerate().take(rows / 2) {
            *odd = (2 * i + 1) * step;
            if rows <= FEW_ROWS {
                // That they are multiples of one number is not to be seen, or they would be computed from each other.
                *odd = std::hint::black_box(*odd);
            }
        }
        Self { odd }
    }

    #[inline(always)]
    /// Of this row.
    pub fn to(self, row: usize) -> usize {
        if row == 0 { 0 } else { self.odd[(row >> row.trailing_zeros()) / 2] << row.trailing_zeros() }
    }
}

/// Some steps of all rows: `AHEAD` of them, or one.
///
/// # Safety
///
/// These steps must be readable at `ROWS` rows from `x` on, so far `apart`, and two vectors of weights for each at `w`.
#[inline(always)]
pub unsafe fn steps<D: Dot, const ROWS: usize, const WHOLE: bool>(
    dot: D,
    x: *const D::Input,
    apart: Apart,
    w: *const D::Weight,
    sums: &mut [[D::Sum; 2]; ROWS],
) {
    let last = if WHOLE { D::AHEAD - 1 } else { 0 };
    // SAFETY: readable, says the caller.
    #[cfg(not(target_arch = "aarch64"))]
    let weights = unsafe { weights_of(dot, w, last) };
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    let weights = unsafe { if D::AHEAD == 1 { weights_one_by_one(dot, w, last) } else { weights_of(dot, w, last) } };
    // Not a loop: compilers take one for too long to be unrolled, and then keep the sums in memory.
    macro_rules! each_row {
        ($($r:literal)*) => {$(
            if $r < ROWS {
                let sums = &mut sums[$r];
                // SAFETY: row `$r` is readable, says the caller.
                let x = unsafe {
                    let x = x.add(apart.to($r));
                    if WHOLE { dot.inputs_at(x) } else { dot.first_at(x) }
                };
                step::<D, 0>(dot, sums, x, weights[0]);
                if last > 0 {
                    step::<D, 1>(dot, sums, x, weights[1]);
                    step::<D, 2>(dot, sums, x, weights[2]);
                    step::<D, 3>(dot, sums, x, weights[3]);
                }
            }
        )*};
    }
    each_row!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
}

/// One step of all rows for one vector of columns, the first (`VECTOR` 0) or the second (1).
///
/// # Safety
///
/// As for [`steps`], with one vector of weights.
#[inline(always)]
pub unsafe fn half_step<D: Dot, const ROWS: usize, const VECTOR: usize>(
    dot: D,
    x: *const D::Input,
    apart: Apart,
    w: *const D::Weight,
    sums: &mut [[D::Sum; 2]; ROWS],
) {
    // SAFETY: readable, says the caller.
    let weights = unsafe { dot.weights_at(w) };
    macro_rules! each_row {
        ($($r:literal)*) => {$(
            if $r < ROWS {
                // SAFETY: row `$r` is readable, says the caller.
                let x = unsafe { dot.first_at(x.add(apart.to($r))) };
                sums[$r][VECTOR] = dot.add::<0>(sums[$r][VECTOR], x, weights);
            }
        )*};
    }
    each_row!(0 1 2 3 4 5 6 7 8 9 10 11 12 13);
}

/// The weights of steps up to `last` for both vectors of columns. Those beyond are the last one's, and not used. No closure: compilers
/// may make that a function of its own, which has not the instructions that its caller is compiled for, and calls each of them
/// (`tests/inlined.sh` looks for such).
///
/// # Safety
///
/// They must be readable at `w`.
#[inline(always)]
unsafe fn weights_of<D: Dot>(dot: D, w: *const D::Weight, last: usize) -> [[D::W; 2]; MOST_AHEAD] {
    let next = 2 * D::LANES * D::STEP;
    // SAFETY: readable, says the caller.
    unsafe {
        [
            both_weights(dot, w),
            both_weights(dot, w.add(next * last.min(1))),
            both_weights(dot, w.add(next * last.min(2))),
            both_weights(dot, w.add(next * last.min(3))),
        ]
    }
}

/// Both vectors of one step.
///
/// # Safety
///
/// They must be readable at `w`.
#[inline(always)]
unsafe fn both_weights<D: Dot>(dot: D, w: *const D::Weight) -> [D::W; 2] {
    // SAFETY: readable, says the caller.
    unsafe { [dot.weights_at(w), dot.weights_at(w.add(D::LANES * D::STEP))] }
}

/// The same on 64-bit ARM, where every function has the instructions. With a closure the loop for bytes without dot products takes 75 instructions, without
/// 89 and two more sums on the stack: 32 cycles instead of 37 on a Cortex-A72, by llvm-mca.
///
/// # Safety
///
/// As above.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
unsafe fn weights_one_by_one<D: Dot>(dot: D, w: *const D::Weight, last: usize) -> [[D::W; 2]; MOST_AHEAD] {
    std::array::from_fn(|i| {
        [0, 1].map(|half| {
            // SAFETY: readable, says the caller.
            unsafe { dot.weights_at(w.add((2 * i.min(last) + half) * D::LANES * D::STEP)) }
        })
    })
}

/// [`Dot::AHEAD`] where it is not 1.
const MOST_AHEAD: usize = 4;

/// One step of a row.
#[inline(always)]
fn step<D: Dot, const AT: usize>(dot: D, sums: &mut [D::Sum; 2], x: D::X, w: [D::W; 2]) {
    *sums = [dot.add::<AT>(sums[0], x, w[0]), dot.add::<AT>(sums[1], x, w[1])];
}
