//! One vector of f32 on every kind of processor, so that a kernel is written once.
//!
//! A kernel is a [`Work`]: generic over [`Simd`], run by [`Kernels::run`](super::Kernels::run), which compiles it once per
//! instruction set. The value that implements [`Simd`] proves that the processor has the instructions (it can only be had
//! from its `new`), so vector arithmetic is safe code; loads and stores go through slices, but for those of the innermost
//! loop of the tile.
//!
//! Numeric contract: all operations are IEEE single precision; but for `inverse_power`; `mul_add` rounds once where the processor has fused
//! multiply-add and twice elsewhere (portable code), so results differ between instruction sets in the last bits.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
pub mod avx2;
#[cfg(target_arch = "x86_64")]
pub mod avx512;
#[cfg(target_arch = "aarch64")]
pub mod neon;
pub mod portable;

use super::fetch::Ahead;
use super::tile::Runs;

/// An instruction set's vector of [`LANES`](Self::LANES) f32, and the tile it computes best.
pub trait Simd: Copy + Send + Sync + 'static {
    /// The vector.
    type F32: Copy;
    /// [`AHEAD`](Self::AHEAD) numbers, one of which at a time is multiplied with a vector.
    type Few: Copy;
    /// Numbers in a vector.
    const LANES: usize;
    /// Numbers that are read at a time to be multiplied with a vector each: 4, or 1 where reading spreads over all lanes.
    const AHEAD: usize = 1;
    /// Rows of a tile of two vectors that fits into the registers.
    const ROWS: usize;

    /// All lanes `x`.
    fn splat(self, x: f32) -> Self::F32;
    /// The first lanes of a slice.
    ///
    /// # Panics
    ///
    /// If the slice is shorter than a vector.
    fn load(self, x: &[f32]) -> Self::F32;
    /// Writes to the beginning of a slice.
    ///
    /// # Panics
    ///
    /// If the slice is shorter than a vector.
    fn store(self, v: Self::F32, out: &mut [f32]);
    /// The numbers at `x`.
    ///
    /// # Safety
    ///
    /// `AHEAD` numbers must be readable at `x`.
    unsafe fn few_at(self, x: *const f32) -> Self::Few;
    /// The first of them alone.
    ///
    /// # Safety
    ///
    /// `x` must be readable.
    #[inline(always)]
    unsafe fn one_at(self, x: *const f32) -> Self::Few {
        const { assert!(Self::AHEAD == 1, "a way to read less") };
        // SAFETY: this is all; readable, says the caller.
        unsafe { self.few_at(x) }
    }
    /// A vector from memory of any alignment.
    ///
    /// # Safety
    ///
    /// `LANES` numbers must be readable at `x`.
    unsafe fn load_at(self, x: *const f32) -> Self::F32;
    /// `a + b`.
    fn add(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a - b`.
    fn sub(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a · b`.
    fn mul(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `a / b`.
    fn div(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// The larger.
    fn max(self, a: Self::F32, b: Self::F32) -> Self::F32;
    /// `√a`.
    fn sqrt(self, a: Self::F32) -> Self::F32;
    /// `a^-0.75`, within 5e-7 relative.
    #[inline(always)]
    fn inverse_power(self, a: Self::F32) -> Self::F32 {
        let root = self.sqrt(a);
        self.div(self.splat(1.0), self.mul(root, self.sqrt(root)))
    }
    /// `a · b + c`.
    fn mul_add(self, a: Self::F32, b: Self::F32, c: Self::F32) -> Self::F32;
    /// `x[AT] · b + c`.
    fn mul_add_one<const AT: usize>(self, x: Self::Few, b: Self::F32, c: Self::F32) -> Self::F32;
    /// All runs of a whole tile of f32 by a loop of the instructions' own, if they have one.
    ///
    /// # Safety
    ///
    /// What the runs read must be readable.
    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        _runs: Runs<f32, f32>,
        _ahead: &mut Ahead,
        _sums: &mut [[Self::F32; 2]; ROWS],
    ) -> bool {
        false
    }
}

/// Something to compute with whatever vectors the processor has. Implementations of `run` are `#[inline(always)]`, as is
/// all they call, so that they are compiled for the instruction set they run on.
pub trait Work {
    /// What comes out.
    type Out;
    /// Computes.
    fn run<S: Simd>(self, simd: S) -> Self::Out;
}

/// Lanes of the widest vectors.
pub const MOST_LANES: usize = 16;

/// `a^-0.75` from `y`, about `a^-0.25`: with `h = a·y⁴ - 1` it is `y³·(1 + h)^-0.75`, of whose series three terms are taken.
/// Where 11 bits of `y` are right, all but the last are of this.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn inverse_power_near<S: Simd>(simd: S, a: S::F32, y: S::F32) -> S::F32 {
    let square = simd.mul(y, y);
    let cube = simd.mul(square, y);
    let h = simd.mul_add(simd.mul(a, square), square, simd.splat(-1.0));
    let more = simd.mul(h, simd.mul_add(h, simd.splat(21.0 / 32.0), simd.splat(-0.75)));
    simd.mul_add(cube, more, cube)
}

/// The first lanes of a slice that may be too short; the missing are zero.
#[inline(always)]
pub fn load_some<S: Simd>(simd: S, x: &[f32]) -> S::F32 {
    if x.len() >= S::LANES {
        return simd.load(x);
    }
    let mut all = [0.0; MOST_LANES];
    all[..x.len()].copy_from_slice(x);
    simd.load(&all)
}

/// Writes as much of a vector as there is room for.
#[inline(always)]
pub fn store_some<S: Simd>(simd: S, v: S::F32, out: &mut [f32]) {
    if out.len() >= S::LANES {
        return simd.store(v, out);
    }
    let mut all = [0.0; MOST_LANES];
    simd.store(v, &mut all);
    let len = out.len();
    out.copy_from_slice(&all[..len]);
}
