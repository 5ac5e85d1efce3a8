//! AMX: `tdpbusd`, sixteen rows × sixteen lanes × 64 bytes at a time; what it leaves to vectors, and finishing, is VNNI's.

use super::vnni::Vnni;
use super::{IntDot, IntSums, IntWork};
use crate::kernels::amx::{self, Tiles, products_by};
use crate::kernels::tile::{Dot, Finish, Left, Panel, Target};
use core::arch::x86_64::*;

/// Proof that the processor has tiles, products of bytes in them, and AVX-512 with VNNI.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amx(amx::Amx, Vnni);

impl Amx {
    /// The proof, on a processor and a system that give it.
    pub fn new() -> Option<Self> {
        Some(Self(amx::Amx::int8()?, Vnni::new()?))
    }

    /// Does the work with these instructions.
    pub fn run(self, work: impl IntWork) {
        self.0.run(|| self.1.run(With(self, work)));

        /// The work, compiled for the vectors.
        struct With<W>(Amx, W);
        impl<W: IntWork> IntWork for With<W> {
            #[inline(always)]
            fn run<D: IntDot>(self, _: D) {
                self.1.run(self.0);
            }
        }
    }
}

impl Dot for Amx {
    type Input = u8;
    type Weight = i8;
    type X = __m512i;
    type W = __m512i;
    type Sum = __m512i;
    const STEP: usize = Vnni::STEP;
    const LANES: usize = Vnni::LANES;
    const ROWS: usize = Vnni::ROWS;
    const RUN: usize = amx::CHUNK;
    const SHARE: usize = amx::ROWS;

    #[inline(always)]
    fn zero(self) -> __m512i {
        self.1.zero()
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> __m512i {
        // SAFETY: readable, says the caller.
        unsafe { self.1.inputs_at(x) }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> __m512i {
        // SAFETY: readable, says the caller.
        unsafe { self.1.weights_at(w) }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, sum: __m512i, x: __m512i, w: __m512i) -> __m512i {
        self.1.add::<AT>(sum, x, w)
    }

    #[inline(always)]
    unsafe fn rows<F: Finish<Self>>(
        self,
        parts: &[Left<u8>],
        count: usize,
        panel: Panel<i8>,
        finish: F,
        target: Target<F::Out>,
    ) {
        // SAFETY: as the caller says; `self` is lent to work that `run` does.
        unsafe { amx::rows(self, parts, count, panel, finish, target) }
    }
}

impl Tiles for Amx {
    products_by!("tdpbusd");

    #[inline(always)]
    unsafe fn sum_at(self, start: __m512i, sums: *const u8) -> __m512i {
        // SAFETY: the vectors' proof is there; readable, says the caller.
        unsafe { _mm512_add_epi32(start, _mm512_loadu_si512(sums.cast())) }
    }
}

impl IntDot for Amx {
    const OFFSET: u8 = Vnni::OFFSET;
}

impl IntSums for Amx {
    type Real = __m512;

    #[inline(always)]
    fn start(self, bias: &[i32]) -> __m512i {
        self.1.start(bias)
    }

    #[inline(always)]
    fn scaled(self, sum: __m512i, bias: &[i32], factors: &[f32]) -> __m512 {
        self.1.scaled(sum, bias, factors)
    }

    #[inline(always)]
    fn store_u8(self, v: [__m512; 2], zero: u8, wild: bool, out: &mut [u8]) {
        self.1.store_u8(v, zero, wild, out);
    }

    #[inline(always)]
    fn store_f32(self, v: __m512, least: f32, out: &mut [f32]) {
        self.1.store_f32(v, least, out);
    }
}
