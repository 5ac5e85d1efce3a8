//! x86 with AVX-512: vectors of sixteen. A tile of 14×32 takes 28 of 32 registers, its weights 2.
#![allow(unsafe_code)]

use super::{Simd, Work, inverse_power_near};
use crate::kernels::fetch::Ahead;
use crate::kernels::tile::{Runs, loops};
use core::arch::x86_64::*;

/// Proof that the processor has avx512f, avx512bw and avx512vl.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512(());

impl Avx512 {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        let has = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl");
        has.then_some(Self(()))
    }

    /// Does the work with these instructions.
    pub fn run<W: Work>(self, work: W) -> W::Out {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl")]
        fn compiled_for_it<W: Work>(simd: Avx512, work: W) -> W::Out {
            work.run(simd)
        }
        // SAFETY: `self` exists, so `new` has found the features.
        unsafe { compiled_for_it(self, work) }
    }
}

impl Simd for Avx512 {
    type F32 = __m512;
    type Few = __m512;
    const LANES: usize = 16;
    const ROWS: usize = 14;

    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_set1_ps(x) }
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> __m512 {
        let x = &x[..Self::LANES];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_loadu_ps(x.as_ptr()) }
    }

    #[inline(always)]
    fn store(self, v: __m512, out: &mut [f32]) {
        let out = &mut out[..Self::LANES];
        // SAFETY: `self` proves the features; the slice has a vector's length.
        unsafe { _mm512_storeu_ps(out.as_mut_ptr(), v) }
    }

    #[inline(always)]
    unsafe fn few_at(self, x: *const f32) -> __m512 {
        // SAFETY: `self` proves the features; readable, says the caller.
        unsafe { _mm512_set1_ps(*x) }
    }

    #[inline(always)]
    unsafe fn load_at(self, x: *const f32) -> __m512 {
        // SAFETY: `self` proves the features; a vector is readable, says the caller.
        unsafe { _mm512_loadu_ps(x) }
    }

    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_add_ps(a, b) }
    }

    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_sub_ps(a, b) }
    }

    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_mul_ps(a, b) }
    }

    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_div_ps(a, b) }
    }

    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_max_ps(a, b) }
    }

    #[inline(always)]
    fn sqrt(self, a: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_sqrt_ps(a) }
    }

    #[inline(always)]
    fn inverse_power(self, a: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        let y = unsafe {
            let root = _mm512_rsqrt14_ps(a);
            _mm512_mul_ps(root, _mm512_rsqrt14_ps(root))
        };
        inverse_power_near(self, a, y)
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: `self` proves the features.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn mul_add_one<const AT: usize>(self, x: __m512, b: __m512, c: __m512) -> __m512 {
        self.mul_add(x, b, c)
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<f32, f32>,
        ahead: &mut Ahead,
        sums: &mut [[__m512; 2]; ROWS],
    ) -> bool {
        // SAFETY: `self` proves the features; readable, says the caller.
        unsafe { loops::reals_by_16(runs, ahead, sums) }
    }
}
