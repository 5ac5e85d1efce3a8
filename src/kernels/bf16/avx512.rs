//! AVX-512 with BF16: `vdpbf16ps`.

use super::{PairWork, Pairs};
use crate::kernels::fetch::Ahead;
use crate::kernels::simd::avx512::Avx512;
use crate::kernels::tile::{Runs, loops};
use core::arch::x86_64::*;

/// Proof that the processor has avx512bf16, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Avx512Bf16(Avx512);

impl Avx512Bf16 {
    /// The proof, on a processor that gives it.
    pub fn new() -> Option<Self> {
        Avx512::new().filter(|_| is_x86_feature_detected!("avx512bf16")).map(Self)
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl PairWork) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512bf16")]
        fn compiled_for_it(pairs: Avx512Bf16, work: impl PairWork) {
            work.run(pairs);
        }
        // SAFETY: `self` exists, so `new` has found the features.
        unsafe { compiled_for_it(self, work) }
    }
}

impl Pairs for Avx512Bf16 {
    type Simd = Avx512;
    type Pair = __m512i;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.0
    }

    #[inline(always)]
    unsafe fn few_at(self, x: *const u16) -> __m512i {
        // SAFETY: `self` proves the features; two numbers are readable, says the caller.
        unsafe { _mm512_set1_epi32(x.cast::<i32>().read_unaligned()) }
    }

    #[inline(always)]
    unsafe fn load_at(self, w: *const u16) -> __m512i {
        // SAFETY: `self` proves the features; 32 numbers are readable, says the caller.
        unsafe { _mm512_loadu_si512(w.cast()) }
    }

    #[inline(always)]
    fn store_rounded(self, v: __m512, out: &mut [u16]) {
        let out = &mut out[..16];
        // SAFETY: `self` proves the features; the slice has room for 16 numbers, which are 32 bytes of any bits.
        unsafe {
            let rounded = std::mem::transmute::<__m256bh, __m256i>(_mm512_cvtneps_pbh(v));
            _mm256_storeu_si256(out.as_mut_ptr().cast(), rounded);
        }
    }

    #[inline(always)]
    fn add_products<const AT: usize>(self, sum: __m512, x: __m512i, w: __m512i) -> __m512 {
        // SAFETY: `self` proves the features; both kinds of vectors are 64 bytes of any bits.
        unsafe {
            let (x, w) = (std::mem::transmute::<__m512i, __m512bh>(x), std::mem::transmute::<__m512i, __m512bh>(w));
            _mm512_dpbf16_ps(sum, x, w)
        }
    }

    #[inline(always)]
    unsafe fn runs_of_tile<const ROWS: usize>(
        self,
        runs: Runs<u16, u16>,
        ahead: &mut Ahead,
        sums: &mut [[__m512; 2]; ROWS],
    ) -> bool {
        // SAFETY: `self` proves the features; readable, says the caller.
        unsafe { loops::bf16_by_16(runs, ahead, sums) }
    }
}
