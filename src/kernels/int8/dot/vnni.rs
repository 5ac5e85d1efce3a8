//! AVX-512 with VNNI: `vpdpbusd`. A tile of 14×32 takes 28 of 32 registers, its weights 2.

use super::{IntDot, IntWork};
use crate::kernels::tile::Dot;
use core::arch::x86_64::*;

/// Proof that the processor has avx512f and avx512vnni.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Vnni(());

impl Vnni {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512vnni")).then_some(Self(()))
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl IntWork) {
        #[target_feature(enable = "avx512f,avx512vnni")]
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
    fn add(self, sum: __m512i, x: __m512i, w: __m512i) -> __m512i {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_dpbusd_epi32(sum, x, w) }
    }
}

impl IntDot for Vnni {
    type Real = __m512;
    const OFFSET: u8 = 0;

    #[inline(always)]
    fn scaled(self, sum: __m512i, bias: &[i32], factors: &[f32]) -> __m512 {
        let (bias, factors) = (&bias[..16], &factors[..16]);
        // SAFETY: `self` proves the features; both slices have a vector's length.
        unsafe {
            let sum = _mm512_add_epi32(sum, _mm512_loadu_si512(bias.as_ptr().cast()));
            _mm512_mul_ps(_mm512_cvtepi32_ps(sum), _mm512_loadu_ps(factors.as_ptr()))
        }
    }

    #[inline(always)]
    fn store_u8(self, v: __m512, zero: f32, out: &mut [u8]) {
        let out = &mut out[..16];
        // SAFETY: `self` proves the features; the slice has as many bytes as the vector lanes.
        unsafe {
            let v = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(v);
            let v = _mm512_add_ps(v, _mm512_set1_ps(zero));
            let v = _mm512_min_ps(_mm512_max_ps(v, _mm512_setzero_ps()), _mm512_set1_ps(255.0));
            _mm_storeu_si128(out.as_mut_ptr().cast(), _mm512_cvtepi32_epi8(_mm512_cvttps_epi32(v)));
        }
    }

    #[inline(always)]
    fn store_f32(self, v: __m512, least: f32, out: &mut [f32]) {
        let out = &mut out[..16];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), _mm512_max_ps(v, _mm512_set1_ps(least))) }
    }
}
