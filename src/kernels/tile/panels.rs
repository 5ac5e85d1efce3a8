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
    /// Where each panel ends.
    ends: Vec<usize>,
    data: Buffer<T>,
}

impl<T: Plain> Panels<T> {
    /// Zeros, for panels of `width` columns and `step` rows at a time.
    pub fn zeros(width: usize, step: usize, k: usize, n: usize) -> Self {
        let k = k.next_multiple_of(step);
        let ends: Vec<_> = (1..=n.div_ceil(width)).map(|p| p * k * width).collect();
        let data = Buffer::zeros(ends.last().copied().unwrap_or_default());
        Self { k, n, width, step, ends, data }
    }

    /// The same panels with more rows at the end of each: whole steps of them, as they are packed.
    ///
    /// # Panics
    ///
    /// If there are more or fewer panels.
    pub fn longer(&self, more: &[Vec<T>]) -> Self {
        assert_eq!(more.len(), self.count(), "rows for panels");
        let mut data = Buffer::zeros(self.data.len() + more.iter().map(Vec::len).sum::<usize>());
        let (mut ends, mut end) = (Vec::new(), 0);
        for (p, more) in more.iter().enumerate() {
            for part in [self.panel(p).data, more] {
                data[end..][..part.len()].copy_from_slice(part);
                end += part.len();
            }
            ends.push(end);
        }
        Self { ends, data, ..*self }
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
        let steps = self.start(n / width) + k / step * step * width;
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
        let first = p * self.width;
        let data = &self.data[self.start(p)..self.ends[p]];
        Panel { data, first, real: self.width.min(self.n - first), next: &data[..0] }
    }

    fn start(&self, p: usize) -> usize {
        p.checked_sub(1).map_or(0, |before| self.ends[before])
    }

    /// The numbers of panel `p`, which there is.
    pub fn panel_mut(&mut self, p: usize) -> &mut [T] {
        let range = self.start(p)..self.ends[p];
        &mut self.data[range]
    }

    /// Columns of a panel.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows of every panel, with those that fill up a step.
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
    /// Numbers that will be needed after this panel's. If none, still a place in memory.
    pub(super) next: &'a [T],
}

impl<'a, T> Panel<'a, T> {
    /// This panel, during whose computation the numbers of the next one are fetched.
    pub fn then(self, next: Option<Panel<'a, T>>) -> Self {
        let next = next.map_or(&self.data[..0], |next| next.data);
        self.then_all(next)
    }

    /// The same of any numbers.
    pub fn then_all(self, next: &'a [T]) -> Self {
        Self { next, ..self }
    }
}
