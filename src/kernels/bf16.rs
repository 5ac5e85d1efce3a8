//! Products of numbers rounded to bf16, f32 with 8 significant bits, summed in f32: twice as fast as products of f32 where the
//! processor has an instruction for it.
//!
//! ```text
//! sum += bf16(x[k]) · bf16(w[k]) + bf16(x[k + 1]) · bf16(w[k + 1])
//! ```
//!
//! Numeric contract: `bf16` rounds to the nearest, halves to the even, so each factor is off by at most 2⁻⁹ of itself; the sums
//! are f32. Instruction sets differ in the order of the two additions, and AVX-512 and AMX take numbers below 2⁻¹²⁶ as 0. AMX
//! adds 16 pairs at a time in an order of its own, the same
//! for whatever rows are computed together.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;

use super::fetch::Ahead;
use super::simd::portable::Portable;
use super::simd::{Simd, Work};
use super::tile::{Dot, Finish, Left, Panel, Runs, Target, rows_of};

/// The nearest bf16, as its bits.
#[inline(always)]
pub fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    // Carries into the exponent as it should; what is not a number must not be rounded to infinity.
    let rounded = bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16;
    if x.is_nan() { (bits >> 16) as u16 | 0x40 } else { rounded as u16 }
}

/// The number that bits of a bf16 stand for.
#[inline(always)]
pub fn value(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

/// The instructions that products are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bf16(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Scalar(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx512(avx512::Avx512Bf16),
    #[cfg(target_arch = "x86_64")]
    Amx(amx::AmxBf16),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::NeonBf16),
}

/// An instruction set's products of pairs. A value proves that the processor has the instructions.
pub trait Pairs: Copy + Send + Sync + 'static {
    /// Its vectors of f32.
    type Simd: Simd;
    /// A pair for each lane, or as many pairs as are read ahead.
    type Pair: Copy;
    /// Pairs of the left factor read at a time: see [`Dot::AHEAD`].
    const AHEAD: usize = 1;
    /// See [`Dot::RUN`].
    const RUN: usize = 2;

    /// Its vectors of f32.
    fn simd(self) -> Self::Simd;
    /// The pairs at `x`; a single one in all lanes.
    ///
    /// # Safety
    ///
    /// `2 · AHEAD` numbers must be readable at `x`.
    unsafe fn few_at(self, x: *const u16) -> Self::Pair;
    /// The first of them alone.
    ///
    /// # Safety
    ///
    /// Two numbers must be readable at `x`.
    #[inline(always)]
    unsafe fn one_at(self, x: *const u16) -> Self::Pair {
        const { assert!(Self::AHEAD == 1, "a way to read less") };
        // SAFETY: this is all; readable, says the caller.
        unsafe { self.few_at(x) }
    }
    /// A pair for each lane.
    ///
    /// # Safety
    ///
    /// Two numbers for each lane must be readable at `w`.
    unsafe fn load_at(self, w: *const u16) -> Self::Pair;
    /// Writes the nearest of each lane to the beginning of a slice.
    ///
    /// # Panics
    ///
    /// If the slice is shorter than a vector.
    fn store_rounded(self, v: <Self::Simd as Simd>::F32, out: &mut [u16]);
    /// `sum` and both products of each lane with pair `AT` of `x`.
    fn add_products<const AT: usize>(
        self,
        sum: <Self::Simd as Simd>::F32,
        x: Self::Pair,
        w: Self::Pair,
    ) -> <Self::Simd as Simd>::F32;

    /// [`Dot::runs_of_tile`].
    ///
    /// # Safety
    ///
    /// As for that.
    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        _runs: Runs<u16, u16>,
        _ahead: &mut Ahead,
        _sums: &mut [[<Self::Simd as Simd>::F32; 2]; ROWS],
    ) -> bool {
        false
    }

    /// [`Dot::rows`].
    ///
    /// # Safety
    ///
    /// As for that.
    #[inline(always)]
    unsafe fn rows<F: Finish<InPairs<Self>>>(
        self,
        parts: &[Left<u16>],
        count: usize,
        panel: Panel<u16>,
        finish: F,
        target: Target<F::Out>,
    ) {
        // SAFETY: as the caller says.
        unsafe { rows_of(InPairs(self), parts, count, panel, finish, target) }
    }
}

/// Something to compute with products of pairs; like [`Work`].
pub trait PairWork {
    /// Computes. Implementations are `#[inline(always)]`.
    fn run<P: Pairs>(self, pairs: P);
}

impl Bf16 {
    /// All that this processor can, the best last; `scalar` is always the first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "on processors without instructions of their own")]
        let mut sets = vec![Set::Scalar(Portable)];
        #[cfg(target_arch = "x86_64")]
        sets.extend(avx512::Avx512Bf16::new().map(Set::Avx512));
        #[cfg(target_arch = "x86_64")]
        sets.extend(amx::AmxBf16::new().map(Set::Amx));
        #[cfg(target_arch = "aarch64")]
        sets.extend(neon::NeonBf16::new().map(Set::Neon));
        sets.into_iter().map(Self).collect()
    }

    /// The processor's own instructions, if it has any: in plain code bf16 only costs accuracy.
    pub fn fast() -> Option<Self> {
        Self::available().pop().filter(|best| best.0 != Set::Scalar(Portable))
    }

    /// `bf16-scalar`, `bf16-avx512`, `bf16-amx` or `bf16-neon`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar(_) => "bf16-scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "bf16-avx512",
            #[cfg(target_arch = "x86_64")]
            Set::Amx(_) => "bf16-amx",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) => "bf16-neon",
        }
    }

    /// Does a piece of work with these instructions.
    pub fn run(self, work: impl PairWork) {
        match self.0 {
            Set::Scalar(pairs) => work.run(pairs),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(pairs) => pairs.run(work),
            #[cfg(target_arch = "x86_64")]
            Set::Amx(pairs) => pairs.run(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(pairs) => pairs.run(work),
        }
    }

    /// Outputs computed together.
    pub fn panel_width(self) -> usize {
        self.form().0
    }

    /// What lengths of runs are best a multiple of: tiles take that much at a time.
    pub fn run_step(self) -> usize {
        self.form().1
    }

    fn form(self) -> (usize, usize) {
        struct Ask<'a>(&'a mut (usize, usize));
        impl PairWork for Ask<'_> {
            #[inline(always)]
            fn run<P: Pairs>(self, _: P) {
                *self.0 = (2 * P::Simd::LANES, P::RUN);
            }
        }
        let mut form = (0, 0);
        self.run(Ask(&mut form));
        form
    }
}

/// Products of pairs for the tile.
#[derive(Debug, Clone, Copy)]
pub struct InPairs<P>(pub P);

impl<P: Pairs> Dot for InPairs<P> {
    type Input = u16;
    type Weight = u16;
    type X = P::Pair;
    type W = P::Pair;
    type Sum = <P::Simd as Simd>::F32;
    const STEP: usize = 2;
    const LANES: usize = P::Simd::LANES;
    const AHEAD: usize = P::AHEAD;
    const RUN: usize = P::RUN;
    const ROWS: usize = P::Simd::ROWS;

    #[inline(always)]
    fn zero(self) -> Self::Sum {
        self.0.simd().splat(0.0)
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u16) -> P::Pair {
        // SAFETY: readable, says the caller.
        unsafe { self.0.few_at(x) }
    }

    #[inline(always)]
    unsafe fn first_at(self, x: *const u16) -> P::Pair {
        // SAFETY: readable, says the caller.
        unsafe { self.0.one_at(x) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const u16) -> P::Pair {
        // SAFETY: readable, says the caller.
        unsafe { self.0.load_at(w) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: Self::Sum, x: P::Pair, w: P::Pair) -> Self::Sum {
        self.0.add_products::<AT>(sum, x, w)
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<u16, u16>,
        ahead: &mut Ahead,
        sums: &mut [[Self::Sum; 2]; ROWS],
    ) -> bool {
        // SAFETY: readable, says the caller.
        unsafe { self.0.runs_of_tile(runs, ahead, sums) }
    }

    #[inline(always)]
    unsafe fn rows<F: Finish<Self>>(
        self,
        parts: &[Left<u16>],
        count: usize,
        panel: Panel<u16>,
        finish: F,
        target: Target<F::Out>,
    ) {
        // SAFETY: as the caller says.
        unsafe { self.0.rows(parts, count, panel, finish, target) }
    }
}

/// Rounds f32 to bf16.
pub struct Round<'a> {
    /// The numbers.
    pub x: &'a [f32],
    /// As many.
    pub out: &'a mut [u16],
}

impl Work for Round<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.out.iter_mut().zip(self.x).for_each(|(out, x)| *out = round(*x));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_to_the_nearest_halves_to_the_even() {
        let cases = [
            (1.0, 1.0),
            (1.0 + 1.0 / 256.0, 1.0),
            (1.0 + 3.0 / 256.0, 1.0 + 4.0 / 256.0),
            (-3.3, -3.296875),
            (0.0, 0.0),
        ];
        for (x, want) in cases.into_iter().chain([(f32::INFINITY, f32::INFINITY), (f32::MAX, f32::INFINITY)]) {
            assert_eq!(value(round(x)), want, "{x}");
        }
        assert!(value(round(f32::NAN)).is_nan() && value(round(f32::from_bits(0x7f80_0001))).is_nan());
        for i in 0..10_000 {
            let x = (i as f32 * 0.37).sin() * (i as f32 * 0.01).exp2();
            assert!((value(round(x)) - x).abs() <= x.abs() / 256.0, "{x}");
        }
    }
}
