//! Matrix product with a transposed right side, the shape of a fully connected layer: `y = x · wᵀ`.
//!
//! Row-major f32: `x` is n×k, `w` is m×k (a layer's `[out, in]` weight as stored), `y` is n×m. The work is done by the
//! `gemm` crate on the current rayon pool; it packs `w` into cache-sized tiles itself, and storing `w` transposed or
//! tiled beforehand measured no faster. Sums run in another order than in the plain definition, so results agree to
//! rounding (relative 1e-5 for k in the thousands), not bit for bit.
#![allow(unsafe_code)]

/// Fills `y` (n×m) with `x` (n×k) times the transpose of `w` (m×k).
///
/// # Panics
///
/// If the slices do not have the lengths the three sizes ask for.
pub fn matmul_transposed(x: &[f32], w: &[f32], y: &mut [f32], n: usize, k: usize, m: usize) {
    assert_eq!((x.len(), w.len(), y.len()), (n * k, m * k, n * m), "matrix sizes n={n} k={k} m={m}");
    // SAFETY: the three pointers are valid for n·k, m·k and n·m elements (asserted above), and the strides, row step
    // equal to row length and column step 1 (swapped for the transposed `w`), stay inside those. `y` is borrowed
    // mutably, so it overlaps neither input, and it is only written because `read_dst` is false.
    unsafe {
        gemm::gemm(
            n,
            m,
            k,
            y.as_mut_ptr(),
            1,
            m as isize,
            false,
            x.as_ptr(),
            1,
            k as isize,
            w.as_ptr(),
            k as isize,
            1,
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

    /// The definition, in f64.
    fn plain(x: &[f32], w: &[f32], n: usize, k: usize, m: usize) -> Vec<f64> {
        let dot =
            |i: usize, j: usize| -> f64 { (0..k).map(|l| f64::from(x[i * k + l]) * f64::from(w[j * k + l])).sum() };
        (0..n * m).map(|e| dot(e / m, e % m)).collect()
    }

    #[test]
    fn products_agree_with_the_definition_for_odd_and_empty_sizes() {
        let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(1);
        for (n, k, m) in [(0, 3, 4), (1, 1, 1), (3, 0, 2), (2, 7, 5), (1, 300, 84), (17, 129, 33), (64, 512, 100)] {
            let mut random = |len: usize| (0..len).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
            let (x, w) = (random(n * k), random(m * k));
            let mut y = vec![f32::NAN; n * m];
            matmul_transposed(&x, &w, &mut y, n, k, m);
            for (i, (got, want)) in y.iter().zip(plain(&x, &w, n, k, m)).enumerate() {
                assert!((f64::from(*got) - want).abs() < 1e-4, "n={n} k={k} m={m}, element {i}: {got}, want {want}");
            }
        }
    }
}
