//! Plain Rust, the definition.

use super::{Pairs, round, value};
use crate::kernels::simd::Simd;
use crate::kernels::simd::portable::Portable;

impl Pairs for Portable {
    type Simd = Self;
    /// The first numbers of all lanes, then the second ones.
    type Pair = [[f32; 4]; 2];

    #[inline(always)]
    fn simd(self) -> Self {
        self
    }

    #[inline(always)]
    unsafe fn few_at(self, x: *const u16) -> Self::Pair {
        // SAFETY: two numbers are readable, says the caller.
        let pair = unsafe { x.cast::<[u16; 2]>().read() };
        pair.map(|x| [value(x); 4])
    }

    #[inline(always)]
    unsafe fn load_at(self, w: *const u16) -> Self::Pair {
        // SAFETY: two numbers for each of four lanes are readable, says the caller.
        let w = unsafe { w.cast::<[[u16; 2]; 4]>().read() };
        [0, 1].map(|i| w.map(|pair| value(pair[i])))
    }

    #[inline(always)]
    fn store_rounded(self, v: [f32; 4], out: &mut [u16]) {
        out[..4].copy_from_slice(&v.map(round));
    }

    #[inline(always)]
    fn add_products<const AT: usize>(self, sum: [f32; 4], x: Self::Pair, w: Self::Pair) -> [f32; 4] {
        self.mul_add(x[1], w[1], self.mul_add(x[0], w[0], sum))
    }
}
