//! 64-bit ARM with dot products: `sdot`, four products of i8 into each lane. 128 is taken from the inputs to make them i8.
//! Sixteen inputs of a row are read at a time, of which the instruction picks four. A tile of 9×8 takes 18 of 32 registers, its
//! weights 8.

use super::neon_put::{put_f32, put_u8, scale};
use super::{IntDot, IntSums, IntWork};
use crate::kernels::tile::Dot;
use core::arch::{aarch64::*, asm};

/// Proof that the processor has dot products.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeonDot(());

impl NeonDot {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("dotprod").then_some(Self(()))
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl IntWork) {
        #[target_feature(enable = "neon,dotprod")]
        fn compiled_for_it(dot: NeonDot, work: impl IntWork) {
            work.run(dot);
        }
        // SAFETY: `self` exists, so `new` has found the feature.
        unsafe { compiled_for_it(self, work) }
    }
}

impl Dot for NeonDot {
    type Input = u8;
    type Weight = i8;
    type X = int8x16_t;
    type W = int8x16_t;
    type Sum = int32x4_t;
    const STEP: usize = 4;
    const LANES: usize = 4;
    const AHEAD: usize = 4;
    const ROWS: usize = 9;

    #[inline(always)]
    fn zero(self) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> int8x16_t {
        // SAFETY: the architecture has NEON; 16 bytes are readable, says the caller.
        unsafe { vreinterpretq_s8_u8(veorq_u8(vld1q_u8(x), vdupq_n_u8(0x80))) }
    }

    #[inline(always)]
    unsafe fn first_at(self, x: *const u8) -> int8x16_t {
        // SAFETY: the architecture has NEON; four bytes are readable, says the caller.
        unsafe {
            let four = vdupq_n_u32(x.cast::<u32>().read_unaligned());
            vreinterpretq_s8_u8(veorq_u8(vreinterpretq_u8_u32(four), vdupq_n_u8(0x80)))
        }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> int8x16_t {
        // SAFETY: the architecture has NEON; 16 bytes are readable, says the caller.
        unsafe { vld1q_s8(w) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, mut sum: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
        // The intrinsic is not stable yet.
        // SAFETY: `self` proves the feature; the instruction only changes `sum`.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sum:v}.4s, {w:v}.16b, {x:v}.4b[{at}]",
                sum = inout(vreg) sum,
                w = in(vreg) w,
                x = in(vreg) x,
                at = const AT,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}

impl IntDot for NeonDot {
    const OFFSET: u8 = 128;
}

impl IntSums for NeonDot {
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
