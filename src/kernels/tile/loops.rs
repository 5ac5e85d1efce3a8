//! The innermost loop of x86 as it is to be: compilers put its instructions where they like, and where it begins is luck.
//!
//! 1. It begins at a cache line, so that its instructions lie in as few of them as they can (`benches/NOTES.md`).
//! 2. Each row is read at a sum of two registers, of which one is the row's distance, or half or a quarter of it: little is
//!    added up.
//! 3. All runs are in one piece of assembly: between two of them compilers put the sums of such tiles on the stack.
//! 4. With AVX2's words both multiplications of a row come before both additions, which would take their units.

use super::Runs;
use crate::kernels::fetch::Ahead;
use core::arch::x86_64::{__m256, __m256i, __m512, __m512i};
use std::ops::Range;

/// A row times two vectors of weights, by an instruction that reads and one that multiplies and adds.
macro_rules! fused {
    (($read:literal $multiply:literal), $at:literal, $a:ident, $b:ident) => {
        concat!(
            $read,
            " {t}, dword ptr [",
            $at,
            "]\n",
            $multiply,
            " {",
            stringify!($a),
            "}, {t}, {v}\n",
            $multiply,
            " {",
            stringify!($b),
            "}, {t}, {u}",
        )
    };
}

/// The same of words, by one that multiplies and one that adds.
macro_rules! words_then_sums {
    ((), $at:literal, $a:ident, $b:ident) => {
        concat!(
            "vpbroadcastd {t}, dword ptr [",
            $at,
            "]\n",
            "vpmaddwd {p}, {t}, {v}\n",
            "vpmaddwd {t}, {t}, {u}\n",
            "vpaddd {",
            stringify!($a),
            "}, {",
            stringify!($a),
            "}, {p}\n",
            "vpaddd {",
            stringify!($b),
            "}, {",
            stringify!($b),
            "}, {t}",
        )
    };
}

/// What the loop of the runs reads from memory.
#[repr(C)]
struct Frame {
    first: *const u8,
    steps: usize,
    end: *const usize,
    /// Bytes from a row to the seventh after it.
    seven: usize,
}

/// A function for tiles of as many rows as are listed: where each begins, and its sums. `{o1}` is a row's distance, `{o3}` and
/// `{o5}` are three and five of them; `{y}` is the eighth row, and `$eighth` brings it a step on.
macro_rules! tile {
    (
        $name:ident, $row:ident $by:tt, $features:literal, $vector:ty, $class:ident, $from:literal, $second:literal, $both:literal,
        $eighth:literal, $rows:literal: $(($at:literal, $a:ident, $b:ident))*
    ) => {
        /// # Safety
        ///
        /// What the runs read must be readable, in steps of four bytes. There are runs, and they have steps.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $name<X, W>(runs: Runs<X, W>, ahead: &mut Ahead, sums: &mut [[$vector; 2]; $rows]) {
            let Runs { x, step, runs, steps, w } = runs;
            let apart = step * size_of::<X>();
            let Range { start, end } = runs.as_ptr_range();
            let frame = Frame { first: x.cast(), steps, end, seven: 7 * apart };
            let [$([$a, $b]),*] = sums;
            // Of a type, or registers beyond the sixteenth get wrong names.
            let (_v, _u, _t, _p): ($vector, $vector, $vector, $vector);
            // SAFETY: reads what the caller says, and writes to registers alone.
            unsafe {
                core::arch::asm!(
                    "2:",
                    "imul {x}, qword ptr [{runs}], {bytes}",
                    "add {x}, qword ptr [{frame}]",
                    "mov {steps}, qword ptr [{frame} + 8]",
                    "mov {y}, qword ptr [{frame} + 24]",
                    "add {y}, {x}",
                    "add {runs}, 8",
                    ".p2align 6",
                    "3:",
                    concat!("vmovups {v}, ", $from, " ptr [{w}]"),
                    concat!("vmovups {u}, ", $from, " ptr [{w} + ", $second, "]"),
                    "prefetcht1 [{next}]",
                    $($row!($by, $at, $a, $b),)*
                    concat!("add {w}, ", $both),
                    "add {x}, 4",
                    $eighth,
                    "add {next}, {more}",
                    "dec {steps}",
                    "jnz 3b",
                    "cmp {runs}, qword ptr [{frame} + 16]",
                    "jne 2b",
                    // Named in every row or not at all.
                    "/* {p} */",
                    bytes = const size_of::<X>(),
                    runs = inout(reg) start => _,
                    frame = in(reg) &raw const frame,
                    x = out(reg) _,
                    y = out(reg) _,
                    steps = out(reg) _,
                    w = inout(reg) w => _,
                    next = inout(reg) ahead.next,
                    more = in(reg) ahead.part,
                    o1 = in(reg) apart,
                    o3 = in(reg) 3 * apart,
                    o5 = in(reg) 5 * apart,
                    v = out($class) _v, u = out($class) _u, t = out($class) _t, p = out($class) _p,
                    $($a = inout($class) *$a, $b = inout($class) *$b,)*
                    options(nostack, readonly),
                );
            }
        }
    };
}

/// Runs with AVX2, whose tiles have six rows.
macro_rules! avx2 {
    ($(#[$doc:meta])* $name:ident, $row:ident $by:tt, $features:literal, $vector:ty) => {
        $(#[$doc])*
        /// Whether it was done: of a whole tile it is.
        ///
        /// # Safety
        ///
        /// As for [`Dot::runs_of_tile`](super::Dot::runs_of_tile), with steps of four bytes, and the processor has what it takes.
        #[inline(always)]
        pub unsafe fn $name<X, W, const ROWS: usize>(
            runs: Runs<X, W>,
            ahead: &mut Ahead,
            sums: &mut [[$vector; 2]; ROWS],
        ) -> bool {
            tile! {
                six, $row $by, $features, $vector, ymm_reg, "ymmword", "32", "64", "",
                6: ("{x}", a0, b0) ("{x} + {o1}", a1, b1) ("{x} + 2*{o1}", a2, b2) ("{x} + {o3}", a3, b3)
                ("{x} + 4*{o1}", a4, b4) ("{x} + {o5}", a5, b5)
            }
            let whole = ROWS == 6 && runs.any();
            if whole {
                // SAFETY: there are as many rows; all else as the caller says.
                unsafe { six(runs, ahead, &mut *std::ptr::from_mut(sums).cast()) };
            }
            whole
        }
    };
}

/// Runs with AVX-512, whose tiles have twelve to fourteen rows if there are enough.
macro_rules! avx512 {
    ($(#[$doc:meta])* $name:ident, $row:ident $by:tt, $features:literal, $vector:ty) => {
        $(#[$doc])*
        /// Whether it was done: of tiles with so many rows it is.
        ///
        /// # Safety
        ///
        /// As for [`Dot::runs_of_tile`](super::Dot::runs_of_tile), with steps of four bytes, and the processor has what it takes.
        #[inline(always)]
        pub unsafe fn $name<X, W, const ROWS: usize>(
            runs: Runs<X, W>,
            ahead: &mut Ahead,
            sums: &mut [[$vector; 2]; ROWS],
        ) -> bool {
            tile! {
                twelve, $row $by, $features, $vector, zmm_reg, "zmmword", "64", "128", "add {y}, 4",
                12: ("{x}", a0, b0) ("{x} + {o1}", a1, b1) ("{x} + 2*{o1}", a2, b2) ("{x} + {o3}", a3, b3)
                ("{x} + 4*{o1}", a4, b4) ("{x} + {o5}", a5, b5) ("{x} + 2*{o3}", a6, b6) ("{y}", a7, b7)
                ("{y} + {o1}", a8, b8) ("{y} + 2*{o1}", a9, b9) ("{y} + {o3}", a10, b10) ("{y} + 4*{o1}", a11, b11)
            }
            tile! {
                thirteen, $row $by, $features, $vector, zmm_reg, "zmmword", "64", "128", "add {y}, 4",
                13: ("{x}", a0, b0) ("{x} + {o1}", a1, b1) ("{x} + 2*{o1}", a2, b2) ("{x} + {o3}", a3, b3)
                ("{x} + 4*{o1}", a4, b4) ("{x} + {o5}", a5, b5) ("{x} + 2*{o3}", a6, b6) ("{y}", a7, b7)
                ("{y} + {o1}", a8, b8) ("{y} + 2*{o1}", a9, b9) ("{y} + {o3}", a10, b10) ("{y} + 4*{o1}", a11, b11)
                ("{y} + {o5}", a12, b12)
            }
            tile! {
                fourteen, $row $by, $features, $vector, zmm_reg, "zmmword", "64", "128", "add {y}, 4",
                14: ("{x}", a0, b0) ("{x} + {o1}", a1, b1) ("{x} + 2*{o1}", a2, b2) ("{x} + {o3}", a3, b3)
                ("{x} + 4*{o1}", a4, b4) ("{x} + {o5}", a5, b5) ("{x} + 2*{o3}", a6, b6) ("{y}", a7, b7)
                ("{y} + {o1}", a8, b8) ("{y} + 2*{o1}", a9, b9) ("{y} + {o3}", a10, b10) ("{y} + 4*{o1}", a11, b11)
                ("{y} + {o5}", a12, b12) ("{y} + 2*{o3}", a13, b13)
            }
            if !runs.any() {
                return false;
            }
            let sums = std::ptr::from_mut(sums);
            // SAFETY: there are as many rows; all else as the caller says.
            unsafe {
                match ROWS {
                    12 => twelve(runs, ahead, &mut *sums.cast()),
                    13 => thirteen(runs, ahead, &mut *sums.cast()),
                    14 => fourteen(runs, ahead, &mut *sums.cast()),
                    _ => return false,
                }
            }
            true
        }
    };
}

avx2! {
    /// Runs of f32.
    reals_by_8, fused("vbroadcastss" "vfmadd231ps"), "avx2,fma", __m256
}

avx2! {
    /// Runs of words, two in a step.
    words_by_8, words_then_sums(), "avx2", __m256i
}

avx2! {
    /// The same with AVX-VNNI.
    words_by_8_vnni, fused("vpbroadcastd" "{{vex}} vpdpwssd"), "avx2,avxvnni", __m256i
}

avx512! {
    /// Runs of f32.
    reals_by_16, fused("vbroadcastss" "vfmadd231ps"), "avx512f", __m512
}

avx512! {
    /// Runs of bf16, two in a step.
    bf16_by_16, fused("vbroadcastss" "vdpbf16ps"), "avx512f,avx512bf16", __m512
}

avx512! {
    /// Runs of bytes, four in a step.
    bytes_by_16, fused("vpbroadcastd" "vpdpbusd"), "avx512f,avx512vnni", __m512i
}

avx512! {
    /// Runs of words, two in a step.
    words_by_16, fused("vpbroadcastd" "vpdpwssd"), "avx512f,avx512vnni", __m512i
}
