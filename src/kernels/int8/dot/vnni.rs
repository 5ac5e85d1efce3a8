//! AVX-512 with VNNI: `vpdpbusd`. A tile of 14×32 takes 28 of 32 registers, its weights 2.

use super::{IntDot, IntSums, IntWork};
use crate::kernels::fetch::Ahead;
use crate::kernels::tile::{Dot, Runs, loops};
use core::arch::x86_64::*;

/// Proof that the processor has avx512f, avx512bw and avx512vnni.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vnni(());

impl Vnni {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        has.then_some(Self(()))
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl IntWork) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
        fn compiled_for_it(dot: Vnni, work: impl IntWork) {
            work.run(dot);
        }
        // SAFETY: `self` exists, so `new` has found the features.
        unsafe { compiled_for_it(self, work) }
    }
}

impl Dot for Vnni {
    type Input = u8;
    type Weight = i8;
    type X = __m512i;
    type W = __m512i;
    type Sum = __m512i;
    const STEP: usize = 4;
    const LANES: usize = 16;
    const ROWS: usize = 14;

    #[inline(always)]
    fn zero(self) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_setzero_si512() }
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> __m512i {
        // SAFETY: `self` proves the features; four bytes are readable, says the caller.
        unsafe { _mm512_set1_epi32(x.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> __m512i {
        // SAFETY: `self` proves the features; 64 bytes are readable, says the caller.
        unsafe { _mm512_loadu_si512(w.cast()) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_dpbusd_epi32(sum, x, w) }
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<u8, i8>,
        ahead: &mut Ahead,
        sums: &mut [[__m512i; 2]; ROWS],
    ) -> bool {
        // SAFETY: `self` proves the features; readable, says the caller.
        unsafe { loops::bytes_by_16(runs, ahead, sums) }
    }
}

impl IntDot for Vnni {
    const OFFSET: u8 = 0;
}

impl IntSums for Vnni {
    type Real = __m512;

    #[inline(always)]
    fn start(self, bias: &[i32]) -> __m512i {
        let bias = &bias[..16];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_loadu_si512(bias.as_ptr().cast()) }
    }

    #[inline(always)]
    fn scaled(self, sum: __m512i, _bias: &[i32], factors: &[f32]) -> __m512 {
        let factors = &factors[..16];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(factors.as_ptr())) }
    }

    #[inline(always)]
    fn store_u8(self, [a, b]: [__m512; 2], zero: u8, wild: bool, out: &mut [u8]) {
        let out = &mut out[..32];
        // SAFETY: `self` proves the features; the slice has as many bytes as both vectors lanes.
        unsafe {
            // What is too large for i32 would become its smallest number; too small may stay so, it is clamped to 0.
            let (most, zero) = (_mm512_set1_ps(65536.0), i32::from(zero));
            let whole = |v| {
                let v = if wild { _mm512_min_ps(v, most) } else { v };
                let v = _mm512_cvt_roundps_epi32::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v);
                if zero == 0 { v } else { _mm512_add_epi32(v, _mm512_set1_epi32(zero)) }
            };
            // Packing saturates: to i16, then to u8. It works in quarters of the vector, which are put in order last.
            let words = _mm512_packs_epi32(whole(a), whole(b));
            let bytes = _mm512_packus_epi16(words, words);
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 0, 0, 0, 0, 0, 0, 0, 0);
            let bytes = _mm512_castsi512_si256(_mm512_permutexvar_epi32(order, bytes));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes);
        }
    }

    #[inline(always)]
    fn store_f32(self, v: __m512, least: f32, out: &mut [f32]) {
        let out = &mut out[..16];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_max_ps(v, _mm512_set1_ps(least))) }
    }
}
