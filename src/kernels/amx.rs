//! Intel's AMX: products of tiles of 16 rows of 64 bytes, sixteen times as many in a cycle as vectors of AVX-512 multiply reals.
//!
//! A tile of the left factor is read where it lies, 16 rows `step` numbers apart; a tile of the right is 16 steps of a panel,
//! whose form is just the one that the instructions ask for: four bytes, or a pair of bf16, for each of 16 lanes. So maps and
//! panels are those of AVX-512, and only the innermost loop is another:
//!
//! 1. Four tiles of sums, 32 rows × 32 lanes: four products for four tiles that are read, which hides the reading.
//! 2. The sums go through memory to the vectors that finish them, a row at a time, while the next 32 rows are multiplied.
//! 3. Fewer rows are no less work, so the last tiles overlap those before, and fewer than 16 are copied into a tile of which the
//!    rest is not looked at. Only where runs are no multiples of 64 bytes vectors compute all of it. So what a sum is, to its
//!    last bit, does not depend on the rows beside it, nor on the number of threads that share them.
//!
//! The state of the tiles belongs to the thread. It is set up before a piece of work and given up after it ([`Amx::run`]), so
//! that other code never meets it and switching threads stays cheap.
#![allow(unsafe_code)]

use super::tile::{Dot, Finish, Left, Panel, Target, check, put, rows_of};
use core::arch::asm;
use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};
use std::mem::MaybeUninit;
use std::sync::OnceLock;

/// Proof that the processor has AMX, and that the system lets this process use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Amx {
    /// What tiles can be multiplied as.
    int8: bool,
    bf16: bool,
}

impl Amx {
    /// The proof, with products of bytes.
    pub fn int8() -> Option<Self> {
        Self::new().filter(|amx| amx.int8)
    }

    /// The proof, with products of pairs of bf16.
    pub fn bf16() -> Option<Self> {
        Self::new().filter(|amx| amx.bf16)
    }

    /// The system is asked once: its answer holds for all threads of the process.
    fn new() -> Option<Self> {
        static FOUND: OnceLock<Option<Amx>> = OnceLock::new();
        *FOUND.get_or_init(|| {
            if __cpuid(0).eax < 7 || !is_x86_feature_detected!("xsave") || !is_x86_feature_detected!("avx512f") {
                return None;
            }
            let features = __cpuid_count(7, 0).edx;
            let has = |bit: u32| features >> bit & 1 == 1;
            // SAFETY: `xsave` is there and, as AVX-512 was found, switched on by the system: xgetbv is no fault.
            let saved = unsafe { xsaved() };
            (has(24) && saved >> 17 & 3 == 3 && permitted()).then_some(Self { int8: has(25), bf16: has(22) })
        })
    }

    /// Does what computes with tiles: they are set up for it on this thread, and given up after it.
    #[inline(always)]
    pub fn run(self, work: impl FnOnce()) {
        // SAFETY: `self` proves that there are tiles; their form is one of palette 1: 8 tiles of 16 rows of 64 bytes.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const WHOLE, options(nostack, preserves_flags, readonly)) };
        work();
        // SAFETY: `self` proves that there are tiles. Nobody expects anything of them.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

/// What the system saves of each thread.
#[target_feature(enable = "xsave")]
fn xsaved() -> u64 {
    // SAFETY: register 0 is there wherever the instruction is.
    unsafe { _xgetbv(0) }
}

/// Asks Linux for the room that tiles take where a thread is put aside: by default a process has none, and using tiles
/// would end it.
fn permitted() -> bool {
    if cfg!(not(target_os = "linux")) {
        return false;
    }
    const ARCH_PRCTL: isize = 158;
    const ARCH_REQ_XCOMP_PERM: usize = 0x1023;
    const TILE_DATA: usize = 18;
    let answer: isize;
    // SAFETY: Linux's system call for x86-64; this one takes two numbers and touches no memory of ours. An older system, or a
    // filter of calls, answers with an error.
    unsafe {
        asm!("syscall", inlateout("rax") ARCH_PRCTL => answer, in("rdi") ARCH_REQ_XCOMP_PERM, in("rsi") TILE_DATA,
            out("rcx") _, out("r11") _, options(nostack, nomem));
    }
    answer == 0
}

/// The form of the tiles, as the processor reads it.
#[repr(C, align(64))]
struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    bytes: [u16; 16],
    rows: [u8; 16],
}

/// All eight as large as they can be.
static WHOLE: Config = {
    let (mut bytes, mut rows) = ([0; 16], [0; 16]);
    let mut tile = 0;
    while tile < 8 {
        (bytes[tile], rows[tile]) = (CHUNK as u16, HEIGHT as u8);
        tile += 1;
    }
    Config { palette: 1, start_row: 0, reserved: [0; 14], bytes, rows }
};

/// Bytes of a tile's row.
pub const CHUNK: usize = 64;
/// Rows of a tile.
const HEIGHT: usize = 16;
/// Rows of two tiles.
pub const ROWS: usize = 2 * HEIGHT;
/// From a step of a panel to the next: two vectors.
const WIDE: usize = 2 * CHUNK;

/// What tiles are multiplied as.
pub trait Tiles: Dot {
    /// One step of two tiles of rows, `apart` bytes from row to row: what `CHUNK` bytes of 32 rows from `x` on and 16 steps of a
    /// panel add to the sums.
    ///
    /// # Safety
    ///
    /// All that must be readable, and tiles set up.
    unsafe fn four(x: *const u8, apart: usize, w: *const u8);
    /// The same of one tile of rows.
    ///
    /// # Safety
    ///
    /// As for `four`.
    unsafe fn two(x: *const u8, apart: usize, w: *const u8);
    /// `start` and the sums that a tile left in memory.
    ///
    /// # Safety
    ///
    /// 64 bytes must be readable at `sums`.
    unsafe fn sum_at(self, start: Self::Sum, sums: *const u8) -> Self::Sum;
}

/// [`Tiles::four`] and [`Tiles::two`] by an instruction.
macro_rules! products_by {
    ($multiply:literal) => {
        #[inline(always)]
        unsafe fn four(x: *const u8, apart: usize, w: *const u8) {
            // SAFETY: readable and set up, says the caller. Tiles are no registers that the compiler would use.
            unsafe {
                core::arch::asm!(
                    "tileloadd tmm6, [{w} + {wide}]",
                    "tileloadd tmm4, [{x} + {apart}]",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{w} + {wide} + 64]",
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    "tileloadd tmm5, [{below} + {apart}]",
                    concat!($multiply, " tmm2, tmm5, tmm6"),
                    concat!($multiply, " tmm3, tmm5, tmm7"),
                    x = in(reg) x, below = in(reg) x.wrapping_add(16 * apart), apart = in(reg) apart,
                    w = in(reg) w, wide = in(reg) 128usize,
                    options(nostack, preserves_flags, readonly)
                );
            }
        }

        #[inline(always)]
        unsafe fn two(x: *const u8, apart: usize, w: *const u8) {
            // SAFETY: as in `four`.
            unsafe {
                core::arch::asm!(
                    "tileloadd tmm4, [{x} + {apart}]",
                    "tileloadd tmm6, [{w} + {wide}]",
                    concat!($multiply, " tmm0, tmm4, tmm6"),
                    "tileloadd tmm7, [{w} + {wide} + 64]",
                    concat!($multiply, " tmm1, tmm4, tmm7"),
                    x = in(reg) x, apart = in(reg) apart, w = in(reg) w, wide = in(reg) 128usize,
                    options(nostack, preserves_flags, readonly)
                );
            }
        }
    };
}
pub(super) use products_by;

/// Sums of 32 rows, between tiles and vectors.
#[repr(C, align(64))]
struct Sums([[u8; WIDE]; ROWS]);

/// Fewer rows than a tile has.
#[repr(C, align(64))]
struct Few([[u8; CHUNK]; HEIGHT]);

/// Rows whose sums wait for being finished.
#[derive(Clone, Copy)]
struct Waiting {
    sums: *const [u8; WIDE],
    /// The row that the sums begin with, the next to be finished, and the one after the last.
    from: usize,
    next: usize,
    end: usize,
}

/// What rows are finished with.
struct Finishing<'a, D: Dot, F: Finish<D>> {
    dot: D,
    start: [D::Sum; 2],
    real: usize,
    finish: F,
    target: Target<'a, F::Out>,
}

impl<D: Tiles, F: Finish<D>> Finishing<'_, D, F> {
    /// Finishes so many of the rows that wait, or all there are.
    ///
    /// # Safety
    ///
    /// As for [`rows`](super::tile::rows). The sums must have been written.
    #[inline(always)]
    unsafe fn some(&self, waiting: &mut Waiting, most: usize) {
        let end = waiting.end.min(waiting.next + most);
        while waiting.next < end {
            // SAFETY: written, two vectors for each row; nobody else uses this row of the target, says the caller.
            unsafe {
                let sums = waiting.sums.add(waiting.next - waiting.from).cast::<u8>();
                let [a, b] = self.start;
                let both = [self.dot.sum_at(a, sums), self.dot.sum_at(b, sums.add(CHUNK))];
                put(self.dot, both, self.real, self.finish, self.target, waiting.next);
            }
            waiting.next += 1;
        }
    }
}

/// [`rows`](super::tile::rows) by tiles.
///
/// # Safety
///
/// As for `rows`; and tiles must be set up: this is called in a piece of work that [`Amx::run`] does.
#[inline(always)]
pub unsafe fn rows<D: Tiles, F: Finish<D>>(
    dot: D,
    parts: &[Left<D::Input>],
    count: usize,
    panel: Panel<D::Weight>,
    finish: F,
    target: Target<F::Out>,
) {
    let size = size_of::<D::Input>();
    if count == 0 || parts.iter().any(|left| !(left.run * size).is_multiple_of(CHUNK)) {
        // SAFETY: as the caller says.
        return unsafe { rows_of(dot, parts, count, panel, finish, target) };
    }
    check::<D>(parts, count, panel);
    let finishing = Finishing { dot, start: finish.start(dot), real: panel.real, finish, target };
    // Not written before it is needed: there may be little to compute.
    let mut sums = [const { MaybeUninit::<Sums>::uninit() }; 2];
    let steps = size_of_val(panel.data) / (HEIGHT * WIDE);
    let each = ROWS.div_ceil(steps.max(1));
    let mut waiting = Waiting { sums: std::ptr::null(), from: 0, next: 0, end: 0 };
    let (mut done, mut turn, mut few) = (0, 0, Few([[0; CHUNK]; HEIGHT]));
    while done < count {
        let two = count - done > HEIGHT && count >= ROWS;
        let height = if two { ROWS } else { HEIGHT };
        // The last tiles end where the rows end, and overlap what is before.
        let from = done.min(count.saturating_sub(height));
        // SAFETY: set up, says the caller.
        unsafe { clear() };
        let mut w = panel.data.as_ptr().cast::<u8>();
        for left in parts {
            let apart = left.step * size;
            for &run in left.runs {
                // SAFETY: as checked, the run of the last row ends inside of `left.data`, and the panel has as many steps; tiles
                // are set up, says the caller. What waits was stored.
                unsafe {
                    let mut x = left.data.as_ptr().add(left.first + from * left.step + run).cast::<u8>();
                    for _ in 0..left.run * size / CHUNK {
                        match two {
                            true => D::four(x, apart, w),
                            false if count < HEIGHT => {
                                for (r, row) in few.0.iter_mut().enumerate().take(count) {
                                    row.as_mut_ptr().copy_from_nonoverlapping(x.add(r * apart), CHUNK);
                                }
                                D::two(few.0.as_ptr().cast(), CHUNK, w);
                            }
                            false => D::two(x, apart, w),
                        }
                        (x, w) = (x.add(CHUNK), w.add(HEIGHT * WIDE));
                        finishing.some(&mut waiting, each);
                    }
                }
            }
        }
        let into = sums[turn].as_mut_ptr().cast::<[u8; WIDE]>();
        // SAFETY: what waits was stored. `into` is large enough, and nothing in it waits any more; tiles are set up, says the
        // caller.
        unsafe {
            finishing.some(&mut waiting, ROWS);
            store(into, two);
        }
        waiting = Waiting { sums: into, from, next: done, end: count.min(from + height) };
        (done, turn) = (from + height, 1 - turn);
    }
    // SAFETY: what waits was stored.
    unsafe { finishing.some(&mut waiting, ROWS) };
}

/// Nothing added yet.
///
/// # Safety
///
/// Tiles must be set up.
#[inline(always)]
unsafe fn clear() {
    // SAFETY: set up, says the caller.
    unsafe {
        asm!(
            "tilezero tmm0",
            "tilezero tmm1",
            "tilezero tmm2",
            "tilezero tmm3",
            options(nostack, preserves_flags, nomem)
        );
    }
}

/// The sums to memory, of two tiles of rows or one.
///
/// # Safety
///
/// Tiles must be set up, and 32 rows or 16 writable.
#[inline(always)]
unsafe fn store(at: *mut [u8; WIDE], two: bool) {
    // SAFETY: set up and writable, says the caller.
    unsafe {
        asm!("tilestored [{at} + {wide}], tmm0", "tilestored [{at} + {wide} + 64], tmm1",
            at = in(reg) at, wide = in(reg) WIDE, options(nostack, preserves_flags));
        if two {
            asm!("tilestored [{at} + {wide}], tmm2", "tilestored [{at} + {wide} + 64], tmm3",
                at = in(reg) at.add(HEIGHT), wide = in(reg) WIDE, options(nostack, preserves_flags));
        }
    }
}
