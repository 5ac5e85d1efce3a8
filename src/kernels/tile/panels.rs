//! The right factor, packed once in the order in which the innermost loop reads it.

use crate::kernels::buffer::{Buffer, Plain};

/// Weights up to this size, in bytes, stay in a second-level cache next to the rows they are multiplied with.
pub const SECOND_LEVEL: usize = 256 << 10;

/// A right factor of k rows and n columns, in panels: for each group of `width` columns the rows, `step` of them
/// interleaved. The last panel and the last rows are filled up with zeros.
#[derive(Debug, Clone)]
pub struct Panels<T: Plain = f32> {
    k: usize,
    n: usize,
    width: usize,
    step: usize,
    data: Buffer<T>,
}

impl<T: Plain> Panels<T> {
    /// Zeros, for panels of `width` columns and `step` rows at a time.
    pub fn zeros(width: usize, step: usize, k: usize, n: usize) -> Self {
        let data = Buffer::zeros(n.div_ceil(width) * k.next_multiple_of(step) * width);
        Self { k: k.next_multiple_of(step), n, width, step, data }
    }

    /// Packs what `at(k, n)` says.
    pub fn pack(width: usize, step: usize, k: usize, n: usize, at: impl Fn(usize, usize) -> T) -> Self {
        let mut panels = Self::zeros(width, step, k, n);
        for (i, j) in (0..n).flat_map(|j| (0..k).map(move |i| (i, j))) {
            *panels.at_mut(i, j) = at(i, j);
        }
        panels
    }

    /// One number.
    pub fn at_mut(&mut self, k: usize, n: usize) -> &mut T {
        let Self { width, step, .. } = *self;
        let steps = (n / width * self.k + k / step * step) * width;
        &mut self.data[steps + n % width * step + k % step]
    }

    /// Number of panels.
    pub fn count(&self) -> usize {
        self.n.div_ceil(self.width)
    }

    /// Panel `p`, if there are so many.
    pub fn get(&self, p: usize) -> Option<Panel<'_, T>> {
        (p < self.count()).then(|| self.panel(p))
    }

    /// Panel `p`, which there is.
    pub fn panel(&self, p: usize) -> Panel<'_, T> {
        let len = self.k * self.width;
        let first = p * self.width;
        Panel { data: &self.data[p * len..][..len], first, real: self.width.min(self.n - first), next: &[] }
    }

    /// Rows, with those that fill up a step.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Columns.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Bytes of the packed numbers.
    pub fn bytes(&self) -> usize {
        self.data.len() * size_of::<T>()
    }
}

/// One panel.
#[derive(Debug, Clone, Copy)]
pub struct Panel<'a, T = f32> {
    /// k rows of the panel's width.
    pub data: &'a [T],
    /// Its first column.
    pub first: usize,
    /// Columns that are not filling.
    pub real: usize,
    /// Numbers that will be needed after this panel's.
    pub(super) next: &'a [T],
}

impl<'a, T> Panel<'a, T> {
    /// This panel, during whose computation the numbers of the next one are fetched.
    pub fn then(self, next: Option<Panel<'a, T>>) -> Self {
        Self { next: next.map_or(&[], |next| next.data), ..self }
    }
}
