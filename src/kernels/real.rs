//! What real-valued layers are multiplied in: f32, or f32 rounded to bf16. Sums are f32 in both.
//!
//! A layer is written once, for any [`Number`]; its innermost work is a [`RealWork`], which [`Number::run`] compiles for the
//! instructions that the layer's weights were packed for.

use super::bf16::{self, Bf16, InPairs, PairWork, Pairs};
use super::buffer::{Buffer, Plain};
use super::choice::Kernels;
use super::simd::{Simd, Work};
use super::tile::{Dot, F32, Finish, Plainly};

/// Products whose sums are f32.
pub trait Real: Dot<Sum = <Self::Simd as Simd>::F32> {
    /// The vectors that the sums are.
    type Simd: Simd;

    /// Those vectors.
    fn simd(self) -> Self::Simd;
    /// Writes a vector to the beginning of a slice, as numbers that can be multiplied.
    ///
    /// # Panics
    ///
    /// If the slice is shorter than a vector.
    fn store(self, v: Self::Sum, out: &mut [Self::Input]);
}

/// Something to compute with products of `T`; like [`Work`].
pub trait RealWork<T> {
    /// Computes. Implementations are `#[inline(always)]`.
    fn run<D: Real<Input = T, Weight = T>>(self, dot: D);
}

/// A number to be multiplied.
pub trait Number: Plain + 'static {
    /// The instructions; a value proves that the processor has them.
    type Set: Copy + std::fmt::Debug + Send + Sync;
    /// Numbers multiplied at a time along k: see [`Dot::STEP`].
    const STEP: usize;

    /// What lengths of runs are best a multiple of: see [`Dot::RUN`].
    fn run_step(set: Self::Set) -> usize;
    /// The nearest.
    fn nearest(x: f32) -> Self;
    /// Numbers that need no conversion.
    fn as_it_is(x: &[f32]) -> Option<&[Self]>;
    /// Fills a slice with the nearest of as many other numbers.
    fn convert(kernels: Kernels, x: &[f32], out: &mut [Self]);
    /// Outputs computed together.
    fn panel_width(set: Self::Set) -> usize;
    /// Does a piece of work with these instructions.
    fn run(set: Self::Set, work: impl RealWork<Self>);
    /// The buffer of these numbers.
    fn buffer(operands: &mut Operands) -> &mut Buffer<Self>;
}

/// Left factors, in memory that is kept from layer to layer.
#[derive(Debug, Clone, Default)]
pub struct Operands {
    f32: Buffer,
    bf16: Buffer<u16>,
}

impl Number for f32 {
    type Set = Kernels;
    const STEP: usize = 1;

    fn run_step(_: Kernels) -> usize {
        1
    }

    fn nearest(x: f32) -> f32 {
        x
    }

    fn as_it_is(x: &[f32]) -> Option<&[f32]> {
        Some(x)
    }

    fn convert(_: Kernels, x: &[f32], out: &mut [f32]) {
        out.copy_from_slice(x);
    }

    fn panel_width(set: Kernels) -> usize {
        set.panel_width()
    }

    fn run(set: Kernels, work: impl RealWork<f32>) {
        struct Single<W>(W);
        impl<W: RealWork<f32>> Work for Single<W> {
            type Out = ();
            #[inline(always)]
            fn run<S: Simd>(self, simd: S) {
                self.0.run(F32(simd));
            }
        }
        set.run(Single(work));
    }

    fn buffer(operands: &mut Operands) -> &mut Buffer {
        &mut operands.f32
    }
}

impl Number for u16 {
    type Set = Bf16;
    const STEP: usize = 2;

    fn run_step(set: Bf16) -> usize {
        set.run_step()
    }

    fn nearest(x: f32) -> u16 {
        bf16::round(x)
    }

    fn as_it_is(_: &[f32]) -> Option<&[u16]> {
        None
    }

    fn convert(kernels: Kernels, x: &[f32], out: &mut [u16]) {
        kernels.run(bf16::Round { x, out });
    }

    fn panel_width(set: Bf16) -> usize {
        set.panel_width()
    }

    fn run(set: Bf16, work: impl RealWork<u16>) {
        struct Paired<W>(W);
        impl<W: RealWork<u16>> PairWork for Paired<W> {
            #[inline(always)]
            fn run<P: Pairs>(self, pairs: P) {
                self.0.run(InPairs(pairs));
            }
        }
        set.run(Paired(work));
    }

    fn buffer(operands: &mut Operands) -> &mut Buffer<u16> {
        &mut operands.bf16
    }
}

impl<S: Simd> Real for F32<S> {
    type Simd = S;

    #[inline(always)]
    fn simd(self) -> S {
        self.0
    }

    #[inline(always)]
    fn store(self, v: S::F32, out: &mut [f32]) {
        self.0.store(v, out);
    }
}

impl<P: Pairs> Real for InPairs<P> {
    type Simd = P::Simd;

    #[inline(always)]
    fn simd(self) -> P::Simd {
        self.0.simd()
    }

    #[inline(always)]
    fn store(self, v: Self::Sum, out: &mut [u16]) {
        self.0.store_rounded(v, out);
    }
}

impl<D: Real> Finish<D> for Plainly<'_> {
    type Out = f32;

    #[inline(always)]
    fn adds(self) -> bool {
        self.accumulate
    }

    #[inline(always)]
    fn put(self, dot: D, sums: [D::Sum; 2], out: &mut [f32]) {
        self.store(dot.simd(), sums, out);
    }
}
