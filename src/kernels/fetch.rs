//! Bringing numbers near before they are needed.
#![allow(unsafe_code)]

use super::buffer::{LINE, Plain};
use std::ops::Range;

/// Asks for the `part`th of `parts` equal parts of `data` to be brought into the second-level cache, which is done beside
/// whatever is computed. On processors that cannot be asked nothing happens.
#[inline(always)]
pub fn fetch<T: Plain>(data: &[T], part: usize, parts: usize) {
    let lines = size_of_val(data).div_ceil(LINE);
    let Range { start, end } = lines * part / parts..lines * (part + 1) / parts;
    let first = data.as_ptr().cast::<u8>();
    for line in start..end {
        // Only an address, which may lie beyond the data: nothing is read.
        ask(first.wrapping_add(line * LINE));
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn ask(line: *const u8) {
    use std::arch::x86_64::{_MM_HINT_T1, _mm_prefetch};
    // SAFETY: every x86-64 has the instruction; whatever the address is, it changes nothing that a program can see.
    unsafe { _mm_prefetch::<_MM_HINT_T1>(line.cast()) }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn ask(line: *const u8) {
    // SAFETY: whatever the address is, the instruction changes nothing that a program can see.
    unsafe { std::arch::asm!("prfm pldl2keep, [{}]", in(reg) line, options(nostack, preserves_flags, readonly)) }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
#[inline(always)]
fn ask(_: *const u8) {}
