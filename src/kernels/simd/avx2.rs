//! x86 with AVX2 and FMA: vectors of eight. A tile of 6×16 takes 12 of 16 registers, its weights 2.
#![allow(unsafe_code)]

use super::{Simd, Work, inverse_power_near};
use crate::kernels::fetch::Ahead;
use crate::kernels::tile::{Runs, loops};
use core::arch::x86_64::*;

/// Proof that the processor has avx2 and fma.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx2(());

impl Avx2 {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        (is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma")).then_some(Self(()))
    }

    /// Does the work with these instructions.
    pub fn run<W: Work>(self, work: W) -> W::Out {
        #[target_feature(enable = "avx2,fma")]
        fn compiled_for_it<W: Work>(simd: Avx2, work: W) -> W::Out {
            work.run(simd)
        }
        // SAFETY: `self` exists, so `new` has found the features.
        unsafe { compiled_for_it(self, work) }
    }
}

impl Simd for Avx2 {
    type F32 = __m256;
    type Few = __m256;
    const LANES: usize = 8;
    const ROWS: usize = 6;

    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> __m256 {
        let x = &x[..Self::LANES];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm256_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: __m256, out: &mut [f32]) {
        let out = &mut out[..Self::LANES];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm256_storeu_ps(out.as_mut_ptr(), v) }
    }

    #[inline(always)]
    unsafe fn few_at(self, x: *const f32) -> __m256 {
        // SAFETY: `self` proves the features; readable, says the caller.
        unsafe { _mm256_set1_ps(*x) }
    }

    #[inline(always)]
    unsafe fn load_at(self, x: *const f32) -> __m256 {
        // SAFETY: `self` proves the features; a vector is readable, says the caller.
        unsafe { _mm256_loadu_ps(x) }
    }

    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_max_ps(a, b) }
    }

    #[inline(always)]
    fn sqrt(self, a: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_sqrt_ps(a) }
    }

    #[inline(always)]
    fn inverse_power(self, a: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        let y = unsafe {
            let root = _mm256_rsqrt_ps(a);
            _mm256_mul_ps(root, _mm256_rsqrt_ps(root))
        };
        inverse_power_near(self, a, y)
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: `self` proves the features.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn mul_add_one<const AT: usize>(self, x: __m256, b: __m256, c: __m256) -> __m256 {
        self.mul_add(x, b, c)
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<f32, f32>,
        ahead: &mut Ahead,
        sums: &mut [[__m256; 2]; ROWS],
    ) -> bool {
        // SAFETY: `self` proves the features; readable, says the caller.
        unsafe { loops::reals_by_8(runs, ahead, sums) }
    }
}
