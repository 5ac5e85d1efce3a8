//! The best approximation of a matrix by a product of rank t: truncated SVD.
//!
//! `W (u×v) ≈ U·V` with `U` (u×t) orthonormal and `V = Uᵀ·W = ΣVᵀ` (t×v). For an orthonormal U that product is the
//! projection of W onto its columns, so the whole task is to find the right t-dimensional space:
//!
//! 1. Small matrices: the t leading eigenvectors of `W·Wᵀ`, exactly.
//! 2. Large ones: a range finder (Halko, Martinsson & Tropp 2011, alg. 4.4). Start from a random u×l basis with l a
//!    little above t, apply `W·Wᵀ` a few times, orthonormalising after each (QR); then step 1 inside that basis.
//! 3. At full rank nothing is to be found: U is the identity.
//!
//! A matrix with more rows than columns is handled as its transpose. Large products run in f32, everything small (QR,
//! eigenvectors) in f64. For fc6 of VGG16 (4096×25088) at t = 1024 that is 1.3 T multiply-adds, about a minute of one
//! core; a dense SVD would take hours.

use nalgebra::{DMatrix, SymmetricEigen};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use super::normals;
use crate::kernels::{Matrix, product};

/// Up to this shorter side the eigenvectors of the whole `W·Wᵀ` are taken.
const EXACT_UP_TO: usize = 512;
/// Times `W·Wᵀ` is applied to the random basis. Four bring the error of slowly falling spectra, as those of fc layers
/// are, to within 0.1 % of the optimum.
const POWER_ITERATIONS: usize = 4;

/// The two factors and how far their product is from the matrix.
#[derive(Debug, Clone, PartialEq)]
pub struct LowRank {
    /// u×t, row-major: the singular vectors.
    pub u: Vec<f32>,
    /// t×v, row-major: ΣVᵀ.
    pub v: Vec<f32>,
    /// `‖W − U·V‖ / ‖W‖`, Frobenius norm, of the factors as they are here.
    pub relative_error: f64,
}

/// Truncated SVD of a row-major `rows`×`cols` matrix. `rank` is cut to the shorter side; equal seeds give equal factors.
///
/// # Panics
///
/// If `w` has not `rows·cols` elements or a side or the rank is zero.
pub fn truncated_svd(w: &[f32], rows: usize, cols: usize, rank: usize, seed: u64) -> LowRank {
    assert!(rows > 0 && cols > 0 && rank > 0, "an SVD of {rows}×{cols} at rank {rank}");
    let matrix = Matrix::row_major(w, rows, cols);
    let rank = rank.min(rows).min(cols);
    let (u, v) = if rows <= cols {
        let basis = leading_basis(matrix, rank, seed);
        let v = product(Matrix::row_major(&basis, rows, rank).t(), matrix);
        (basis, v)
    } else {
        // W = (Wᵀ)ᵀ: the basis found is that of the right singular vectors; the singular values then move from U to V.
        let basis = leading_basis(matrix.t(), rank, seed);
        let mut u = product(matrix, Matrix::row_major(&basis, cols, rank));
        let mut v = vec![0.0; rank * cols];
        for t in 0..rank {
            let sigma = u.iter().skip(t).step_by(rank).map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt() as f32;
            let scale = if sigma > 0.0 { 1.0 / sigma } else { 0.0 };
            u.iter_mut().skip(t).step_by(rank).for_each(|x| *x *= scale);
            (0..cols).for_each(|c| v[t * cols + c] = basis[c * rank + t] * sigma);
        }
        (u, v)
    };
    let approximation = product(Matrix::row_major(&u, rows, rank), Matrix::row_major(&v, rank, cols));
    let square = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>();
    let lost = square(&mut w.iter().zip(&approximation).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    let all = square(&mut w.iter().map(|x| f64::from(*x)));
    LowRank { u, v, relative_error: if all > 0.0 { (lost / all).sqrt() } else { 0.0 } }
}

/// Orthonormal basis (rows×rank, row-major) of the leading left singular vectors; `w` has at most as many rows as columns.
fn leading_basis(w: Matrix<f32>, rank: usize, seed: u64) -> Vec<f32> {
    let rows = w.rows();
    if rank == rows {
        return (0..rows * rows).map(|i| if i % (rows + 1) == 0 { 1.0 } else { 0.0 }).collect();
    }
    let width = rank + (rank / 8).max(32);
    if rows <= EXACT_UP_TO || width * 4 >= rows * 3 {
        return narrow(&leading_eigenvectors(w, rank));
    }
    let mut basis = normals(&mut ChaCha8Rng::seed_from_u64(seed), rows * width, 1.0);
    for _ in 0..POWER_ITERATIONS {
        let across = product(w.t(), Matrix::row_major(&basis, rows, width));
        basis = orthonormal(&product(w, Matrix::row_major(&across, w.cols(), width)), rows, width);
    }
    let inside = product(Matrix::row_major(&basis, rows, width).t(), w);
    let turn = leading_eigenvectors(Matrix::row_major(&inside, width, w.cols()), rank);
    narrow(&product(Matrix::row_major(&widen(&basis), rows, width), Matrix::row_major(&turn, width, rank)))
}

/// The eigenvectors (rows×rank, row-major) of the largest eigenvalues of `a·aᵀ`.
fn leading_eigenvectors(a: Matrix<f32>, rank: usize) -> Vec<f64> {
    let rows = a.rows();
    // In f64, because squaring takes half of the digits.
    let wide = widen(a.data());
    let wide = a.of(&wide);
    let gram = product(wide, wide.t());
    let eigen = SymmetricEigen::new(DMatrix::from_vec(rows, rows, gram));
    let mut order: Vec<usize> = (0..rows).collect();
    order.sort_by(|a, b| eigen.eigenvalues[*b].total_cmp(&eigen.eigenvalues[*a]));
    let mut out = vec![0.0; rows * rank];
    for (t, column) in order.iter().take(rank).enumerate() {
        (0..rows).for_each(|r| out[r * rank + t] = eigen.eigenvectors[(r, *column)]);
    }
    out
}

/// Orthonormal basis of the columns of a row-major matrix.
fn orthonormal(y: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let q = DMatrix::from_row_iterator(rows, cols, y.iter().map(|v| f64::from(*v))).qr().q();
    let mut out = vec![0.0; rows * cols];
    for (c, column) in q.column_iter().enumerate() {
        column.iter().enumerate().for_each(|(r, v)| out[r * cols + c] = *v as f32);
    }
    out
}

fn widen(x: &[f32]) -> Vec<f64> {
    x.iter().map(|v| f64::from(*v)).collect()
}

fn narrow(x: &[f64]) -> Vec<f32> {
    x.iter().map(|v| *v as f32).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The matrix of `tests/python/golden_svd.py`: a fixed pattern of sines with falling strength.
    fn golden_matrix(rows: usize, cols: usize) -> Vec<f32> {
        let terms = 40.min(rows).min(cols);
        let left = |k: f64, r: f64| ((k + 1.3) * (r + 0.7) * 0.37).sin() / (k + 1.0);
        let right = |k: f64, c: f64| ((k + 2.1) * (c + 0.2) * 0.23).cos();
        let table = |n: usize, f: &dyn Fn(f64, f64) -> f64| -> Vec<f64> {
            (0..n * terms).map(|i| f((i % terms) as f64, (i / terms) as f64)).collect()
        };
        let (left, right) = (table(rows, &left), table(cols, &right));
        let strong = product(Matrix::row_major(&left, rows, terms), Matrix::row_major(&right, cols, terms).t());
        let weak = |i: usize| 0.01 * ((i / cols) as f64 * 12.9 + (i % cols) as f64 * 78.2).sin();
        strong.iter().enumerate().map(|(i, x)| (x + weak(i)) as f32).collect()
    }

    fn golden() -> Vec<(usize, usize, usize, f64)> {
        let text = include_str!("../../tests/golden/svd.json");
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        let cases = value["cases"].as_array().unwrap();
        let size = |c: &serde_json::Value, key: &str| c[key].as_u64().unwrap() as usize;
        let error = |c: &serde_json::Value| c["relative_error"].as_f64().unwrap();
        cases.iter().map(|c| (size(c, "rows"), size(c, "cols"), size(c, "rank"), error(c))).collect()
    }

    #[test]
    fn the_error_is_that_of_numpys_svd() {
        for (rows, cols, rank, want) in golden() {
            let got = truncated_svd(&golden_matrix(rows, cols), rows, cols, rank, 1).relative_error;
            // Exact where eigenvectors are taken; the range finder may miss the optimum by 0.1 %, never beat it.
            let slack = if rows.min(cols) <= EXACT_UP_TO { 1e-6 } else { 1e-3 * want + 1e-6 };
            assert!(got >= want - 1e-6 && got <= want + slack, "{rows}×{cols} rank {rank}: {got}, numpy {want}");
        }
    }

    #[test]
    fn u_is_orthonormal_and_v_sorted_by_strength() {
        for (rows, cols) in [(60, 90), (90, 60), (600, 700)] {
            let rank = 20;
            let LowRank { u, v, .. } = truncated_svd(&golden_matrix(rows, cols), rows, cols, rank, 1);
            let gram = product(Matrix::row_major(&u, rows, rank).t(), Matrix::row_major(&u, rows, rank));
            for (i, g) in gram.iter().enumerate() {
                assert!((g - f32::from(u8::from(i % (rank + 1) == 0))).abs() < 1e-4, "{rows}×{cols}: {g}");
            }
            let strength: Vec<f32> = v.chunks(cols).map(|row| row.iter().map(|x| x * x).sum()).collect();
            assert!(strength.is_sorted_by(|a, b| *a >= b * 0.9999), "{strength:?}");
        }
    }

    #[test]
    fn full_rank_reproduces_the_matrix() {
        for (rows, cols) in [(7, 20), (20, 7), (700, 600)] {
            assert!(truncated_svd(&golden_matrix(rows, cols), rows, cols, 9999, 1).relative_error < 1e-6);
        }
    }

    #[test]
    fn a_zero_matrix_has_zero_factors() {
        let LowRank { u, v, relative_error } = truncated_svd(&[0.0; 12], 4, 3, 2, 1);
        assert!(relative_error == 0.0 && u.iter().chain(&v).all(|x| x.is_finite()));
    }
}
