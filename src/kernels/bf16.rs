//! Products of numbers rounded to bf16, f32 with 8 significant bits, summed in f32: twice as fast as products of f32 where the
//! processor has an instruction for it.
//!
//! ```text
//! sum += bf16(x[k]) · bf16(w[k]) + bf16(x[k + 1]) · bf16(w[k + 1])
//! ```
//!
//! Numeric contract: `bf16` rounds to the nearest, halves to the even, so each factor is off by at most 2⁻⁹ of itself; the sums
//! are f32. Instruction sets differ in the order of the two additions, and AVX-512 takes numbers below 2⁻¹²⁶ as 0.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use core::arch::x86_64::*;

#[cfg(target_arch = "x86_64")]
use super::simd::avx512::Avx512;
use super::simd::portable::Portable;
use super::simd::{Simd, Work};
use super::tile::Dot;

/// The nearest bf16, as its bits.
#[inline(always)]
pub fn round(x: f32) -> u16 {
    let bits = x.to_bits();
    // Carries into the exponent as it should; what is not a number must not be rounded to infinity.
    let rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
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
    Avx512(Avx512Bf16),
}

/// An instruction set's products of pairs. A value proves that the processor has the instructions.
pub trait Pairs: Copy + Send + Sync + 'static {
    /// Its vectors of f32.
    type Simd: Simd;
    /// A pair for each lane.
    type Pair: Copy;

    /// Its vectors of f32.
    fn simd(self) -> Self::Simd;
    /// The pair at `x`, in all lanes.
    ///
    /// # Safety
    ///
    /// Two numbers must be readable at `x`.
    unsafe fn splat_at(self, x: *const u16) -> Self::Pair;
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
    /// `sum` and both products of each lane.
    fn add_products(self, sum: <Self::Simd as Simd>::F32, x: Self::Pair, w: Self::Pair) -> <Self::Simd as Simd>::F32;
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
        sets.extend(Avx512Bf16::new().map(Set::Avx512));
        sets.into_iter().map(Self).collect()
    }

    /// The processor's own instructions, if it has any: in plain code bf16 only costs accuracy.
    pub fn fast() -> Option<Self> {
        Self::available().pop().filter(|best| best.0 != Set::Scalar(Portable))
    }

    /// `bf16-scalar` or `bf16-avx512`.
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar(_) => "bf16-scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "bf16-avx512",
        }
    }

    /// Does a piece of work with these instructions.
    pub fn run(self, work: impl PairWork) {
        match self.0 {
            Set::Scalar(pairs) => work.run(pairs),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(pairs) => pairs.run(work),
        }
    }

    /// Outputs computed together.
    pub fn panel_width(self) -> usize {
        struct Width<'a>(&'a mut usize);
        impl PairWork for Width<'_> {
            #[inline(always)]
            fn run<P: Pairs>(self, _: P) {
                *self.0 = 2 * P::Simd::LANES;
            }
        }
        let mut width = 0;
        self.run(Width(&mut width));
        width
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
    const ROWS: usize = P::Simd::ROWS;

    #[inline(always)]
    fn zero(self) -> Self::Sum {
        self.0.simd().splat(0.0)
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u16) -> P::Pair {
        // SAFETY: readable, says the caller.
        unsafe { self.0.splat_at(x) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const u16) -> P::Pair {
        // SAFETY: readable, says the caller.
        unsafe { self.0.load_at(w) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: Self::Sum, x: P::Pair, w: P::Pair) -> Self::Sum {
        self.0.add_products(sum, x, w)
    }
}

impl Pairs for Portable {
    type Simd = Self;
    /// The first numbers of all lanes, then the second ones.
    type Pair = [[f32; 4]; 2];

    #[inline(always)]
    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn splat_at(self, x: *const u16) -> Self::Pair {
        // SAFETY: two numbers are readable, says the caller.
        let pair = unsafe { x.cast::<[u16; 2]>().read() };
        pair.map(|x| [value(x); 4])
    }

    #[inline(always)]
    unsafe fn load_at(self, w: *const u16) -> Self::Pair {
        // SAFETY: two numbers for each of four lanes are readable, says the caller.
        let w = unsafe { w.cast::<[[u16; 2]; 4]>().read() };
        [0, 1].map(|i| w.map(|pair| value(pair[i])))
    }

    #[inline(always)]
    fn store_rounded(self, v: [f32; 4], out: &mut [u16]) {
        out[..4].copy_from_slice(&v.map(round));
    }

    #[inline(always)]
    fn add_products(self, sum: [f32; 4], x: Self::Pair, w: Self::Pair) -> [f32; 4] {
        self.mul_add(x[1], w[1], self.mul_add(x[0], w[0], sum))
    }
}

/// Proof that the processor has avx512bf16, too.
#[cfg(target_arch = "x86_64")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512Bf16(Avx512);

#[cfg(target_arch = "x86_64")]
impl Avx512Bf16 {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        Avx512::new().filter(|_| is_x86_feature_detected!("avx512bf16")).map(Self)
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl PairWork) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        fn compiled_for_it(pairs: Avx512Bf16, work: impl PairWork) {
            work.run(pairs);
        }
        // SAFETY: `self` exists, so `new` has found the features.
        unsafe { compiled_for_it(self, work) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Pairs for Avx512Bf16 {
    type Simd = Avx512;
    type Pair = __m512i;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    unsafe fn splat_at(self, x: *const u16) -> __m512i {
        // SAFETY: `self` proves the features; two numbers are readable, says the caller.
        unsafe { _mm512_set1_epi32(x.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_at(self, w: *const u16) -> __m512i {
        // SAFETY: `self` proves the features; 32 numbers are readable, says the caller.
        unsafe { _mm512_loadu_si512(w.cast()) }
    }

    #[inline(always)]
    fn store_rounded(self, v: __m512, out: &mut [u16]) {
        let out = &mut out[..16];
        // SAFETY: `self` proves the features; the slice has room for 16 numbers, which are 32 bytes of any bits.
        unsafe {
            let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), rounded);
        }
    }

    #[inline(always)]
    fn add_products(self, sum: __m512, x: __m512i, w: __m512i) -> __m512 {
        // SAFETY: `self` proves the features; both kinds of vectors are 64 bytes of any bits.
        unsafe {
            let (x, w) = (std::mem::transmute::<__m512i, __m512bh>(x), std::mem::transmute::<__m512i, __m512bh>(w));
            _mm512_dpbf16_ps(sum, x, w)
        }
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
