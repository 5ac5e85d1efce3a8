//! Products of u8 and i8 summed exactly in i32, four at a time, and what becomes of the sums.
//!
//! One file for each instruction set; `scalar` is the definition, and all others give its bits:
//!
//! | name | instructions | products and sums |
//! |---|---|---|
//! | `scalar` | plain Rust | |
//! | `avx2` | `vpmaddubsw`, or `vpmaddwd` on words | pairs in 16 bits, where large weights come in two parts so that nothing saturates, then in 32; or pairs in 32 |
//! | `avx-vnni` | `vpdpbusd` on AVX2's vectors | as `vnni` |
//! | `vnni` | AVX-512 `vpdpbusd` | four products into each lane without saturation |
//! | `amx` | `tdpbusd` on tiles | 64 products into each of 16×16 sums; the rest with `vnni` |
//! | `neon` | `smull`, `smlal2`, `sadalp` | pairs in 16 bits, then in 32; of i8: 128 is taken from the inputs, and given back by the bias |
//! | `neon-dot` | `sdot` | four products of i8 into each lane; inputs as with `neon` |
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx2_words;
#[cfg(target_arch = "x86_64")]
mod avx_vnni;
#[cfg(target_arch = "aarch64")]
mod neon;
#[cfg(target_arch = "aarch64")]
mod neon_dot;
#[cfg(target_arch = "aarch64")]
mod neon_put;
#[cfg(target_arch = "aarch64")]
mod neon_words;
mod portable;
#[cfg(target_arch = "x86_64")]
mod vnni;
#[cfg(target_arch = "x86_64")]
mod vnni_words;
mod words;

pub use words::{Sums, WordDot, WordForm, WordWork, Words};

use crate::kernels::tile::{self, Finish};

/// An instruction set's products of bytes. A value proves that the processor has the instructions.
pub trait IntDot: IntSums<Input = u8, Weight = i8> {
    /// What the instructions take from each input before it is multiplied.
    const OFFSET: u8;
    /// Whether inputs and weights are read as words of 16 bits, each of which is two of what [`tile`] counts.
    const WORDS: bool = false;
}

/// What becomes of sums in 32 bits.
pub trait IntSums: tile::Dot + Send + Sync + 'static {
    /// A vector of f32.
    type Real: Copy;

    /// What sums begin with: the bias, as long as a vector, or 0 if [`scaled`](Self::scaled) adds it.
    #[inline(always)]
    fn start(self, _bias: &[i32]) -> Self::Sum {
        self.zero()
    }

    /// `f32(sum) · factors`, of the sum with its bias, both as long as a vector.
    fn scaled(self, sum: Self::Sum, bias: &[i32], factors: &[f32]) -> Self::Real;
    /// Rounded, halves to the even, plus `zero`, clamped to 0…255. `out` is as long as both vectors. Where numbers may lie
    /// outside of i32, `wild` says so.
    fn store_u8(self, v: [Self::Real; 2], zero: u8, wild: bool, out: &mut [u8]);
    /// No less than `least`. `out` is as long as a vector.
    fn store_f32(self, v: Self::Real, least: f32, out: &mut [f32]);
}

/// Whether products of any inputs with these weights can be added in 16 bits.
pub fn pair(a: i8, b: i8) -> bool {
    let (a, b) = (i32::from(a), i32::from(b));
    let (least, most) = (a.min(0) + b.min(0), a.max(0) + b.max(0));
    255 * most <= i32::from(i16::MAX) && 255 * least >= i32::from(i16::MIN)
}

/// Something to compute with integer products; like [`Work`](crate::kernels::simd::Work).
pub trait IntWork {
    /// Computes. Implementations are `#[inline(always)]`.
    fn run<D: IntDot>(self, dot: D);
}

/// What sums of a panel are scaled with.
#[derive(Debug, Clone, Copy)]
pub struct Scale<'a> {
    /// Added to each column.
    pub bias: &'a [i32],
    /// Multiplied with each column.
    pub factors: &'a [f32],
}

impl Scale<'_> {
    #[inline(always)]
    fn start<D: IntSums>(self, dot: D) -> [D::Sum; 2] {
        let (a, b) = self.bias.split_at(D::LANES);
        [dot.start(a), dot.start(b)]
    }

    #[inline(always)]
    fn both<D: IntSums>(self, dot: D, [a, b]: [D::Sum; 2]) -> [D::Real; 2] {
        let (bias, factors) = (self.bias.split_at(D::LANES), self.factors.split_at(D::LANES));
        [dot.scaled(a, bias.0, factors.0), dot.scaled(b, bias.1, factors.1)]
    }
}

/// Sums as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Bytes<'a> {
    /// Of the sums.
    pub scale: Scale<'a>,
    /// Zero point of the bytes.
    pub zero: u8,
    /// Whether scaled sums may lie outside of i32.
    pub wild: bool,
}

impl<D: IntSums> Finish<D> for Bytes<'_> {
    type Out = u8;

    #[inline(always)]
    fn start(self, dot: D) -> [D::Sum; 2] {
        self.scale.start(dot)
    }

    #[inline(always)]
    fn put(self, dot: D, sums: [D::Sum; 2], out: &mut [u8]) {
        let both = self.scale.both(dot, sums);
        if out.len() == 2 * D::LANES {
            return dot.store_u8(both, self.zero, self.wild, out);
        }
        let mut all = [0; MOST];
        dot.store_u8(both, self.zero, self.wild, &mut all[..2 * D::LANES]);
        out.copy_from_slice(&all[..out.len()]);
    }
}

/// Sums as real numbers.
#[derive(Debug, Clone, Copy)]
pub struct Reals<'a> {
    /// Of the sums.
    pub scale: Scale<'a>,
    /// The least that results may be.
    pub least: f32,
}

impl<D: IntSums> Finish<D> for Reals<'_> {
    type Out = f32;

    #[inline(always)]
    fn start(self, dot: D) -> [D::Sum; 2] {
        self.scale.start(dot)
    }

    #[inline(always)]
    fn put(self, dot: D, sums: [D::Sum; 2], out: &mut [f32]) {
        let mut all = [0.0; MOST];
        let whole = out.len() == 2 * D::LANES;
        let to = if whole { &mut *out } else { &mut all[..2 * D::LANES] };
        for (v, to) in self.scale.both(dot, sums).into_iter().zip(to.chunks_exact_mut(D::LANES)) {
            dot.store_f32(v, self.least, to);
        }
        if !whole {
            let real = out.len();
            out.copy_from_slice(&all[..real]);
        }
    }
}

/// Numbers of the widest pair of vectors.
const MOST: usize = 32;

/// How weights are packed, and what is taken from the inputs they meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// Outputs computed together.
    pub width: usize,
    /// Inputs taken at a time.
    pub step: usize,
    /// Runs of inputs are best a multiple of this.
    pub run: usize,
    /// Rows are best shared out in multiples of this.
    pub share: usize,
    /// What the instructions take from each input.
    pub offset: u8,
    /// Whether neighbouring products are added in 16 bits.
    pub pairs: bool,
    /// Whether inputs and weights are words of 16 bits.
    pub words: bool,
}

/// The instructions that products are computed with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dot(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Scalar(portable::Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx2Wide(avx2::Avx2<false>),
    #[cfg(target_arch = "x86_64")]
    AvxVnni(avx_vnni::AvxVnni),
    #[cfg(target_arch = "x86_64")]
    Vnni(vnni::Vnni),
    #[cfg(target_arch = "x86_64")]
    Amx(amx::Amx),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Neon<true>),
    #[cfg(target_arch = "aarch64")]
    NeonWide(neon::Neon<false>),
    #[cfg(target_arch = "aarch64")]
    NeonDot(neon_dot::NeonDot),
}

impl Dot {
    /// Names of all there are, on whatever processor.
    pub const NAMES: [&str; 7] = ["scalar", "avx2", "avx-vnni", "vnni", "amx", "neon", "neon-dot"];

    /// What this processor has, the best last; `scalar` is always the first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "on processors without instructions of their own")]
        let mut sets = vec![Set::Scalar(portable::Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(avx2::Avx2::new().map(Set::Avx2));
            sets.extend(avx_vnni::AvxVnni::new().map(Set::AvxVnni));
            sets.extend(vnni::Vnni::new().map(Set::Vnni));
            sets.extend(amx::Amx::new().map(Set::Amx));
        }
        #[cfg(target_arch = "aarch64")]
        {
            sets.push(Set::Neon(neon::Neon));
            sets.extend(neon_dot::NeonDot::new().map(Set::NeonDot));
        }
        sets.into_iter().map(Self).collect()
    }

    /// The best that this processor has.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::scalar())
    }

    /// Plain Rust.
    pub fn scalar() -> Self {
        Self(Set::Scalar(portable::Portable))
    }

    /// The one of that name, if this processor has it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|dot| dot.name() == name)
    }

    /// Its name, one of [`NAMES`](Self::NAMES).
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) | Set::Avx2Wide(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni(_) => "avx-vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Vnni(_) => "vnni",
            #[cfg(target_arch = "x86_64")]
            Set::Amx(_) => "amx",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) | Set::NeonWide(_) => "neon",
            #[cfg(target_arch = "aarch64")]
            Set::NeonDot(_) => "neon-dot",
        }
    }

    /// Whether it computes a network faster than the same vectors do in real numbers; plain Rust does not.
    pub fn outruns_reals(self) -> bool {
        !matches!(self.0, Set::Scalar(_))
    }

    /// The name of the kernels of f32 on the same vectors.
    pub fn vectors(self) -> &'static str {
        match self.name() {
            "avx-vnni" => "avx2",
            "vnni" | "amx" => "avx512",
            "neon-dot" => "neon",
            same => same,
        }
    }

    /// The same instructions in the order that these weights need.
    #[allow(unused_variables, reason = "on processors where it makes no difference")]
    pub fn for_weights(self, weights: &[i8]) -> Self {
        match self.0 {
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) if weights.contains(&i8::MIN) => Self(Set::NeonWide(neon::Neon)),
            _ => self,
        }
    }

    /// The same processor's instructions that add no products in 16 bits, if these do.
    pub fn wide(self) -> Option<Self> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(dot) => Some(Self(Set::Avx2Wide(dot.wide()))),
            _ => None,
        }
    }

    /// The products of words for Winograd's method, where that is faster with them than the direct one is with bytes.
    pub fn words(self) -> Option<WordDot> {
        match self.0 {
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(dot) => Some(WordDot::avx2(dot)),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni(dot) => Some(WordDot::avx_vnni(dot)),
            #[cfg(target_arch = "x86_64")]
            Set::Vnni(dot) => Some(WordDot::vnni(dot)),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) | Set::NeonWide(_) => Some(WordDot::neon()),
            _ => None,
        }
    }

    /// Does a piece of work with these instructions.
    pub fn run(self, work: impl IntWork) {
        match self.0 {
            Set::Scalar(dot) => work.run(dot),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(dot) => dot.run(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2Wide(dot) => dot.run(work),
            #[cfg(target_arch = "x86_64")]
            Set::AvxVnni(dot) => dot.run(work),
            #[cfg(target_arch = "x86_64")]
            Set::Vnni(dot) => dot.run(work),
            #[cfg(target_arch = "x86_64")]
            Set::Amx(dot) => dot.run(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(dot) => work.run(dot),
            #[cfg(target_arch = "aarch64")]
            Set::NeonWide(dot) => work.run(dot),
            #[cfg(target_arch = "aarch64")]
            Set::NeonDot(dot) => dot.run(work),
        }
    }

    /// The form that weights take for these instructions.
    pub fn form(self) -> Form {
        struct Ask<'a>(&'a mut Form);
        impl IntWork for Ask<'_> {
            #[inline(always)]
            fn run<D: IntDot>(self, _: D) {
                *self.0 = Form {
                    width: 2 * D::LANES,
                    step: D::STEP,
                    run: D::RUN,
                    share: D::SHARE,
                    offset: D::OFFSET,
                    pairs: D::PAIRS,
                    words: D::WORDS,
                };
            }
        }
        let mut form = Form { width: 0, step: 0, run: 0, share: 0, offset: 0, pairs: false, words: false };
        self.run(Ask(&mut form));
        form
    }
}
