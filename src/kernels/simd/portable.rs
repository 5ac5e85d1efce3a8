//! Vectors of four in plain Rust: the definition, and what runs where nothing better does. Compilers make SSE2 or 32-bit
//! NEON of it.
#![allow(unsafe_code)]

use super::Simd;
use std::array::from_fn;

/// Needs nothing of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portable;

type V = [f32; 4];

impl Simd for Portable {
    type F32 = V;
    type Few = V;
    const LANES: usize = 4;
    const ROWS: usize = 4;

    #[inline(always)]
    fn splat(self, x: f32) -> V {
        [x; 4]
    }

    #[inline(always)]
    fn load(self, x: &[f32]) -> V {
        [x[0], x[1], x[2], x[3]]
    }

    #[inline(always)]
    fn store(self, v: V, out: &mut [f32]) {
        out[..4].copy_from_slice(&v);
    }

    #[inline(always)]
    unsafe fn few_at(self, x: *const f32) -> V {
        // SAFETY: readable, says the caller.
        [unsafe { x.read() }; 4]
    }

    #[inline(always)]
    unsafe fn load_at(self, x: *const f32) -> V {
        // SAFETY: four numbers are readable, says the caller.
        unsafe { x.cast::<V>().read() }
    }

    #[inline(always)]
    fn add(self, a: V, b: V) -> V {
        from_fn(|i| a[i] + b[i])
    }

    #[inline(always)]
    fn sub(self, a: V, b: V) -> V {
        from_fn(|i| a[i] - b[i])
    }

    #[inline(always)]
    fn mul(self, a: V, b: V) -> V {
        from_fn(|i| a[i] * b[i])
    }

    #[inline(always)]
    fn div(self, a: V, b: V) -> V {
        from_fn(|i| a[i] / b[i])
    }

    #[inline(always)]
    fn max(self, a: V, b: V) -> V {
        from_fn(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }

    #[inline(always)]
    fn sqrt(self, a: V) -> V {
        from_fn(|i| a[i].sqrt())
    }

    #[inline(always)]
    fn mul_add(self, a: V, b: V, c: V) -> V {
        // Not `f32::mul_add`: without the instruction that is a slow function.
        from_fn(|i| a[i] * b[i] + c[i])
    }

    #[inline(always)]
    fn mul_add_one<const AT: usize>(self, x: V, b: V, c: V) -> V {
        self.mul_add(x, b, c)
    }
}
