//! The innermost loop, on which all time is spent: a few rows of the left factor times one panel of the right.
//!
//! ```text
//! sum[r][lane] = Σ over parts, runs, i in a run: part[first + r·step + run + i] · panel[k][lane]      k counts up
//! ```
//!
//! The left factor is read where it lies: row `r` begins `r·step` numbers after the first, and its numbers come in `runs`,
//! contiguous pieces at the same places in each row. For a product of matrices there is one run, a whole row. For a
//! convolution on channels-last maps a row is an output pixel, `step` is stride × channels, and a run is what one row of
//! the kernel covers (all channels of kernel-width neighbouring pixels): no im2col, and the three channels of a picture
//! are no special case. The right factor is packed into panels of two vectors' width ([`Panels`]).
//!
//! The loop is the same for all kinds of numbers ([`Dot`]): f32 one at a time, bytes four at a time. What becomes of the
//! sums is the caller's business ([`Finish`]).
//!
//! Numeric contract of f32: sums run over k in order, one rounding per step with fused multiply-add, two without.
//!
//! 1. All sums stay in registers: rows × 2 vectors of them, see [`Dot::ROWS`]. Each step loads two vectors of the panel
//!    and one number per row. Where reading one number into all lanes would take a turn of the unit that multiplies (ARM),
//!    four numbers of a row are read at a time and the multiplying instruction picks one ([`Dot::AHEAD`]).
//! 2. Row counts that are not a multiple are split evenly (64 into 13, 13, 13, 13, 12, not 14·4 + 8), and each count has
//!    code of its own: nearly nothing is computed in vain.
//! 3. Large weights come from memory. Those of the next panel are asked for while this one's rows are computed
//!    ([`Panel::then`], [`Ahead`]), so that its first rows need not wait for them; so are sums of before that are added to.
//! 4. On AVX2 whole tiles of f32 and of words have loops in assembly (`tile/loops.rs`).
#![allow(unsafe_code)]

mod finish;
#[cfg(target_arch = "x86_64")]
pub mod loops;
mod panels;
mod steps;

pub use finish::{Finish, Plainly, Target, put};
pub use panels::{Panel, Panels, SECOND_LEVEL};
use steps::{Apart, half_step, steps};

use super::buffer::Plain;
use super::fetch::Ahead;
use super::simd::Simd;

/// Products of some kind of numbers, summed in vectors. Like [`Simd`], a value proves that the processor can.
pub trait Dot: Copy {
    /// Numbers of the left factor.
    type Input: Plain;
    /// Numbers of the right factor.
    type Weight: Plain;
    /// Inputs of `AHEAD` steps.
    type X: Copy;
    /// `STEP` weights for each lane.
    type W: Copy;
    /// A vector of sums.
    type Sum: Copy;
    /// Numbers taken at a time along k.
    const STEP: usize;
    /// Lanes of a vector of sums.
    const LANES: usize;
    /// Steps whose inputs are read at a time: 4 where an instruction can pick one of them from a register, else 1.
    const AHEAD: usize = 1;
    /// Rows of a tile whose sums stay in registers.
    const ROWS: usize;
    /// Runs are best a multiple of this, which is a multiple of `STEP`.
    const RUN: usize = Self::STEP;
    /// Rows that are best computed together.
    const SHARE: usize = 1;
    /// Whether neighbouring products, 0 and 1, 2 and 3 and so on, are added in 16 bits. Weights for which that is too little
    /// come in two parts, the second in steps for one vector of a panel ([`Left::again`]).
    const PAIRS: bool = false;

    /// Nothing added yet.
    fn zero(self) -> Self::Sum;
    /// Inputs of `AHEAD` steps from memory.
    ///
    /// # Safety
    ///
    /// `AHEAD · STEP` numbers must be readable at `x`.
    unsafe fn inputs_at(self, x: *const Self::Input) -> Self::X;
    /// Inputs of one step, the first.
    ///
    /// # Safety
    ///
    /// `STEP` numbers must be readable at `x`.
    #[inline(always)]
    unsafe fn first_at(self, x: *const Self::Input) -> Self::X {
        const { assert!(Self::AHEAD == 1, "a way to read less") };
        // SAFETY: this is all; readable, says the caller.
        unsafe { self.inputs_at(x) }
    }
    /// Weights from memory.
    ///
    /// # Safety
    ///
    /// `STEP · LANES` numbers must be readable at `w`.
    unsafe fn weights_at(self, w: *const Self::Weight) -> Self::W;
    /// `sum` and the products with the inputs of a step, of those that `x` has.
    fn add<const AT: usize>(self, sum: Self::Sum, x: Self::X, w: Self::W) -> Self::Sum;

    /// All runs of a whole tile by a loop of the instructions' own, if they have one.
    ///
    /// # Safety
    ///
    /// What the runs read must be readable.
    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        _runs: Runs<Self::Input, Self::Weight>,
        _ahead: &mut Ahead,
        _sums: &mut [[Self::Sum; 2]; ROWS],
    ) -> bool {
        false
    }

    /// [`rows`], for instructions that have a way of their own.
    ///
    /// # Safety
    ///
    /// As for [`rows`].
    #[inline(always)]
    unsafe fn rows<F: Finish<Self>>(
        self,
        parts: &[Left<Self::Input>],
        count: usize,
        panel: Panel<Self::Weight>,
        finish: F,
        target: Target<F::Out>,
    ) {
        // SAFETY: as the caller says.
        unsafe { rows_of(self, parts, count, panel, finish, target) }
    }
}

/// Products of f32.
#[derive(Debug, Clone, Copy)]
pub struct F32<S>(pub S);

impl<S: Simd> Dot for F32<S> {
    type Input = f32;
    type Weight = f32;
    type X = S::Few;
    type W = S::F32;
    type Sum = S::F32;
    const STEP: usize = 1;
    const LANES: usize = S::LANES;
    const AHEAD: usize = S::AHEAD;
    const ROWS: usize = S::ROWS;

    #[inline(always)]
    fn zero(self) -> S::F32 {
        self.0.splat(0.0)
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const f32) -> S::Few {
        // SAFETY: readable, says the caller.
        unsafe { self.0.few_at(x) }
    }

    #[inline(always)]
    unsafe fn first_at(self, x: *const f32) -> S::Few {
        // SAFETY: readable, says the caller.
        unsafe { self.0.one_at(x) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const f32) -> S::F32 {
        // SAFETY: readable, says the caller.
        unsafe { self.0.load_at(w) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: S::F32, x: S::Few, w: S::F32) -> S::F32 {
        self.0.mul_add_one::<AT>(x, w, sum)
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<f32, f32>,
        ahead: &mut Ahead,
        sums: &mut [[S::F32; 2]; ROWS],
    ) -> bool {
        // SAFETY: readable, says the caller.
        unsafe { self.0.runs_of_tile(runs, ahead, sums) }
    }
}

/// What the runs of a whole tile read.
#[derive(Debug, Clone, Copy)]
pub struct Runs<'a, X, W> {
    /// What the runs' places are counted from in the first row.
    pub x: *const X,
    /// Numbers from a row to the next.
    pub step: usize,
    /// Where each begins.
    pub runs: &'a [usize],
    /// As many reads of each row ([`Dot::AHEAD`] steps) in each of them.
    pub steps: usize,
    /// As many weights, for both vectors.
    pub w: *const W,
}

impl<X, W> Runs<'_, X, W> {
    /// Whether there is anything to read.
    #[inline(always)]
    pub fn any(&self) -> bool {
        self.steps > 0 && !self.runs.is_empty()
    }
}

/// The left factor, or a part of it.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a, T = f32> {
    /// What it lies in.
    pub data: &'a [T],
    /// Where the first row begins.
    pub first: usize,
    /// From a row to the next.
    pub step: usize,
    /// Beginnings of the runs, relative to the row's.
    pub runs: &'a [usize],
    /// Length of each run, a multiple of [`Dot::STEP`]. What a run covers beyond the numbers that are meant meets zeros.
    pub run: usize,
    /// With [`Dot::PAIRS`], beginnings of single steps that the first vector of columns takes once more, and the second.
    pub again: [&'a [usize]; 2],
}

/// Nothing twice.
pub const ONCE: [&[usize]; 2] = [&[], &[]];

/// Computes the first `count` rows against one panel. Each row of the result has as many numbers as the panel real columns.
///
/// # Safety
///
/// Nobody else may use the numbers of the target that this writes. `dot` is what a piece of work was given, and this is called
/// while that work is done: some instructions are set up for it.
///
/// # Panics
///
/// If a slice is too short for that.
#[inline(always)]
pub unsafe fn rows<D: Dot, F: Finish<D>>(
    dot: D,
    parts: &[Left<D::Input>],
    count: usize,
    panel: Panel<D::Weight>,
    finish: F,
    target: Target<F::Out>,
) {
    // SAFETY: as the caller says.
    unsafe { dot.rows(parts, count, panel, finish, target) }
}

/// [`rows`] by tiles whose sums stay in vectors.
///
/// # Safety
///
/// As for [`rows`].
#[inline(always)]
pub unsafe fn rows_of<D: Dot, F: Finish<D>>(
    dot: D,
    parts: &[Left<D::Input>],
    count: usize,
    panel: Panel<D::Weight>,
    finish: F,
    target: Target<F::Out>,
) {
    if count == 0 {
        return;
    }
    check::<D>(parts, count, panel);
    let tiles = count.div_ceil(D::ROWS);
    let steps: usize = parts.iter().map(|left| left.runs.len() * (left.run / (D::STEP * D::AHEAD))).sum();
    let mut ahead = Ahead::new(panel.next, tiles, steps);
    let mut done = 0;
    for t in 0..tiles {
        let next = count * (t + 1) / tiles;
        ahead.tile();
        macro_rules! tile_of {
            ($($rows:literal)*) => {
                match next - done {
                    // The comparison is constant: tiles that do not fit into the registers are not even compiled.
                    $($rows if $rows <= D::ROWS => {
                        // SAFETY: checked above; as the caller says.
                        unsafe { tile::<D, F, $rows>(dot, parts, done, panel, &mut ahead, finish, target) }
                    })*
                    other => unreachable!("a tile of {other} rows"),
                }
            };
        }
        tile_of!(1 2 3 4 5 6 7 8 9 10 11 12 13 14);
        done = next;
    }
}

/// Rows `skip..skip + ROWS`.
///
/// # Safety
///
/// As for [`rows`], and `parts` have so many rows, the panel what they meet ([`check`]).
#[inline(always)]
unsafe fn tile<D: Dot, F: Finish<D>, const ROWS: usize>(
    dot: D,
    parts: &[Left<D::Input>],
    skip: usize,
    panel: Panel<D::Weight>,
    ahead: &mut Ahead,
    finish: F,
    target: Target<F::Out>,
) {
    if finish.adds() {
        // A cache line each, on most processors, which are there when the sums are.
        for r in 0..ROWS {
            target.ask(skip + r, D::LANES);
        }
    }
    let mut sums = [finish.start(dot); ROWS];
    let mut w = panel.data.as_ptr();
    let main = parts.iter().map(|left| left.runs.len() * left.run).sum::<usize>() * 2 * D::LANES;
    // SAFETY: so many lie before those that are taken once more, says the caller.
    let mut again = unsafe { w.add(main) };
    for left in parts {
        let apart = Apart::new(left.step, ROWS);
        let (whole, rest) = (left.run / D::STEP / D::AHEAD, left.run / D::STEP % D::AHEAD);
        // SAFETY: the first row of the tile begins inside of `left.data`, says the caller.
        let x = unsafe { left.data.as_ptr().add(left.first + skip * left.step) };
        let runs = Runs { x, step: left.step, runs: left.runs, steps: whole, w };
        // SAFETY: the loops make Σ runs × run / STEP steps, and the panel has as many of two vectors of weights; the rows
        // at the places of their runs lie inside of `left.data`. Both end at most one past what they read.
        unsafe {
            if rest == 0 && dot.runs_of_tile(runs, ahead, &mut sums) {
                w = w.add(left.runs.len() * left.run * 2 * D::LANES);
            } else {
                for &run in left.runs {
                    let mut x = x.add(run);
                    for _ in 0..whole {
                        ahead.step();
                        steps::<D, ROWS, true>(dot, x, apart, w, &mut sums);
                        w = w.add(D::AHEAD * 2 * D::LANES * D::STEP);
                        x = x.add(D::AHEAD * D::STEP);
                    }
                    for _ in 0..rest {
                        steps::<D, ROWS, false>(dot, x, apart, w, &mut sums);
                        w = w.add(2 * D::LANES * D::STEP);
                        x = x.add(D::STEP);
                    }
                }
            }
        }
        if D::PAIRS {
            // SAFETY: so far apart, and with one vector of weights each, says the caller.
            unsafe {
                let x = left.data.as_ptr().add(left.first + skip * left.step);
                for at in left.again[0] {
                    half_step::<D, ROWS, 0>(dot, x.add(*at), apart, again, &mut sums);
                    again = again.add(D::LANES * D::STEP);
                }
                for at in left.again[1] {
                    half_step::<D, ROWS, 1>(dot, x.add(*at), apart, again, &mut sums);
                    again = again.add(D::LANES * D::STEP);
                }
            }
        }
    }
    for (r, sums) in sums.into_iter().enumerate() {
        // SAFETY: nobody else uses them, says the caller.
        unsafe { put(dot, sums, panel.real, finish, target, skip + r) };
    }
}

/// Panics unless the left factor has `end` rows, and the panel what they meet.
#[inline(always)]
pub fn check<D: Dot>(parts: &[Left<D::Input>], end: usize, panel: Panel<D::Weight>) {
    let mut numbers = 0;
    for left in parts {
        let furthest = left.runs.iter().max().map_or(0, |r| r + left.run);
        assert!(left.first + (end - 1) * left.step + furthest <= left.data.len(), "rows beyond the left factor");
        assert!(left.run.is_multiple_of(D::STEP), "a run of whole steps");
        numbers += left.runs.len() * left.run * 2 * D::LANES;
        for at in left.again.into_iter().flatten().filter(|_| D::PAIRS) {
            assert!(at + D::STEP <= furthest, "a step beyond all runs");
            numbers += D::LANES * D::STEP;
        }
    }
    assert_eq!(panel.data.len(), numbers, "length of a panel");
}
