//! 64-bit ARM without dot products: words by `smlal`, four sums at a time; the instruction picks one of four inputs of a row. A
//! tile of 9×8 takes 18 of 32 registers, its weights 8.

use super::IntSums;
use super::neon_put::{put_f32, put_u8, scale};
use super::words::Words;
use crate::kernels::tile::Dot;
use core::arch::aarch64::*;

/// Every 64-bit ARM processor has NEON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeonWords;

impl Dot for NeonWords {
    type Input = i16;
    type Weight = i16;
    type X = int16x4_t;
    type W = int16x4_t;
    type Sum = int32x4_t;
    const STEP: usize = 1;
    const LANES: usize = 4;
    const AHEAD: usize = 4;
    const ROWS: usize = 9;

    #[inline(always)]
    fn zero(self) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const i16) -> int16x4_t {
        // SAFETY: the architecture has NEON; four words are readable, says the caller.
        unsafe { vld1_s16(x) }
    }

    #[inline(always)]
    unsafe fn first_at(self, x: *const i16) -> int16x4_t {
        // SAFETY: the architecture has NEON; a word is readable, says the caller.
        unsafe { vld1_dup_s16(x) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i16) -> int16x4_t {
        // SAFETY: the architecture has NEON; four words are readable, says the caller.
        unsafe { vld1_s16(w) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: int32x4_t, x: int16x4_t, w: int16x4_t) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe {
            match AT {
                0 => vmlal_lane_s16::<0>(sum, w, x),
                1 => vmlal_lane_s16::<1>(sum, w, x),
                2 => vmlal_lane_s16::<2>(sum, w, x),
                _ => vmlal_lane_s16::<3>(sum, w, x),
            }
        }
    }
}

impl IntSums for NeonWords {
    type Real = float32x4_t;

    #[inline(always)]
    fn scaled(self, sum: int32x4_t, bias: &[i32], factors: &[f32]) -> float32x4_t {
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

impl Words for NeonWords {
    type Word = int16x8_t;
    const WORDS: usize = 8;
    // By the estimate for a Raspberry Pi 4 (`cross/estimate`), whose memory is slow beside its cores.
    const TILES: usize = 30;

    #[inline(always)]
    fn widened(self, x: &[u8]) -> int16x8_t {
        let x = &x[..8];
        // SAFETY: the architecture has NEON; the slice has as many bytes as the vector lanes.
        unsafe { vreinterpretq_s16_u16(vmovl_u8(vld1_u8(x.as_ptr()))) }
    }

    #[inline(always)]
    fn store(self, v: int16x8_t, out: &mut [i16]) {
        let out = &mut out[..8];
        // SAFETY: the architecture has NEON; the slice has a vector's length.
        unsafe { vst1q_s16(out.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn plus(self, a: int16x8_t, b: int16x8_t) -> int16x8_t {
        // SAFETY: the architecture has NEON.
        unsafe { vaddq_s16(a, b) }
    }

    #[inline(always)]
    fn minus(self, a: int16x8_t, b: int16x8_t) -> int16x8_t {
        // SAFETY: the architecture has NEON.
        unsafe { vsubq_s16(a, b) }
    }

    #[inline(always)]
    fn times(self, a: int16x8_t, b: i16) -> int16x8_t {
        // SAFETY: the architecture has NEON.
        unsafe { vmulq_n_s16(a, b) }
    }

    #[inline(always)]
    fn sums_at(self, x: &[i32]) -> int32x4_t {
        let x = &x[..4];
        // SAFETY: the architecture has NEON; the slice has a vector's length.
        unsafe { vld1q_s32(x.as_ptr()) }
    }

    #[inline(always)]
    fn store_sums(self, v: int32x4_t, out: &mut [i32]) {
        let out = &mut out[..4];
        // SAFETY: the architecture has NEON; the slice has a vector's length.
        unsafe { vst1q_s32(out.as_mut_ptr(), v) }
    }

    #[inline(always)]
    fn sum_plus(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vaddq_s32(a, b) }
    }

    #[inline(always)]
    fn sum_minus(self, a: int32x4_t, b: int32x4_t) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vsubq_s32(a, b) }
    }

    #[inline(always)]
    fn sum_times(self, a: int32x4_t, b: i32) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vmulq_n_s32(a, b) }
    }

    #[inline(always)]
    fn sum_up<const N: i32>(self, a: int32x4_t) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vshlq_n_s32::<N>(a) }
    }

    #[inline(always)]
    fn sum_down<const N: i32>(self, a: int32x4_t) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vshrq_n_s32::<N>(a) }
    }
}
