//! AVX2: words by `vpmaddwd`, which adds two products, or, with AVX-VNNI, by `vpdpwssd`, which adds these to the sum, too. A tile of
//! 6×16 takes 12 of 16 registers, its weights 2.

use super::IntSums;
use super::avx_vnni::AvxVnni;
use super::avx2::Avx2;
use super::words::{WordWork, Words};
use crate::kernels::fetch::Ahead;
use crate::kernels::tile::{Dot, Runs, loops};
use core::arch::x86_64::*;

/// Proof that the processor has avx2, and, with `VNNI`, avxvnni.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2Words<const VNNI: bool = false>(Avx2);

impl From<Avx2> for Avx2Words {
    fn from(dot: Avx2) -> Self {
        Self(dot)
    }
}

impl From<AvxVnni> for Avx2Words<true> {
    fn from(dot: AvxVnni) -> Self {
        Self(dot.avx2())
    }
}

impl<const VNNI: bool> Avx2Words<VNNI> {
    /// Does the work with these instructions.
    pub fn run(self, work: impl WordWork) {
        #[target_feature(enable = "avx2")]
        fn compiled_for_avx2<const VNNI: bool>(words: Avx2Words<VNNI>, work: impl WordWork) {
            work.run(words);
        }
        #[target_feature(enable = "avx2,avxvnni")]
        fn compiled_for_vnni<const VNNI: bool>(words: Avx2Words<VNNI>, work: impl WordWork) {
            work.run(words);
        }
        // SAFETY: `self` exists, so what it comes from has found the features.
        unsafe { if VNNI { compiled_for_vnni(self, work) } else { compiled_for_avx2(self, work) } }
    }
}

impl<const VNNI: bool> Dot for Avx2Words<VNNI> {
    type Input = i16;
    type Weight = i16;
    type X = __m256i;
    type W = __m256i;
    type Sum = __m256i;
    const STEP: usize = 2;
    const LANES: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    fn zero(self) -> __m256i {
        self.0.zero()
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const i16) -> __m256i {
        // SAFETY: `self` proves the feature; two words are readable, says the caller.
        unsafe { _mm256_set1_epi32(x.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i16) -> __m256i {
        // SAFETY: `self` proves the feature; 16 words are readable, says the caller.
        unsafe { _mm256_loadu_si256(w.cast()) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: `self` proves the features.
        unsafe {
            if VNNI { _mm256_dpwssd_avx_epi32(sum, x, w) } else { _mm256_add_epi32(sum, _mm256_madd_epi16(x, w)) }
        }
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<i16, i16>,
        ahead: &mut Ahead,
        sums: &mut [[__m256i; 2]; ROWS],
    ) -> bool {
        // SAFETY: `self` proves the feature; readable, says the caller.
        unsafe { if VNNI { loops::words_by_8_vnni(runs, ahead, sums) } else { loops::words_by_8(runs, ahead, sums) } }
    }
}

impl<const VNNI: bool> IntSums for Avx2Words<VNNI> {
    type Real = __m256;

    #[inline(always)]
    fn start(self, bias: &[i32]) -> __m256i {
        self.0.start(bias)
    }

    #[inline(always)]
    fn scaled(self, sum: __m256i, bias: &[i32], factors: &[f32]) -> __m256 {
        self.0.scaled(sum, bias, factors)
    }

    #[inline(always)]
    fn store_u8(self, v: [__m256; 2], zero: u8, wild: bool, out: &mut [u8]) {
        self.0.store_u8(v, zero, wild, out);
    }

    #[inline(always)]
    fn store_f32(self, v: __m256, least: f32, out: &mut [f32]) {
        self.0.store_f32(v, least, out);
    }
}

impl<const VNNI: bool> Words for Avx2Words<VNNI> {
    type Word = __m256i;
    const WORDS: usize = 16;
    const TILES: usize = 10;
    const STRIDES: usize = if VNNI { 1 } else { 2 };

    #[inline(always)]
    fn widened(self, x: &[u8]) -> __m256i {
        let x = &x[..16];
        // SAFETY: `self` proves the feature; the slice has as many bytes as the vector lanes.
        unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn store(self, v: __m256i, out: &mut [i16]) {
        let out = &mut out[..16];
        // SAFETY: `self` proves the feature; the slice has a vector's length.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn plus(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_add_epi16(a, b) }
    }

    #[inline(always)]
    fn minus(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_sub_epi16(a, b) }
    }

    #[inline(always)]
    fn times(self, a: __m256i, b: i16) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_mullo_epi16(a, _mm256_set1_epi16(b)) }
    }

    #[inline(always)]
    fn sums_at(self, x: &[i32]) -> __m256i {
        let x = &x[..8];
        // SAFETY: `self` proves the feature; the slice has a vector's length.
        unsafe { _mm256_loadu_si256(x.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_sums(self, v: __m256i, out: &mut [i32]) {
        let out = &mut out[..8];
        // SAFETY: `self` proves the feature; the slice has a vector's length.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn sum_plus(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sum_minus(self, a: __m256i, b: __m256i) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn sum_times(self, a: __m256i, b: i32) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_mullo_epi32(a, _mm256_set1_epi32(b)) }
    }

    #[inline(always)]
    fn sum_up<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_slli_epi32::<N>(a) }
    }

    #[inline(always)]
    fn sum_down<const N: i32>(self, a: __m256i) -> __m256i {
        // SAFETY: `self` proves the feature.
        unsafe { _mm256_srai_epi32::<N>(a) }
    }
}
