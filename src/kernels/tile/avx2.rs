//! The innermost loop of AVX2 as it is to be: compilers put its instructions where they like, and where it begins is luck.
//!
//! 1. It begins at a cache line, so that its instructions lie in two of them, not three (`benches/NOTES.md`).
//! 2. With words both multiplications of a row come before both additions, which would take their units.

use core::arch::x86_64::{__m256, __m256i};

/// Rows of these tiles.
const SIX: usize = 6;

/// Multiply-adds of f32, a row's number with two vectors.
macro_rules! reals {
    ($x:literal, $a:literal, $b:literal) => {
        concat!(
            "vbroadcastss {t}, dword ptr [",
            $x,
            "]\n",
            "vfmadd231ps {",
            $a,
            "}, {t}, {v}\n",
            "vfmadd231ps {",
            $b,
            "}, {t}, {u}",
        )
    };
}

/// The same of two words each, added in 32 bits.
macro_rules! words {
    ($x:literal, $a:literal, $b:literal) => {
        concat!(
            "vpbroadcastd {t}, dword ptr [",
            $x,
            "]\n",
            "vpmaddwd {p}, {t}, {v}\n",
            "vpmaddwd {t}, {t}, {u}\n",
            "vpaddd {",
            $a,
            "}, {",
            $a,
            "}, {p}\n",
            "vpaddd {",
            $b,
            "}, {",
            $b,
            "}, {t}",
        )
    };
}

macro_rules! six_rows {
    ($(#[$doc:meta])* $name:ident by $six:ident, $features:literal, $vector:ty, $row:ident) => {
        $(#[$doc])*
        /// Whether it was done: of a tile of six rows it is.
        ///
        /// # Safety
        ///
        /// As for [`Dot::run_of_tile`](super::Dot::run_of_tile), with steps of four bytes, and the processor has what it takes.
        #[inline(always)]
        pub unsafe fn $name<X, W, const ROWS: usize>(
            x: *const X,
            step: usize,
            w: *const W,
            steps: usize,
            sums: &mut [[$vector; 2]; ROWS],
        ) -> bool {
            let whole = ROWS == SIX && steps > 0;
            if whole {
                let sums = std::ptr::from_mut(sums).cast();
                // SAFETY: there are as many rows; all else as the caller says.
                unsafe { $six(x.cast(), step * size_of::<X>(), w.cast(), steps, &mut *sums) };
            }
            whole
        }

        /// # Safety
        ///
        /// `steps` numbers of four bytes must be readable at six places from `x` on, `apart` bytes from one to the next, and two vectors
        /// for each step at `w`. `steps` is not 0.
        #[inline]
        #[target_feature(enable = $features)]
        unsafe fn $six(
            x: *const u8,
            apart: usize,
            w: *const u8,
            steps: usize,
            sums: &mut [[$vector; 2]; SIX],
        ) {
            let [[a, b], [c, d], [e, f], [g, h], [i, j], [k, l]] = sums;
            // SAFETY: reads what the caller says, and writes to registers alone.
            unsafe {
                core::arch::asm!(
                    ".p2align 6",
                    "2:",
                    "vmovups {v}, ymmword ptr [{w}]",
                    "vmovups {u}, ymmword ptr [{w} + 32]",
                    $row!("{x}", "a", "b"),
                    $row!("{x} + {one}", "c", "d"),
                    $row!("{x} + 2*{one}", "e", "f"),
                    $row!("{x} + {three}", "g", "h"),
                    $row!("{x} + 4*{one}", "i", "j"),
                    $row!("{x} + {five}", "k", "l"),
                    "add {w}, 64",
                    "add {x}, 4",
                    "dec {steps}",
                    "jnz 2b",
                    // Named in every row or not at all.
                    "/* {p} */",
                    x = inout(reg) x => _,
                    w = inout(reg) w => _,
                    steps = inout(reg) steps => _,
                    one = in(reg) apart,
                    three = in(reg) 3 * apart,
                    five = in(reg) 5 * apart,
                    v = out(ymm_reg) _, u = out(ymm_reg) _, t = out(ymm_reg) _, p = out(ymm_reg) _,
                    a = inout(ymm_reg) *a, b = inout(ymm_reg) *b, c = inout(ymm_reg) *c, d = inout(ymm_reg) *d,
                    e = inout(ymm_reg) *e, f = inout(ymm_reg) *f, g = inout(ymm_reg) *g, h = inout(ymm_reg) *h,
                    i = inout(ymm_reg) *i, j = inout(ymm_reg) *j, k = inout(ymm_reg) *k, l = inout(ymm_reg) *l,
                    options(nostack, readonly),
                );
            }
        }
    };
}

six_rows! {
    /// A run of f32.
    run_of_reals by six_of_reals, "avx2,fma", __m256, reals
}

six_rows! {
    /// A run of words, two in a step.
    run_of_words by six_of_words, "avx2", __m256i, words
}
