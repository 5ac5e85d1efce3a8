//! 64-bit ARM with dot products: `sdot`, four products of i8 into each lane. 128 is taken from the inputs to make them i8.
//! A tile of 12×8 takes 24 of 32 registers, its weights 2.

use super::{IntDot, IntWork};
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
    const ROWS: usize = 12;

    #[inline(always)]
    fn zero(self) -> int32x4_t {
        // SAFETY: the architecture has NEON.
        unsafe { vdupq_n_s32(0) }
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> int8x16_t {
        // SAFETY: the architecture has NEON; four bytes are readable, says the caller.
        unsafe {
            let four = vdupq_n_u32(x.cast::<u32>().read_unaligned() ^ 0x8080_8080);
            vreinterpretq_s8_u32(four)
        }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> int8x16_t {
        // SAFETY: the architecture has NEON; 16 bytes are readable, says the caller.
        unsafe { vld1q_s8(w) }
    }

    #[inline(always)]
    fn add(self, mut sum: int32x4_t, x: int8x16_t, w: int8x16_t) -> int32x4_t {
        // The intrinsic is not stable yet.
        // SAFETY: `self` proves the feature; the instruction only changes `sum`.
        unsafe {
            asm!(
                ".arch_extension dotprod",
                "sdot {sum:v}.4s, {w:v}.16b, {x:v}.16b",
                sum = inout(vreg) sum,
                w = in(vreg) w,
                x = in(vreg) x,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        sum
    }
}

impl IntDot for NeonDot {
    type Real = float32x4_t;
    const OFFSET: u8 = 128;

    #[inline(always)]
    fn scaled(self, sum: Self::Sum, bias: &[i32], factors: &[f32]) -> float32x4_t {
        let (bias, factors) = (&bias[..4], &factors[..4]);
        // SAFETY: the architecture has NEON; both slices have a vector's length.
        unsafe {
            let sum = vaddq_s32(sum, vld1q_s32(bias.as_ptr()));
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
