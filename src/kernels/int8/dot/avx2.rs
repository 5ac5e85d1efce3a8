//! AVX2: `vpmaddubsw` adds two products in 16 bits, which is exact because weights that are too large for it come in two parts
//! ([`Dot::PAIRS`]), and `vpmaddwd` two such sums in 32. A tile of 5×16 takes 10 of 16 registers, its weights 2.
//!
//! Where too many weights are too large ([`Avx2<false>`](Avx2)) all numbers are words of 16 bits ([`IntDot::WORDS`]), of which
//! `vpmaddwd` multiplies half as many, and a tile has 6×16.

use super::{IntDot, IntSums, IntWork};
use crate::kernels::fetch::Ahead;
use crate::kernels::tile::{Dot, Runs, loops};
use core::arch::x86_64::*;

/// Proof that the processor has avx2. `PAIRS`: products are added in 16 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2<const PAIRS: bool = true>(());

impl Avx2 {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// The same for any weights.
    pub fn wide(self) -> Avx2<false> {
        Avx2(())
    }
}

impl<const PAIRS: bool> Avx2<PAIRS> {
    /// Does the work with these instructions.
    pub fn run(self, work: impl IntWork) {
        #[target_feature(enable = "avx2")]
        fn compiled_for_it<const PAIRS: bool>(dot: Avx2<PAIRS>, work: impl IntWork) {
            work.run(dot);
        }
        // SAFETY: `self` exists, so `new` has found the feature.
        unsafe { compiled_for_it(self, work) }
    }
}

impl<const PAIRS: bool> Dot for Avx2<PAIRS> {
    type Input = u8;
    type Weight = i8;
    type X = __m256i;
    type W = __m256i;
    type Sum = __m256i;
    const STEP: usize = 4;
    const LANES: usize = 8;
    const ROWS: usize = if PAIRS { 5 } else { 6 };
    const PAIRS: bool = PAIRS;

    #[inline(always)]
    fn zero(self) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> __m256i {
        // SAFETY: `self` proves the feature; four bytes are readable, says the caller.
        unsafe { _mm256_set1_epi32(x.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> __m256i {
        // SAFETY: `self` proves the feature; 32 bytes are readable, says the caller.
        unsafe { _mm256_loadu_si256(w.cast()) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe {
            let products = if PAIRS {
                _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1))
            } else {
                _mm256_madd_epi16(x, w)
            };
            _mm256_add_epi32(sum, products)
        }
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<u8, i8>,
        ahead: &mut Ahead,
        sums: &mut [[__m256i; 2]; ROWS],
    ) -> bool {
        // SAFETY: `self` proves the feature; readable, says the caller.
        !PAIRS && unsafe { loops::words_by_8(runs, ahead, sums) }
    }
}

impl<const PAIRS: bool> IntDot for Avx2<PAIRS> {
    const OFFSET: u8 = 0;
    const WORDS: bool = !PAIRS;
}

impl<const PAIRS: bool> IntSums for Avx2<PAIRS> {
    type Real = __m256;

    #[inline(always)]
    fn start(self, bias: &[i32]) -> __m256i {
        let bias = &bias[..8];
        // SAFETY: `self` proves the feature; the slice has a vector's length.
        unsafe { _mm256_loadu_si256(bias.as_ptr().cast()) }
    }

    #[inline(always)]
    fn scaled(self, sum: __m256i, _bias: &[i32], factors: &[f32]) -> __m256 {
        let factors = &factors[..8];
        // SAFETY: `self` proves the feature; the slice has a vector's length.
        unsafe { _mm256_mul_ps(_mm256_cvtepi32_ps(sum), _mm256_loadu_ps(factors.as_ptr())) }
    }

    #[inline(always)]
    fn store_u8(self, [a, b]: [__m256; 2], zero: u8, wild: bool, out: &mut [u8]) {
        let out = &mut out[..16];
        // SAFETY: `self` proves the feature; the slice has as many bytes as both vectors lanes.
        unsafe {
            // What is too large for i32 would become its smallest number; too small may stay so, it is clamped to 0.
            let (most, zero) = (_mm256_set1_ps(65536.0), _mm256_set1_epi32(i32::from(zero)));
            // Converting rounds halves to the even.
            let (a, b) = if wild { (_mm256_min_ps(a, most), _mm256_min_ps(b, most)) } else { (a, b) };
            let a = _mm256_add_epi32(_mm256_cvtps_epi32(a), zero);
            let b = _mm256_add_epi32(_mm256_cvtps_epi32(b), zero);
            // Packing saturates: to i16, then to u8. It works in halves of the vector, which are put in order last.
            let words = _mm256_packs_epi32(a, b);
            let bytes = _mm256_packus_epi16(words, words);
            let order = _mm256_setr_epi32(0, 4, 1, 5, 0, 0, 0, 0);
            let bytes = _mm256_castsi256_si128(_mm256_permutevar8x32_epi32(bytes, order));
            _mm_storeu_si128(out.as_mut_ptr().cast(), bytes);
        }
    }

    #[inline(always)]
    fn store_f32(self, v: __m256, least: f32, out: &mut [f32]) {
        let out = &mut out[..8];
        // SAFETY: `self` proves the feature; the slice has a vector's length.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), _mm256_max_ps(v, _mm256_set1_ps(least))) }
    }
}
