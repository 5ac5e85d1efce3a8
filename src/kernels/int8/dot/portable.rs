//! Plain Rust: the definition, and what runs where nothing better does.

use super::{IntDot, IntSums};
use crate::kernels::tile::Dot;

/// Needs nothing of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Portable;

const LANES: usize = 4;

impl Dot for Portable {
    type Input = u8;
    type Weight = i8;
    type X = [u8; 4];
    type W = [[i8; 4]; LANES];
    type Sum = [i32; LANES];
    const STEP: usize = 4;
    const LANES: usize = LANES;
    const ROWS: usize = 4;

    #[inline(always)]
    fn zero(self) -> Self::Sum {
        [0; LANES]
    }

    #[inline(always)]
    unsafe fn inputs_at(self, x: *const u8) -> [u8; 4] {
        // SAFETY: four bytes are readable, says the caller.
        unsafe { x.cast::<[u8; 4]>().read() }
    }

    #[inline(always)]
    unsafe fn weights_at(self, w: *const i8) -> Self::W {
        // SAFETY: four bytes for each lane are readable, says the caller.
        unsafe { w.cast::<Self::W>().read() }
    }

    #[inline(always)]
    fn add<const AT: usize>(self, mut sum: Self::Sum, x: [u8; 4], w: Self::W) -> Self::Sum {
        for (sum, w) in sum.iter_mut().zip(w) {
            for (x, w) in x.into_iter().zip(w) {
                *sum += i32::from(x) * i32::from(w);
            }
        }
        sum
    }
}

impl IntDot for Portable {
    const OFFSET: u8 = 0;
}

impl IntSums for Portable {
    type Real = [f32; LANES];

    #[inline(always)]
    fn scaled(self, sum: Self::Sum, bias: &[i32], factors: &[f32]) -> Self::Real {
        std::array::from_fn(|i| (sum[i] + bias[i]) as f32 * factors[i])
    }

    #[inline(always)]
    fn store_u8(self, v: [Self::Real; 2], zero: u8, _wild: bool, out: &mut [u8]) {
        // Both steps are exact: the rounded number is whole, and adding the zero point only matters inside of 0…255.
        let byte = |v: f32| (v.round_ties_even() + f32::from(zero)).clamp(0.0, 255.0) as u8;
        out.iter_mut().zip(v.into_iter().flatten()).for_each(|(out, v)| *out = byte(v));
    }

    #[inline(always)]
    fn store_f32(self, v: Self::Real, least: f32, out: &mut [f32]) {
        out.iter_mut().zip(v).for_each(|(out, v)| *out = v.max(least));
    }
}
