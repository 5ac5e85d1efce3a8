//! General matrix product on strided views, for the linear algebra of `compress`.
//!
//! Either factor may be a transposed view; the result is row-major. f32 or f64, by the `gemm` crate on rayon's pool.
#![allow(unsafe_code)]

/// The element types that the product is implemented for.
pub trait Element: sealed::Sealed + Copy + Default + 'static {
    /// The neutral element of the product.
    const ONE: Self;
}

impl Element for f32 {
    const ONE: Self = 1.0;
}

impl Element for f64 {
    const ONE: Self = 1.0;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// A matrix seen through row and column steps. Its constructors make sure that every element lies inside the data.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    data: &'a [T],
    rows: usize,
    cols: usize,
    row_step: usize,
    col_step: usize,
}

impl<'a, T: Element> Matrix<'a, T> {
    /// Rows one after the other.
    ///
    /// # Panics
    ///
    /// If there are not `rows·cols` elements.
    pub fn row_major(data: &'a [T], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols, "a matrix of {rows}×{cols}");
        Self { data, rows, cols, row_step: cols, col_step: 1 }
    }

    /// Columns one after the other.
    ///
    /// # Panics
    ///
    /// If there are not `rows·cols` elements.
    pub fn col_major(data: &'a [T], rows: usize, cols: usize) -> Self {
        Self::row_major(data, cols, rows).t()
    }

    /// The transpose, without moving anything.
    pub fn t(self) -> Self {
        Self { rows: self.cols, cols: self.rows, row_step: self.col_step, col_step: self.row_step, ..self }
    }

    /// The elements in the order they are stored.
    pub fn data(&self) -> &'a [T] {
        self.data
    }

    /// The same view of other data of the same length, for example the same numbers in another type.
    ///
    /// # Panics
    ///
    /// If the length differs.
    pub fn of<U: Element>(self, data: &[U]) -> Matrix<'_, U> {
        assert_eq!(data.len(), self.data.len(), "data of a matrix view");
        let Self { rows, cols, row_step, col_step, .. } = self;
        Matrix { data, rows, cols, row_step, col_step }
    }

    /// Rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
}

/// `a · b`, row-major.
///
/// # Panics
///
/// If `a` has not as many columns as `b` has rows.
pub fn product<T: Element>(a: Matrix<T>, b: Matrix<T>) -> Vec<T> {
    assert_eq!(a.cols, b.rows, "inner sizes of a product");
    let mut out = vec![T::default(); a.rows * b.cols];
    // SAFETY: the views' steps address only elements of their data (their constructors assert the length, `t` only
    // swaps), `out` has rows·cols elements and is addressed row-major; it is freshly allocated and overlaps neither
    // input, and is not read because `read_dst` is false.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            b.cols as isize,
            false,
            a.data.as_ptr(),
            a.col_step as isize,
            a.row_step as isize,
            b.data.as_ptr(),
            b.col_step as isize,
            b.row_step as isize,
            T::default(),
            T::ONE,
            false,
            false,
            false,
            gemm::Parallelism::Rayon(0),
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_and_transposes_multiply_as_defined() {
        let a: Vec<f64> = (0..6).map(f64::from).collect(); // 2×3
        let b: Vec<f64> = (0..12).map(f64::from).collect(); // 3×4
        let want = vec![20.0, 23.0, 26.0, 29.0, 56.0, 68.0, 80.0, 92.0];
        assert_eq!(product(Matrix::row_major(&a, 2, 3), Matrix::row_major(&b, 3, 4)), want);
        let at = [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]; // the same matrix, stored by columns
        assert_eq!(product(Matrix::col_major(&at, 2, 3), Matrix::row_major(&b, 3, 4)), want);
        assert_eq!(product(Matrix::row_major(&at, 3, 2).t(), Matrix::row_major(&b, 3, 4)), want);
        let f: Vec<f32> = a.iter().map(|v| *v as f32).collect();
        assert_eq!(product(Matrix::row_major(&f, 2, 3), Matrix::row_major(&f, 2, 3).t()), [5.0, 14.0, 14.0, 50.0]);
        assert_eq!(product::<f32>(Matrix::row_major(&[], 0, 3), Matrix::row_major(&f, 3, 2)), Vec::<f32>::new());
    }
}
