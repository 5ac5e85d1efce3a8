//! Real numbers to u8.

use crate::kernels::Kernels;
use crate::kernels::simd::{Simd, Work};

/// Adding this to a number in ±2²² leaves no room for a fraction in f32: the sum is rounded to the nearest, halves to the
/// even, and its lowest bits are that whole number.
const NO_FRACTION: f32 = 12_582_912.0;

/// `clamp(round(x) + zero, 0, 255)`; NaN becomes any number.
///
/// Limits first, then rounds, which is the same because the limits are whole; without a call into the C library, which
/// plain rounding is on x86 without SSE4.1.
#[inline(always)]
pub fn to_u8(x: f32, zero: u8) -> u8 {
    let x = x.clamp(-f32::from(zero), 255.0 - f32::from(zero));
    ((x + NO_FRACTION).to_bits() as u8).wrapping_add(zero)
}

/// Quantises numbers with one scale and zero point.
///
/// # Panics
///
/// If the lengths differ.
pub fn quantize(kernels: Kernels, x: &[f32], scale: f32, zero: u8, out: &mut [u8]) {
    assert_eq!(x.len(), out.len(), "numbers and their quantised form");
    kernels.run(Quantize { x, scale, zero, out });
}

struct Quantize<'a> {
    x: &'a [f32],
    scale: f32,
    zero: u8,
    out: &'a mut [u8],
}

impl Work for Quantize<'_> {
    type Out = ();

    // Compilers make vectors of it, of the width for which this is compiled.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        self.out.iter_mut().zip(self.x).for_each(|(q, x)| *q = to_u8(x / self.scale, self.zero));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_is_that_of_the_standard_library() {
        for zero in [0u8, 1, 103, 128, 255] {
            for i in -4000..4000 {
                let x = i as f32 / 8.0;
                let want = (x.round_ties_even() + f32::from(zero)).clamp(0.0, 255.0) as u8;
                assert_eq!(to_u8(x, zero), want, "{x} with zero point {zero}");
            }
            for (x, want) in [(f32::INFINITY, 255), (f32::MAX, 255), (f32::MIN, 0), (f32::NEG_INFINITY, 0)] {
                assert_eq!(to_u8(x, zero), want, "{x} with zero point {zero}");
            }
        }
        let mut out = [0; 3];
        for kernels in Kernels::available() {
            quantize(kernels, &[0.0, 0.75, -9.0], 0.5, 10, &mut out);
            assert_eq!(out, [10, 12, 0], "{}", kernels.name()); // 1.5 → 2
        }
    }
}
