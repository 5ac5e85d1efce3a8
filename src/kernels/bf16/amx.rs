//! AMX: `tdpbf16ps`, sixteen rows × sixteen lanes × 16 pairs at a time; what it leaves to vectors is `vdpbf16ps`'s.

use super::avx512::Avx512Bf16;
use super::{InPairs, PairWork, Pairs};
use crate::kernels::amx::{self, Tiles, products_by};
use crate::kernels::simd::Simd;
use crate::kernels::simd::avx512::Avx512;
use crate::kernels::tile::{Finish, Left, Panel, Target};
use core::arch::x86_64::*;

/// Proof that the processor has tiles, products of bf16 in them, and AVX-512 with BF16.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AmxBf16(amx::Amx, Avx512Bf16);

impl AmxBf16 {
    /// The proof, on a processor and a system that give it.
    pub fn new() -> Option<Self> {
        Some(Self(amx::Amx::bf16()?, Avx512Bf16::new()?))
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl PairWork) {
        /// The work, compiled for the vectors.
        struct With<W>(AmxBf16, W);
        impl<W: PairWork> PairWork for With<W> {
            #[inline(always)]
            fn run<P: Pairs>(self, _: P) {
                self.1.run(self.0);
            }
        }
        self.0.run(|| self.1.run(With(self, work)));
    }
}

impl Pairs for AmxBf16 {
    type Simd = Avx512;
    type Pair = __m512i;
    const RUN: usize = amx::CHUNK / 2;

    #[inline(always)]
    fn simd(self) -> Avx512 {
        self.1.simd()
    }

    #[inline(always)]
    unsafe fn few_at(self, x: *const u16) -> __m512i {
        // SAFETY: readable, says the caller.
        unsafe { self.1.few_at(x) }
    }

    #[inline(always)]
    unsafe fn load_at(self, w: *const u16) -> __m512i {
        // SAFETY: readable, says the caller.
        unsafe { self.1.load_at(w) }
    }

    #[inline(always)]
    fn store_rounded(self, v: __m512, out: &mut [u16]) {
        self.1.store_rounded(v, out);
    }

    #[inline(always)]
    fn add_products<const AT: usize>(self, sum: __m512, x: __m512i, w: __m512i) -> __m512 {
        self.1.add_products::<AT>(sum, x, w)
    }

    #[inline(always)]
    unsafe fn rows<F: Finish<InPairs<Self>>>(
        self,
        parts: &[Left<u16>],
        count: usize,
        panel: Panel<u16>,
        finish: F,
        target: Target<F::Out>,
    ) {
        // SAFETY: as the caller says; `self` is lent to work that `run` does.
        unsafe { amx::rows(InPairs(self), parts, count, panel, finish, target) }
    }
}

impl Tiles for InPairs<AmxBf16> {
    products_by!("tdpbf16ps");

    #[inline(always)]
    unsafe fn sum_at(self, start: __m512, sums: *const u8) -> __m512 {
        // SAFETY: the vectors' proof is there; readable, says the caller.
        let sums = unsafe { _mm512_loadu_ps(sums.cast()) };
        self.0.simd().add(start, sums)
    }
}
