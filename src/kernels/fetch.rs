//! Bringing numbers near before they are needed.
#![allow(unsafe_code)]

use super::buffer::{LINE, Plain};

/// Numbers that are brought into the second-level cache beside whatever is computed, part by part. On processors that cannot
/// be asked nothing happens.
#[derive(Debug, Clone, Copy)]
pub struct Ahead {
    pub(super) next: *const u8,
    /// Bytes of a part. Those of small parts are asked for several times.
    pub(super) part: usize,
}

impl Ahead {
    /// Whether parts are best those of each step of a loop: asking for many lines at once keeps a loop's own reads waiting, by
    /// 8 % of the head in f32 on a Zen 5. On ARM it takes up to a tenth more instructions.
    pub const EACH_STEP: bool = cfg!(target_arch = "x86_64");

    /// All of `data`, in so many parts.
    #[inline(always)]
    pub fn new<T: Plain>(data: &[T], parts: usize) -> Self {
        Self { next: data.as_ptr().cast(), part: size_of_val(data).div_ceil(parts.max(1)) }
    }

    /// Asks for the first line of a part.
    #[inline(always)]
    pub fn line(&mut self) {
        ask(self.next);
        self.next = self.next.wrapping_add(self.part);
    }

    /// Asks for all lines of a part.
    #[inline(always)]
    pub fn lines(&mut self) {
        for at in (0..self.part).step_by(LINE) {
            ask(self.next.wrapping_add(at));
        }
        self.next = self.next.wrapping_add(self.part);
    }
}

/// Asks for the line at an address, which may lie anywhere: nothing is read.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub fn ask<T>(line: *const T) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: every x86-64 has the instruction; whatever the address is, it changes nothing that a program can see.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
}

/// Asks for the line at an address, which may lie anywhere: nothing is read.
#[cfg(target_arch = "aarch64")]
#[inline(always)]
pub fn ask<T>(line: *const T) {
    // SAFETY: whatever the address is, the instruction changes nothing that a program can see.
    unsafe { std::arch::asm!("prfm pldl2keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly)) }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
/// Nothing.
#[inline(always)]
pub fn ask<T>(_: *const T) {}
