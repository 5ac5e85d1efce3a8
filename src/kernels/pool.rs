//! Max pooling of channels-last maps, with Caffe's windows: they may overhang on all sides, and only what is inside of the
//! map counts. Exact: the same on every instruction set.

use std::ops::Range;

use super::choice::Kernels;
use super::simd::{Simd, Work};
use super::team;

/// The windows, the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PoolShape {
    /// Side.
    pub kernel: usize,
    /// From a window to the next.
    pub stride: usize,
    /// Pixels by which the first window begins before the map; less than the side.
    pub pad: usize,
}

/// Rows, columns and channels of a map.
pub type MapShape = [usize; 3];

/// Pools `x` into `out`, whose rows and columns say how many windows there are.
///
/// # Panics
///
/// If a slice has another length than its shape says, or the channels differ, or a window lies outside of the map.
pub fn max_pool(kernels: Kernels, pool: PoolShape, x: &[f32], from: MapShape, out: &mut [f32], to: MapShape) {
    assert_eq!((x.len(), out.len()), (from.iter().product(), to.iter().product()), "maps of {from:?} and {to:?}");
    pool.check(from, to);
    team::for_each_chunk(out, to[1] * to[2], |row, out| kernels.run(PoolRow { pool, x, from, row, out }));
}

struct PoolRow<'a> {
    pool: PoolShape,
    x: &'a [f32],
    from: MapShape,
    row: usize,
    out: &'a mut [f32],
}

impl Work for PoolRow<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let [rows, cols, channels] = self.from;
        let lines = self.pool.inside(self.row, rows).map(|r| &self.x[r * cols * channels..][..cols * channels]);
        pool_lines(simd, self.pool, lines, channels, self.out);
    }
}

/// One row of results, from the lines that its windows cover.
pub struct PoolLines<'a> {
    /// The windows.
    pub pool: PoolShape,
    /// The lines.
    pub lines: &'a [&'a [f32]],
    /// Numbers of a pixel.
    pub channels: usize,
    /// The row.
    pub out: &'a mut [f32],
}

impl Work for PoolLines<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        pool_lines(simd, self.pool, self.lines.iter().copied(), self.channels, self.out);
    }
}

impl PoolShape {
    /// # Panics
    ///
    /// If the channels differ, or a window lies outside of the map.
    pub fn check(&self, from: MapShape, to: MapShape) {
        assert_eq!(from[2], to[2], "channels");
        for (len, windows) in [(from[0], to[0]), (from[1], to[1])] {
            let last = windows.saturating_sub(1) * self.stride;
            assert!(self.pad < self.kernel && last < len + self.pad, "{windows} windows of {self:?} on {len}");
        }
    }

    /// The places of window `i` inside of a side of `len`.
    #[inline(always)]
    pub fn inside(&self, i: usize, len: usize) -> Range<usize> {
        (i * self.stride).saturating_sub(self.pad)..(i * self.stride + self.kernel - self.pad).min(len)
    }
}

/// One row of results, from the lines of the map that its windows cover.
#[inline(always)]
pub fn pool_lines<'a, S: Simd>(
    simd: S,
    pool: PoolShape,
    lines: impl Iterator<Item = &'a [f32]> + Clone,
    channels: usize,
    out: &mut [f32],
) {
    for (col, out) in out.chunks_exact_mut(channels).enumerate() {
        out.fill(f32::NEG_INFINITY);
        for line in lines.clone() {
            for q in pool.inside(col, line.len() / channels) {
                larger(simd, &line[q * channels..][..channels], out);
            }
        }
    }
}

/// Keeps the larger numbers. Both slices are as long.
#[inline(always)]
fn larger<S: Simd>(simd: S, x: &[f32], most: &mut [f32]) {
    let whole = x.len() / S::LANES * S::LANES;
    let ((x, x_rest), (most, most_rest)) = (x.split_at(whole), most.split_at_mut(whole));
    for (x, most) in x.chunks_exact(S::LANES).zip(most.chunks_exact_mut(S::LANES)) {
        simd.store(simd.max(simd.load(x), simd.load(most)), most);
    }
    for (x, most) in x_rest.iter().zip(most_rest) {
        *most = x.max(*most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_takes_the_largest_of_what_is_inside() {
        for (kernel, stride, pad, channels) in [(3, 2, 1, 96), (3, 2, 0, 17), (2, 2, 0, 5), (3, 3, 2, 1), (5, 1, 2, 40)]
        {
            for (rows, cols) in [(5, 6), (7, 33), (12, 9)] {
                let pool = PoolShape { kernel, stride, pad };
                let to = [rows, cols].map(|n| crate::model::arch::pooled_len(n, kernel, stride, pad));
                let x: Vec<f32> = (0..rows * cols * channels).map(|i| (i * 7919 % 1009) as f32 - 500.0).collect();
                let want = (0..to[0] * to[1] * channels).map(|i| {
                    let (r, q, c) = (i / channels / to[1], i / channels % to[1], i % channels);
                    let near = |at: usize, len| {
                        (0..kernel).map(move |d| at * stride + d).filter(move |p| *p >= pad && p - pad < len)
                    };
                    let all = near(r, rows).flat_map(|r| near(q, cols).map(move |q| (r - pad) * cols + q - pad));
                    all.map(|p| x[p * channels + c]).fold(f32::NEG_INFINITY, f32::max)
                });
                let want: Vec<f32> = want.collect();
                for kernels in Kernels::available() {
                    let mut out = vec![0.0; want.len()];
                    max_pool(kernels, pool, &x, [rows, cols, channels], &mut out, [to[0], to[1], channels]);
                    assert_eq!(out, want, "{} {pool:?} {rows}×{cols}×{channels}", kernels.name());
                }
            }
        }
    }
}
