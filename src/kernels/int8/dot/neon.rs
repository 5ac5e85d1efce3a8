//! 64-bit ARM of every kind: 16 products in two instructions, added in pairs in 16 bits, and pairs of those into 32 bits
//! (`smull`, `smlal2`, `sadalp`). 128 is taken from the inputs to make them i8; a pair of products then fits into 16 bits
//! unless both are (−128)·(−128), so weights with a −128 take a fourth instruction ([`Neon<false>`](Neon)).
//!
//! Sixteen inputs meet sixteen weights of one output, and a sum is four partial ones until the end: nothing is spread over
//! lanes. A tile of 2×8 takes 16 of 32 registers.

use super::neon_put::{put_f32, put_u8, scale};
use super::{IntDot, IntSums};
use crate::kernels::tile::Dot;
use core::arch::aarch64::*;

/// Every 64-bit ARM processor has NEON. `PAIRS`: no weight is −128.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Neon<const PAIRS: bool>;

impl<const PAIRS: bool> Dot for Neon<PAIRS> {
    type Input = u8;
    type Weight = i8;
    type X = int8x16_t;
    /// The weights of each lane.
    type W = [int8x16_t; 4];
    /// Quarters of the sum of each lane.
    type Sum = [int32x4_t; 4];
    const STEP: usize = 16;
    const LANES: usize = 4;
    const ROWS: usize = 2;

    #[inline(always)]
    fn zero(self) -> Self::Sum {
        // SAFETY: the architecture has NEON.
        unsafe { [vdupq_n_s32(0); 4] }
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> int8x16_t {
        // SAFETY: the architecture has NEON; 16 bytes are readable, says the caller.
        unsafe { vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x), vdupq_n_u8(0x80))) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> [int8x16_t; 4] {
        // SAFETY: the architecture has NEON; 64 bytes are readable, says the caller.
        unsafe { [vld1q_s8(w), vld1q_s8(w.add(16)), vld1q_s8(w.add(32)), vld1q_s8(w.add(48))] }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: Self::Sum, x: int8x16_t, w: [int8x16_t; 4]) -> Self::Sum {
        let one = |i: usize| {
            // SAFETY: the architecture has NEON.
            unsafe {
                let low = vmull_s8(vget_low_s8(x), vget_low_s8(w[i]));
                if PAIRS {
                    return vpadalq_s16(sum[i], vmlal_high_s8(low, x, w[i]));
                }
                vpadalq_s16(vpadalq_s16(sum[i], low), vmull_high_s8(x, w[i]))
            }
        };
        [one(0), one(1), one(2), one(3)]
    }
}

impl<const PAIRS: bool> IntDot for Neon<PAIRS> {
    const OFFSET: u8 = 128;
}

impl<const PAIRS: bool> IntSums for Neon<PAIRS> {
    type Real = float32x4_t;

    #[inline(always)]
    fn scaled(self, sum: Self::Sum, bias: &[i32], factors: &[f32]) -> float32x4_t {
        // SAFETY: the architecture has NEON.
        let sum = unsafe { vpaddq_s32(vpaddq_s32(sum[0], sum[1]), vpaddq_s32(sum[2], sum[3])) };
        scale(sum, bias, factors)
    }

    #[inline(always)]
    fn store_u8(self, v: [float32x4_t; 2], zero: u8, _wild: bool, out: &mut [u8]) {
        put_u8(v, zero, out);
    }

    #[inline(always)]
    fn store_f32(self, v: float32x4_t, least: f32, out: &mut [f32]) {
        put_f32(v, least, out);
    }
}
