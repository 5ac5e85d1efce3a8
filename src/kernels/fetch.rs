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
    /// Whether a part is asked for with each step of a loop, or with each tile: asking for many lines at once keeps a loop's own reads waiting, by
    /// 8 % of the head in f32 on a Zen 5. On ARM it takes up to a tenth more instructions.
    const EACH_STEP: bool = cfg!(target_arch = "x86_64");

    /// All of `data` during so many tiles of so many steps each.
    #[inline(always)]
    pub fn new<T: Plain>(data: &[T], tiles: usize, steps: usize) -> Self {
        let parts = if Self::EACH_STEP { tiles * steps } else { tiles };
        Self { next: data.as_ptr().cast(), part: size_of_val(data).div_ceil(parts.max(1)) }
    }

    /// What is to be done with each step: at most one line is asked for.
    #[inline(always)]
    pub fn step(&mut self) {
        if Self::EACH_STEP {
            ask(self.next);
            self.next = self.next.wrapping_add(self.part);
        }
    }

    /// What is to be done with each tile.
    #[inline(always)]
    pub fn tile(&mut self) {
        if !Self::EACH_STEP {
            for at in (0..self.part).step_by(LINE) {
                ask(self.next.wrapping_add(at));
            }
            self.next = self.next.wrapping_add(self.part);
        }
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
