//! Products of 16-bit numbers, two at a time, whose sums wrap around at 32 bits: for Winograd's method in integers
//! (`int8/conv/winograd.rs`).

use super::IntSums;
#[cfg(target_arch = "x86_64")]
use super::avx2_words::Avx2Words;
#[cfg(target_arch = "aarch64")]
use super::neon_words::NeonWords;
#[cfg(target_arch = "x86_64")]
use super::vnni_words::VnniWords;
use crate::kernels::tile::Finish;

/// An instruction set's products of 16-bit numbers. A value proves that the processor has the instructions.
pub trait Words: IntSums<Input = i16, Weight = i16> {
    /// A vector of 16-bit numbers.
    type Word: Copy;
    /// Lanes of it.
    const WORDS: usize;
    /// Tiles of a map from which on Winograd's method is faster than the direct one: its weights take eight times as many bytes.
    const TILES: usize;
    /// Strides up to which it is faster: a kernel of stride 2 becomes four, with four transforms.
    const STRIDES: usize = 2;

    /// As many bytes as a vector of words has lanes. `x` is as long.
    fn widened(self, x: &[u8]) -> Self::Word;
    /// Writes to the beginning of a slice, which is no shorter.
    fn store(self, v: Self::Word, out: &mut [i16]);
    /// `a + b`.
    fn plus(self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// `a - b`.
    fn minus(self, a: Self::Word, b: Self::Word) -> Self::Word;
    /// `a · b`.
    fn times(self, a: Self::Word, b: i16) -> Self::Word;

    /// The first sums of a slice, which is no shorter than a vector.
    fn sums_at(self, x: &[i32]) -> Self::Sum;
    /// Writes to the beginning of a slice, which is no shorter.
    fn store_sums(self, v: Self::Sum, out: &mut [i32]);
    /// `a + b`.
    fn sum_plus(self, a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// `a - b`.
    fn sum_minus(self, a: Self::Sum, b: Self::Sum) -> Self::Sum;
    /// `a · b`.
    fn sum_times(self, a: Self::Sum, b: i32) -> Self::Sum;
    /// `a · 2ⁿ`.
    fn sum_up<const N: i32>(self, a: Self::Sum) -> Self::Sum;
    /// `a / 2ⁿ`, rounded down.
    fn sum_down<const N: i32>(self, a: Self::Sum) -> Self::Sum;
}

/// Sums as they are.
#[derive(Debug, Clone, Copy)]
pub struct Sums;

impl<W: Words> Finish<W> for Sums {
    type Out = i32;

    #[inline(always)]
    fn put(self, words: W, [a, b]: [W::Sum; 2], out: &mut [i32]) {
        if out.len() == 2 * W::LANES {
            words.store_sums(a, out);
            return words.store_sums(b, &mut out[W::LANES..]);
        }
        let mut all = [0; super::MOST];
        words.store_sums(a, &mut all);
        words.store_sums(b, &mut all[W::LANES..]);
        out.copy_from_slice(&all[..out.len()]);
    }
}

/// Something to compute with products of words; like [`IntWork`](super::IntWork).
pub trait WordWork {
    /// Computes. Implementations are `#[inline(always)]`.
    fn run<W: Words>(self, words: W);
}

/// How weights are packed for products of words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordForm {
    /// Outputs computed together.
    pub width: usize,
    /// Words taken at a time.
    pub step: usize,
    /// [`Words::TILES`].
    pub tiles: usize,
    /// [`Words::STRIDES`].
    pub strides: usize,
}

/// The instructions that words are multiplied with, on processors where that gains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordDot(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2Words),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(Avx2Words<true>),
    #[cfg(target_arch = "x86_64")]
    Vnni(VnniWords),
    #[cfg(target_arch = "aarch64")]
    Neon(NeonWords),
}

impl WordDot {
    /// Those of AVX2.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn avx2(dot: super::avx2::Avx2) -> Self {
        Self(Set::Avx2(dot.into()))
    }

    /// Those of AVX-VNNI.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn avx_vnni(dot: super::avx_vnni::AvxVnni) -> Self {
        Self(Set::AvxVnni(dot.into()))
    }

    /// Those of AVX-512 with VNNI.
    #[cfg(target_arch = "x86_64")]
    pub(super) fn vnni(dot: super::vnni::Vnni) -> Self {
        Self(Set::Vnni(VnniWords(dot)))
    }

    /// Those of NEON.
    #[cfg(target_arch = "aarch64")]
    pub(super) fn neon() -> Self {
        Self(Set::Neon(NeonWords))
    }

    /// Does a piece of work with these instructions.
    #[allow(unused_variables, reason = "on processors where none gains")]
    pub fn run(self, work: impl WordWork) {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(words) => words.run(work),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni(words) => words.run(work),
            #[cfg(target_arch = "x86_64")]
            Set::Vnni(words) => words.run(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(words) => work.run(words),
        }
    }

    /// The form that weights take, and when.
    pub fn form(self) -> WordForm {
        struct Ask<'a>(&'a mut WordForm);
        impl WordWork for Ask<'_> {
            #[inline(always)]
            fn run<W: Words>(self, _: W) {
                *self.0 = WordForm { width: 2 * W::LANES, step: W::STEP, tiles: W::TILES, strides: W::STRIDES };
            }
        }
        let mut form = WordForm { width: 0, step: 0, tiles: 0, strides: 0 };
        self.run(Ask(&mut form));
        form
    }
}
