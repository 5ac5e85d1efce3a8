//! AVX-VNNI: `vpdpbusd` on vectors of 32 bytes, which processors have that have no AVX-512 (Intel's of small machines). A tile of
//! 6×16 takes 12 of 16 registers, its weights 2.

use super::avx2::Avx2;
use super::{IntDot, IntSums, IntWork};
use crate::kernels::tile::Dot;
use core::arch::x86_64::*;

/// Proof that the processor has avxvnni, and avx2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AvxVnni(Avx2);

impl AvxVnni {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        Avx2::new().filter(|_| is_x86_feature_detected!("avxvnni")).map(Self)
    }

    /// The proof of avx2 alone.
    pub(super) fn avx2(self) -> Avx2 {
        self.0
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl IntWork) {
        #[target_feature(enable = "avx2,avxvnni")]
        fn compiled_for_it(dot: AvxVnni, work: impl IntWork) {
            work.run(dot);
        }
        // SAFETY: `self` exists, so `new` has found the features.
        unsafe { compiled_for_it(self, work) }
    }
}

impl Dot for AvxVnni {
    type Input = u8;
    type Weight = i8;
    type X = __m256i;
    type W = __m256i;
    type Sum = __m256i;
    const STEP: usize = 4;
    const LANES: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    fn zero(self) -> __m256i {
        self.0.zero()
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> __m256i {
        // SAFETY: `self` proves the features; four bytes are readable, says the caller.
        unsafe { _mm256_set1_epi32(x.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> __m256i {
        // SAFETY: `self` proves the features; 32 bytes are readable, says the caller.
        unsafe { _mm256_loadu_si256(w.cast()) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: __m256i, x: __m256i, w: __m256i) -> __m256i {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_dpbusd_avx_epi32(sum, x, w) }
    }
}

impl IntDot for AvxVnni {
    const OFFSET: u8 = 0;
}

impl IntSums for AvxVnni {
    type Real = __m256;

    #[inline(always)]
    fn start(self, bias: &[i32]) -> __m256i {
        self.0.start(bias)
    }

    #[inline(always)]
    fn scaled(self, sum: __m256i, bias: &[i32], factors: &[f32]) -> __m256 {
        self.0.scaled(sum, bias, factors)
    }

    #[inline(always)]
    fn store_u8(self, v: [__m256; 2], zero: u8, wild: bool, out: &mut [u8]) {
        self.0.store_u8(v, zero, wild, out);
    }

    #[inline(always)]
    fn store_f32(self, v: __m256, least: f32, out: &mut [f32]) {
        self.0.store_f32(v, least, out);
    }
}
