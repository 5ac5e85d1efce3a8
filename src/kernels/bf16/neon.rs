//! 64-bit ARM with BF16: `bfdot`, which picks its pair of a vector as `fmla` does. It rounds sums to odd and takes numbers below
//! 2⁻¹²⁶ as 0.

use super::{PairWork, Pairs, round};
use crate::kernels::simd::neon::Neon;
use core::arch::{aarch64::*, asm};

/// Proof that the processor has the bf16 extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NeonBf16(());

impl NeonBf16 {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        std::arch::is_aarch64_feature_detected!("bf16").then_some(Self(()))
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl PairWork) {
        #[target_feature(enable = "neon,bf16")]
        fn compiled_for_it(pairs: NeonBf16, work: impl PairWork) {
            work.run(pairs);
        }
        // SAFETY: `self` exists, so `new` has found the feature.
        unsafe { compiled_for_it(self, work) }
    }
}

impl Pairs for NeonBf16 {
    type Simd = Neon;
    type Pair = uint16x8_t;
    const AHEAD: usize = 4;

    #[inline(always)]
    fn simd(self) -> Neon {
        Neon
    }

    #[inline(always)]
    unsafe fn few_at(self, x: *const u16) -> uint16x8_t {
        // SAFETY: the architecture has NEON; eight numbers are readable, says the caller.
        unsafe { vld1q_u16(x) }
    }

    #[inline(always)]
    unsafe fn one_at(self, x: *const u16) -> uint16x8_t {
        // SAFETY: the architecture has NEON; two numbers are readable, says the caller.
        unsafe { vreinterpretq_u16_u32(vdupq_n_u32(x.cast::<u32>().read_unaligned())) }
    }

    #[inline(always)]
    unsafe fn load_at(self, w: *const u16) -> uint16x8_t {
        // SAFETY: the architecture has NEON; eight numbers are readable, says the caller.
        unsafe { vld1q_u16(w) }
    }

    #[inline(always)]
    fn store_rounded(self, v: float32x4_t, out: &mut [u16]) {
        let mut lanes = [0.0; 4];
        // SAFETY: the architecture has NEON; the array has four numbers.
        unsafe { vst1q_f32(lanes.as_mut_ptr(), v) };
        out[..4].copy_from_slice(&lanes.map(round));
    }

    #[inline(always)]
    fn add_products<const AT: usize>(self, mut sum: float32x4_t, x: uint16x8_t, w: uint16x8_t) -> float32x4_t {
        // The intrinsic is not stable yet.
        // SAFETY: `self` proves the feature; the instruction only changes `sum`.
        unsafe {
            asm!(
                ".arch_extension bf16",
                "bfdot {sum:v}.4s, {w:v}.8h, {x:v}.2h[{at}]",
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
