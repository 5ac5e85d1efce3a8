//! Which instruction set the kernels use: the one place where the processor is asked, and where a kernel is sent to the
//! code compiled for it.

#[cfg(target_arch = "aarch64")]
use super::simd::neon::Neon;
use super::simd::portable::Portable;
use super::simd::{Simd, Work};
#[cfg(target_arch = "x86_64")]
use super::simd::{avx2::Avx2, avx512::Avx512};

/// An instruction set that this processor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kernels(Set);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Set {
    Scalar(Portable),
    #[cfg(target_arch = "x86_64")]
    Avx2(Avx2),
    #[cfg(target_arch = "x86_64")]
    Avx512(Avx512),
    #[cfg(target_arch = "aarch64")]
    Neon(Neon),
}

impl Kernels {
    /// Names of all instruction sets there are kernels for, on whatever processor.
    pub const NAMES: [&str; 4] = ["scalar", "avx2", "avx512", "neon"];

    /// What this processor has, the best last. `scalar` is always the first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut, reason = "on processors without kernels of their own")]
        let mut sets = vec![Set::Scalar(Portable)];
        #[cfg(target_arch = "x86_64")]
        {
            sets.extend(Avx2::new().map(Set::Avx2));
            sets.extend(Avx512::new().map(Set::Avx512));
        }
        #[cfg(target_arch = "aarch64")]
        sets.push(Set::Neon(Neon));
        sets.into_iter().map(Self).collect()
    }

    /// The best that this processor has.
    pub fn best() -> Self {
        Self::available().pop().unwrap_or(Self::scalar())
    }

    /// Plain Rust: slow, exact to the definition, everywhere.
    pub fn scalar() -> Self {
        Self(Set::Scalar(Portable))
    }

    /// The one of that name, if this processor has it.
    pub fn by_name(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|k| k.name() == name)
    }

    /// Its name, one of [`NAMES`](Self::NAMES).
    pub fn name(self) -> &'static str {
        match self.0 {
            Set::Scalar(_) => "scalar",
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(_) => "avx2",
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(_) => "avx512",
            #[cfg(target_arch = "aarch64")]
            Set::Neon(_) => "neon",
        }
    }

    /// Does a piece of work with these instructions.
    pub fn run<W: Work>(self, work: W) -> W::Out {
        match self.0 {
            Set::Scalar(simd) => work.run(simd),
            #[cfg(target_arch = "x86_64")]
            Set::Avx2(simd) => simd.run(work),
            #[cfg(target_arch = "x86_64")]
            Set::Avx512(simd) => simd.run(work),
            #[cfg(target_arch = "aarch64")]
            Set::Neon(simd) => work.run(simd),
        }
    }

    /// Outputs computed together: the width of the panels that weights are packed into.
    pub fn panel_width(self) -> usize {
        struct Width;
        impl Work for Width {
            type Out = usize;
            #[inline(always)]
            fn run<S: Simd>(self, _: S) -> usize {
                2 * S::LANES
            }
        }
        self.run(Width)
    }
}
