//! 64-bit ARM: vectors of four. Every such processor has them. A tile of 9×8 takes 18 of 32 registers and the weights of four
//! steps 8; `fmla` picks one number of a vector, so that nothing is spread over lanes first.
#![allow(unsafe_code)]

use super::Simd;
use core::arch::aarch64::*;

/// Every 64-bit ARM processor has NEON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neon;

impl Simd for Neon {
    type F32 = float32x4_t;
    type Few = float32x4_t;
    const LANES: usize = 4;
    const AHEAD: usize = 4;
    const ROWS: usize = 9;

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
    unsafe fn few_at(self, x: *const f32) -> float32x4_t {
        // SAFETY: the architecture has NEON; four numbers are readable, says the caller.
        unsafe { vld1q_f32(x) }
    }

    #[inline(always)]
    unsafe fn one_at(self, x: *const f32) -> float32x4_t {
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

    #[inline(always)]
    fn mul_add_one<const AT: usize>(self, x: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe {
            match AT {
                0 => vfmaq_laneq_f32::<0>(c, b, x),
                1 => vfmaq_laneq_f32::<1>(c, b, x),
                2 => vfmaq_laneq_f32::<2>(c, b, x),
                _ => vfmaq_laneq_f32::<3>(c, b, x),
            }
        }
    }
}
