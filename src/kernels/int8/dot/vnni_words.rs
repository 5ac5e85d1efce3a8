//! AVX-512 with VNNI: words by `vpdpwssd`, which adds two products to each sum. A tile of 14×32 takes 28 of 32 registers, its weights 2.

use super::IntSums;
use super::vnni::Vnni;
use super::words::{WordWork, Words};
use crate::kernels::fetch::Ahead;
use crate::kernels::tile::{Dot, Runs, loops};
use core::arch::x86_64::*;

/// Proof that the processor has avx512f, avx512bw and avx512vnni.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VnniWords(pub(super) Vnni);

impl VnniWords {
    /// Does the work with these instructions.
    pub fn run(self, work: impl WordWork) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        fn compiled_for_it(words: VnniWords, work: impl WordWork) {
            work.run(words);
        }
        // SAFETY: `self` exists, so its `Vnni` has found the features.
        unsafe { compiled_for_it(self, work) }
    }
}

impl Dot for VnniWords {
    type Input = i16;
    type Weight = i16;
    type X = __m512i;
    type W = __m512i;
    type Sum = __m512i;
    const STEP: usize = 2;
    const LANES: usize = 16;
    const ROWS: usize = 14;

    #[inline(always)]
    fn zero(self) -> __m512i {
        self.0.zero()
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const i16) -> __m512i {
        // SAFETY: `self` proves the features; two words are readable, says the caller.
        unsafe { _mm512_set1_epi32(x.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i16) -> __m512i {
        // SAFETY: `self` proves the features; 32 words are readable, says the caller.
        unsafe { _mm512_loadu_si512(w.cast()) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_dpwssd_epi32(sum, x, w) }
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<i16, i16>,
        ahead: &mut Ahead,
        sums: &mut [[__m512i; 2]; ROWS],
    ) -> bool {
        // SAFETY: `self` proves the features; readable, says the caller.
        unsafe { loops::words_by_16(runs, ahead, sums) }
    }
}

impl IntSums for VnniWords {
    type Real = __m512;

    #[inline(always)]
    fn start(self, bias: &[i32]) -> __m512i {
        self.0.start(bias)
    }

    #[inline(always)]
    fn scaled(self, sum: __m512i, bias: &[i32], factors: &[f32]) -> __m512 {
        self.0.scaled(sum, bias, factors)
    }

    #[inline(always)]
    fn store_u8(self, v: [__m512; 2], zero: u8, wild: bool, out: &mut [u8]) {
        self.0.store_u8(v, zero, wild, out);
    }

    #[inline(always)]
    fn store_f32(self, v: __m512, least: f32, out: &mut [f32]) {
        self.0.store_f32(v, least, out);
    }
}

impl Words for VnniWords {
    type Word = __m512i;
    const WORDS: usize = 32;
    const TILES: usize = 40;
    const STRIDES: usize = 1;

    #[inline(always)]
    fn widened(self, x: &[u8]) -> __m512i {
        let x = &x[..32];
        // SAFETY: `self` proves the features; the slice has as many bytes as the vector lanes.
        unsafe { _mm512_cvtepu8_epi16(_mm256_loadu_si256(x.as_ptr().cast())) }
    }

    #[inline(always)]
    fn store(self, v: __m512i, out: &mut [i16]) {
        let out = &mut out[..32];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn plus(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_add_epi16(a, b) }
    }

    #[inline(always)]
    fn minus(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_sub_epi16(a, b) }
    }

    #[inline(always)]
    fn times(self, a: __m512i, b: i16) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_mullo_epi16(a, _mm512_set1_epi16(b)) }
    }

    #[inline(always)]
    fn sums_at(self, x: &[i32]) -> __m512i {
        let x = &x[..16];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_loadu_si512(x.as_ptr().cast()) }
    }

    #[inline(always)]
    fn store_sums(self, v: __m512i, out: &mut [i32]) {
        let out = &mut out[..16];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_storeu_si512(out.as_mut_ptr().cast(), v) }
    }

    #[inline(always)]
    fn sum_plus(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_add_epi32(a, b) }
    }

    #[inline(always)]
    fn sum_minus(self, a: __m512i, b: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_sub_epi32(a, b) }
    }

    #[inline(always)]
    fn sum_times(self, a: __m512i, b: i32) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_mullo_epi32(a, _mm512_set1_epi32(b)) }
    }

    #[inline(always)]
    fn sum_up<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_sll_epi32(a, _mm_cvtsi32_si128(N)) }
    }

    #[inline(always)]
    fn sum_down<const N: i32>(self, a: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_sra_epi32(a, _mm_cvtsi32_si128(N)) }
    }
}
