//! 64-bit ARM: vectors of four. A tile of 12×8 takes 24 of 32 registers, its weights 2. Every such processor has them.
#![allow(unsafe_code)]

use super::Simd;
use core::arch::aarch64::*;

/// Every 64-bit ARM processor has NEON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neon;

impl Simd for Neon {
    type F32 = float32x4_t;
    const LANES: usize = 4;
    const ROWS: usize = 12;

    #[inline(always)]
    fn splat(self, x: f32) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vdupq_n_f32(x) }
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> float32x4_t {
        let x = &x[..4];
        // SAFETY: the architecture has NEON; the slice has a vector's length.
        unsafe { vld1q_f32(x.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: float32x4_t, out: &mut [f32]) {
        let out = &mut out[..4];
        // SAFETY: the architecture has NEON; the slice has a vector's length.
        unsafe { vst1q_f32(out.as_mut_ptr(), v) }
    }

    #[inline(always)]
    unsafe fn splat_at(self, x: *const f32) -> float32x4_t {
        // SAFETY: the architecture has NEON; readable, says the caller.
        unsafe { vld1q_dup_f32(x) }
    }

    #[inline(always)]
    unsafe fn load_at(self, x: *const f32) -> float32x4_t {
        // SAFETY: the architecture has NEON; four numbers are readable, says the caller.
        unsafe { vld1q_f32(x) }
    }

    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vaddq_f32(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vsubq_f32(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vmulq_f32(a, b) }
    }

    #[inline(always)]
    fn div(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vdivq_f32(a, b) }
    }

    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vmaxq_f32(a, b) }
    }

    #[inline(always)]
    fn sqrt(self, a: float32x4_t) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vsqrtq_f32(a) }
    }

    #[inline(always)]
    fn mul_add(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vfmaq_f32(c, a, b) }
    }
}
