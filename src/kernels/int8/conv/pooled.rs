//! Convolution and max pooling in one, for a first layer: each line is pooled while it is in the cache, and the map between
//! the two, the largest of a network, is never written.
//!
//! The largest of the sums has the largest byte, so pooling bytes is pooling sums. Lines of the convolution wait in a ring
//! as long as a window is high; the largest of each column are taken first, in one more line, and then those of each row.
//! Where two bands of lines meet, the lines that both need are computed twice.
#![allow(unsafe_code)]

use super::direct::{Direct, Lines};
use super::{QuantScratch, Rescale};
use crate::kernels::int8::dot::{IntDot, IntWork};
use crate::kernels::int8::pool::max_line;
use crate::kernels::pool::PoolShape;
use crate::kernels::team::{self, Pieces};
use std::ops::Range;

/// Weights up to this size, in bytes, stay in a first-level cache next to the pixels they are multiplied with.
pub(super) const FIRST_LEVEL: usize = 32 << 10;

impl Direct {
    /// Whether [`run_pooled`](Self::run_pooled) gains: with small weights, before which there are many pixels.
    pub fn pools(&self) -> bool {
        self.bytes() <= FIRST_LEVEL && self.shape.kernel > 1 && matches!(self.rescale, Rescale::U8 { .. })
    }

    /// [`run`](Self::run) and max pooling in one; `out` are `to` rows and columns of windows.
    ///
    /// # Panics
    ///
    /// As `run` and [`max_pool`](crate::kernels::int8::max_pool) do, and if the results are no bytes.
    #[allow(clippy::too_many_arguments, reason = "a convolution's, and two of the pooling")]
    pub fn run_pooled(
        &self,
        x: &[u8],
        rows: usize,
        cols: usize,
        pool: PoolShape,
        scratch: &mut QuantScratch,
        out: &mut [u8],
        to: (usize, usize),
    ) {
        let output = self.shape.output;
        let from = (self.shape.out_len(rows), self.shape.out_len(cols));
        assert_eq!(x.len(), rows * cols * self.shape.input, "a map of {rows}×{cols} for {:?}", self.shape);
        assert_eq!(out.len(), to.0 * to.1 * output, "the result of {rows}×{cols} for {:?}", self.shape);
        pool.check([from.0, from.1, output], [to.0, to.1, output]);
        if out.is_empty() {
            return;
        }
        let (mut ring_lines, mut tails) = (std::mem::take(&mut scratch.lines), std::mem::take(&mut scratch.tails));
        let lines = self.lines(x, rows, cols, scratch, false);
        // Even on any number of threads, and enough that a thread that was held up is helped.
        let bands = (BANDS * team::threads()).min(to.0);
        let line = from.1 * output;
        let ring_len = (pool.kernel + 1) * line;
        ring_lines.resize(bands * ring_len, 0);
        let tails_len = lines.tails_len(self);
        tails.resize(bands * tails_len, 0);
        let (rings, all_tails) = (Pieces::new(&mut ring_lines), Pieces::new(&mut tails));
        let pieces = Pieces::new(out);
        team::for_each(bands, |i| {
            let (first, end) = (to.0 * i / bands, to.0 * (i + 1) / bands);
            let row = to.1 * output;
            // SAFETY: each band has rows, a ring and tails of its own.
            let (out, ring, tails) = unsafe {
                let ring = rings.take(i * ring_len..(i + 1) * ring_len);
                (pieces.take(first * row..end * row), ring, all_tails.take(i * tails_len..(i + 1) * tails_len))
            };
            PooledBand { conv: self, lines: &lines, from, pool, first, row, ring, tails, out }.compute();
        });
        (scratch.lines, scratch.tails) = (ring_lines, tails);
    }
}

/// Bands for each thread.
pub(super) const BANDS: usize = 3;

/// Some rows of the output of convolution and pooling.
struct PooledBand<'a> {
    conv: &'a Direct,
    lines: &'a Lines<'a>,
    /// Rows and columns of the convolution's result.
    from: (usize, usize),
    pool: PoolShape,
    /// First row, and numbers of a row.
    first: usize,
    row: usize,
    /// The last lines of the convolution, line `l` at place `l` modulo the side of a window, and one more.
    ring: &'a mut [u8],
    /// Where what is left over of a line's runs is gathered.
    tails: &'a mut [u8],
    out: &'a mut [u8],
}

impl PooledBand<'_> {
    fn compute(self) {
        let Self { conv, lines, from, pool, .. } = self;
        let output = conv.shape.output;
        let line = from.1 * output;
        let (ring, most) = self.ring.split_at_mut(pool.kernel * line);
        let mut ready = 0;
        for (i, out) in self.out.chunks_exact_mut(self.row).enumerate() {
            let window = pool.inside(self.first + i, from.0);
            for l in window.start.max(ready)..window.end {
                let place = l % pool.kernel * line;
                conv.line(lines, l, self.tails, &mut ring[place..place + line]);
            }
            ready = window.end;
            conv.dot.run(PooledRow { pool, window, ring, most, channels: output, out });
        }
    }
}

/// One row of the result, from the lines of the ring that its windows cover. Plain code that is compiled for the instructions; apart
/// from the convolution, whose tiles would be compiled twice.
struct PooledRow<'a> {
    pool: PoolShape,
    window: Range<usize>,
    ring: &'a [u8],
    /// The largest of each column.
    most: &'a mut [u8],
    channels: usize,
    out: &'a mut [u8],
}

impl IntWork for PooledRow<'_> {
    #[inline(always)]
    fn run<D: IntDot>(self, _: D) {
        let Self { pool, window, ring, most, channels, out } = self;
        let len = most.len();
        let line = |l: usize| &ring[l % pool.kernel * len..][..len];
        most.copy_from_slice(line(window.start));
        for l in window.start + 1..window.end {
            most.iter_mut().zip(line(l)).for_each(|(most, x)| *most = (*most).max(*x));
        }
        max_line(pool, std::iter::once(&*most), channels, out);
    }
}
