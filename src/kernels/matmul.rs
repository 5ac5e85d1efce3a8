//! The product inside a fully connected layer: `y = w · x`, weights times a batch of inputs.
//!
//! f32. `w` is m×k, a layer's `[out, in]` weight as stored, row-major. `x` holds n inputs of k features, in either
//! [`Order`]; `y` comes out by feature: m×n, the n values of the first output, then those of the next. So layers follow
//! each other without turning anything.
//!
//! The work is done by the `gemm` crate on the current rayon pool. Sums run in another order than in the plain
//! definition, so results agree to rounding (relative 1e-5 for k in the thousands), not bit for bit.
//!
//! 1. Output by feature, not by input: the crate's tiles run along the output's contiguous side, and otherwise it turns
//!    every tile of `w` first. With its AVX-512 kernels (feature `x86-v4`): 122 ms instead of 187 for the fc6 of ZF and
//!    300 RoIs on one core of an EPYC (Zen 5); with AVX2 222 ms either way.
#![allow(unsafe_code)]

/// How a batch lies in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// All features of the first input, then of the next (n×k).
    ByInput,
    /// The first feature of all inputs, then the next (k×n).
    ByFeature,
}

/// Fills `y` (m×n, by feature) with `w` (m×k) times the batch `x` of n inputs of k features.
///
/// # Panics
///
/// If the slices do not have the lengths the three sizes ask for.
pub fn weights_times_batch(w: &[f32], x: &[f32], order: Order, y: &mut [f32], m: usize, k: usize, n: usize) {
    assert_eq!((w.len(), x.len(), y.len()), (m * k, k * n, m * n), "matrix sizes m={m} k={k} n={n}");
    let (x_to_next_input, x_to_next_feature) = match order {
        Order::ByInput => (k as isize, 1),
        Order::ByFeature => (1, n as isize),
    };
    // SAFETY: the pointers are valid for m·k, k·n and m·n elements (asserted above), and the strides stay inside those:
    // `w` and `y` are row-major of row length k and n, and `x` is k×n in one of its two orders. `y` is borrowed mutably,
    // so it overlaps neither input, and it is only written because `read_dst` is false.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            n as isize,
            false,
            w.as_ptr(),
            1,
            k as isize,
            x.as_ptr(),
            x_to_next_input,
            x_to_next_feature,
            0.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};

    #[test]
    fn products_agree_with_the_definition_in_both_orders_for_odd_and_empty_sizes() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for (m, k, n) in [(4, 3, 0), (1, 1, 1), (2, 0, 3), (5, 7, 2), (84, 300, 1), (33, 129, 17), (100, 512, 64)] {
            let mut random = |len: usize| (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
            let (w, x) = (random(m * k), random(k * n));
            let mut turned = vec![0.0; k * n];
            for (i, v) in x.iter().enumerate() {
                turned[i % k * n + i / k] = *v;
            }
            for (order, x_in_order) in [(Order::ByInput, &x), (Order::ByFeature, &turned)] {
                let mut y = vec![f32::NAN; m * n];
                weights_times_batch(&w, x_in_order, order, &mut y, m, k, n);
                for (i, &got) in y.iter().enumerate() {
                    let (row, input) = (i / n, i % n);
                    let terms = w[row * k..][..k].iter().zip(&x[input * k..][..k]);
                    let want: f64 = terms.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    assert!((f64::from(got) - want).abs() < 1e-4, "{order:?} m={m} k={k} n={n}, {i}: {got}, {want}");
                }
            }
        }
    }
}
