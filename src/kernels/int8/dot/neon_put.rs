//! What becomes of sums on 64-bit ARM, with dot products or without.

use core::arch::aarch64::*;

/// `f32(sum + bias) · factors`.
#[inline(always)]
pub fn scale(sum: int32x4_t, bias: &[i32], factors: &[f32]) -> float32x4_t {
    let (bias, factors) = (&bias[..4], &factors[..4]);
    // SAFETY: the architecture has NEON; both slices have a vector's length.
    unsafe {
        let sum = vaddq_s32(sum, vld1q_s32(bias.as_ptr()));
        vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(factors.as_ptr()))
    }
}

/// Rounded, halves to the even, plus `zero`, clamped to 0…255.
#[inline(always)]
pub fn put_u8([a, b]: [float32x4_t; 2], zero: u8, out: &mut [u8]) {
    let out = &mut out[..8];
    // SAFETY: the architecture has NEON; the slice has as many bytes as both vectors lanes.
    unsafe {
        let zero = vdupq_n_f32(f32::from(zero));
        // Conversion to unsigned numbers clamps at 0, the narrowing steps at 255.
        let words = |v| vqmovn_u32(vcvtq_u32_f32(vaddq_f32(vrndnq_f32(v), zero)));
        vst1_u8(out.as_mut_ptr(), vqmovn_u16(vcombine_u16(words(a), words(b))));
    }
}

/// No less than `least`.
#[inline(always)]
pub fn put_f32(v: float32x4_t, least: f32, out: &mut [f32]) {
    let out = &mut out[..4];
    // SAFETY: the architecture has NEON; the slice has a vector's length.
    unsafe { vst1q_f32(out.as_mut_ptr(), vmaxq_f32(v, vdupq_n_f32(least))) }
}
