//! 64-bit ARM of every kind: products in 16 bits, where they fit, and pairs of them added into 32 (`sadalp`). A vector of
//! four sums is two registers until the end; a tile of 4×8 takes 16 of 32 of them, its weights 4.

use super::IntDot;
use crate::kernels::tile::Dot;
use core::arch::aarch64::*;

/// Every 64-bit ARM processor has NEON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neon;

impl Dot for Neon {
    type Input = u8;
    type Weight = i8;
    /// The four inputs twice, in 16 bits.
    type X = int16x8_t;
    /// The weights of lanes 0 and 1, and of 2 and 3.
    type W = [int16x8_t; 2];
    /// Two halves of the sums of lanes 0 and 1, and of 2 and 3.
    type Sum = [int32x4_t; 2];
    const STEP: usize = 4;
    const LANES: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    fn zero(self) -> Self::Sum {
        // SAFETY: the architecture has NEON.
        unsafe { [vdupq_n_s32(0); 2] }
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> int16x8_t {
        // SAFETY: the architecture has NEON; four bytes are readable, says the caller.
        unsafe {
            let four = vdup_n_u32(x.cast::<u32>().read_unaligned());
            vreinterpretq_s16_u16(vmovl_u8(vreinterpret_u8_u32(four)))
        }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> [int16x8_t; 2] {
        // SAFETY: the architecture has NEON; 16 bytes are readable, says the caller.
        unsafe {
            let w = vld1q_s8(w);
            [vmovl_s8(vget_low_s8(w)), vmovl_s8(vget_high_s8(w))]
        }
    }

    #[inline(always)]
    fn add(self, sum: Self::Sum, x: int16x8_t, w: [int16x8_t; 2]) -> Self::Sum {
        // SAFETY: the architecture has NEON.
        unsafe { [vpadalq_s16(sum[0], vmulq_s16(x, w[0])), vpadalq_s16(sum[1], vmulq_s16(x, w[1]))] }
    }
}

impl IntDot for Neon {
    type Real = float32x4_t;
    const OFFSET: u8 = 0;

    #[inline(always)]
    fn scaled(self, sum: Self::Sum, bias: &[i32], factors: &[f32]) -> float32x4_t {
        let (bias, factors) = (&bias[..4], &factors[..4]);
        // SAFETY: the architecture has NEON; both slices have a vector's length.
        unsafe {
            let sum = vaddq_s32(vpaddq_s32(sum[0], sum[1]), vld1q_s32(bias.as_ptr()));
            vmulq_f32(vcvtq_f32_s32(sum), vld1q_f32(factors.as_ptr()))
        }
    }

    #[inline(always)]
    fn store_u8(self, [a, b]: [float32x4_t; 2], zero: u8, _wild: bool, out: &mut [u8]) {
        let out = &mut out[..8];
        // SAFETY: the architecture has NEON; the slice has as many bytes as both vectors lanes.
        unsafe {
            let zero = vdupq_n_f32(f32::from(zero));
            // Conversion to unsigned numbers clamps at 0, the narrowing steps at 255.
            let words = |v| vqmovn_u32(vcvtq_u32_f32(vaddq_f32(vrndnq_f32(v), zero)));
            vst1_u8(out.as_mut_ptr(), vqmovn_u16(vcombine_u16(words(a), words(b))));
        }
    }

    #[inline(always)]
    fn store_f32(self, v: float32x4_t, least: f32, out: &mut [f32]) {
        let out = &mut out[..4];
        // SAFETY: the architecture has NEON; the slice has a vector's length.
        unsafe { vst1q_f32(out.as_mut_ptr(), vmaxq_f32(v, vdupq_n_f32(least))) }
    }
}
