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
//!    ([`Panel::then`]), so that its first rows need not wait for them.
#![allow(unsafe_code)]

use super::buffer::{Buffer, Plain};
use super::fetch::fetch;
use super::simd::{MOST_LANES, Simd};
use super::team::Pieces;

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
}

/// Weights up to this size, in bytes, stay in a second-level cache next to the rows they are multiplied with.
pub const SMALL: usize = 256 << 10;

/// A right factor of k rows and n columns, in panels: for each group of `width` columns the rows, `step` of them
/// interleaved. The last panel and the last rows are filled up with zeros.
#[derive(Debug, Clone)]
pub struct Panels<T: Plain = f32> {
    k: usize,
    n: usize,
    width: usize,
    step: usize,
    data: Buffer<T>,
}

impl<T: Plain> Panels<T> {
    /// Zeros, for panels of `width` columns and `step` rows at a time.
    pub fn zeros(width: usize, step: usize, k: usize, n: usize) -> Self {
        let data = Buffer::zeros(n.div_ceil(width) * k.next_multiple_of(step) * width);
        Self { k: k.next_multiple_of(step), n, width, step, data }
    }

    /// Packs what `at(k, n)` says.
    pub fn pack(width: usize, step: usize, k: usize, n: usize, at: impl Fn(usize, usize) -> T) -> Self {
        let mut panels = Self::zeros(width, step, k, n);
        for (i, j) in (0..n).flat_map(|j| (0..k).map(move |i| (i, j))) {
            *panels.at_mut(i, j) = at(i, j);
        }
        panels
    }

    /// One number.
    pub fn at_mut(&mut self, k: usize, n: usize) -> &mut T {
        let Self { width, step, .. } = *self;
        let steps = (n / width * self.k + k / step * step) * width;
        &mut self.data[steps + n % width * step + k % step]
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.n.div_ceil(self.width)
    }

    /// The panel's numbers, its first column and how many of its columns are real.
    pub fn panel(&self, p: usize) -> Panel<'_, T> {
        let len = self.k * self.width;
        let first = p * self.width;
        Panel { data: &self.data[p * len..][..len], first, real: self.width.min(self.n - first), next: &[] }
    }

    /// Rows, with those that fill up a step.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes of the packed numbers.
    pub fn bytes(&self) -> usize {
        self.data.len() * size_of::<T>()
    }
}

/// One panel.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a, T = f32> {
    /// k rows of the panel's width.
    pub data: &'a [T],
    /// Its first column.
    pub first: usize,
    /// Columns that are not filling.
    pub real: usize,
    /// Numbers that will be needed after this panel's.
    next: &'a [T],
}

impl<'a, T> Panel<'a, T> {
    /// This panel, during whose computation the numbers of the next one are fetched.
    pub fn then(self, next: Option<Panel<'a, T>>) -> Self {
        Self { next: next.map_or(&[], |next| next.data), ..self }
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
}

/// What becomes of the sums of a row.
pub trait Finish<D: Dot>: Copy {
    /// What they become.
    type Out;

    /// What two vectors of sums begin with.
    #[inline(always)]
    fn start(self, dot: D) -> [D::Sum; 2] {
        [dot.zero(); 2]
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
    let tiles = count.div_ceil(D::ROWS);
    let mut done = 0;
    for t in 0..tiles {
        let next = count * (t + 1) / tiles;
        fetch(panel.next, t, tiles);
        macro_rules! tile_of {
            ($($rows:literal)*) => {
                match next - done {
                    // The comparison is constant: tiles that do not fit into the registers are not even compiled.
                    $($rows if $rows <= D::ROWS => {
                        // SAFETY: as the caller says.
                        unsafe { tile::<D, F, $rows>(dot, parts, done, panel, finish, target) }
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
/// As for [`rows`].
#[inline(always)]
unsafe fn tile<D: Dot, F: Finish<D>, const ROWS: usize>(
    dot: D,
    parts: &[Left<D::Input>],
    skip: usize,
    panel: Panel<D::Weight>,
    finish: F,
    target: Target<F::Out>,
) {
    check::<D>(parts, skip + ROWS, panel);
    let mut sums = [finish.start(dot); ROWS];
    let mut w = panel.data.as_ptr();
    for left in parts {
        let apart = Apart::new(left.step, ROWS);
        for &run in left.runs {
            // SAFETY: asserted above: the run of the last row ends inside of `left.data`.
            let mut x = unsafe { left.data.as_ptr().add(left.first + skip * left.step + run) };
            let (whole, rest) = (left.run / D::STEP / D::AHEAD, left.run / D::STEP % D::AHEAD);
            // SAFETY: the loops make Σ runs × run / STEP steps, and the panel has as many of two vectors of weights; the rows
            // at this place of their runs lie inside of `left.data` as asserted. Both end at most one past what they read.
            unsafe {
                for _ in 0..whole {
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
    for (r, sums) in sums.into_iter().enumerate() {
        // SAFETY: nobody else uses them, says the caller.
        unsafe { put(dot, sums, panel.real, finish, target, skip + r) };
    }
}

/// Panics unless the left factor has `end` rows, and the panel what they meet.
#[inline(always)]
pub fn check<D: Dot>(parts: &[Left<D::Input>], end: usize, panel: Panel<D::Weight>) {
    let mut k = 0;
    for left in parts {
        let furthest = left.runs.iter().max().map_or(0, |r| r + left.run);
        assert!(left.first + (end - 1) * left.step + furthest <= left.data.len(), "rows beyond the left factor");
        assert!(left.run.is_multiple_of(D::STEP), "a run of whole steps");
        k += left.runs.len() * left.run;
    }
    assert_eq!(panel.data.len(), k * 2 * D::LANES, "length of a panel");
}

/// Finishes a row of `real` columns.
///
/// # Safety
///
/// As for [`rows`].
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

/// How far rows are from the first, in numbers.
///
/// Left to themselves, compilers add up the distances in every step, which with AVX2 takes 5 % of the time. Here that of each odd
/// row is a number of its own, from which that of others follows by a shift, which is part of reading on x86-64.
#[derive(Debug, Clone, Copy)]
struct Apart {
    odd: [usize; MOST_ROWS / 2],
}

/// Rows of the largest tile.
const MOST_ROWS: usize = 14;
/// Rows whose distances fit into the registers of an x86-64, which reads at the sum of two. The larger tiles of AVX-512 have
/// time for additions, and other processors have more registers.
const FEW_ROWS: usize = if cfg!(target_arch = "x86_64") { 8 } else { 0 };

impl Apart {
    #[inline(always)]
    fn new(step: usize, rows: usize) -> Self {
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
    fn to(self, row: usize) -> usize {
        if row == 0 { 0 } else { self.odd[(row >> row.trailing_zeros()) / 2] << row.trailing_zeros() }
    }
}

/// Some steps of all rows: `AHEAD` of them, or one.
///
/// # Safety
///
/// These steps must be readable at `ROWS` rows from `x` on, so far `apart`, and two vectors of weights for each at `w`.
#[inline(always)]
unsafe fn steps<D: Dot, const ROWS: usize, const WHOLE: bool>(
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
