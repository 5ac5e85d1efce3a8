//! From the sums of a convolution through LRN and max pooling, which are of real numbers, to bytes. Pooling before or after
//! quantising is the same: the largest number has the largest byte.
#![allow(unsafe_code)]

use super::direct::Direct;
use super::pooled::{BANDS, FIRST_LEVEL};
use super::{QuantScratch, Rescale};
use crate::kernels::Kernels;
use crate::kernels::int8::quantize;
use crate::kernels::lrn::LrnParams;
use crate::kernels::normalised::Normalised;
use crate::kernels::pool::{MapShape, PoolLines, PoolShape};
use crate::kernels::team::{self, Pieces};

/// The layers between the real numbers of a convolution and the next map of bytes.
#[derive(Debug, Clone, Copy)]
pub struct Between {
    /// The LRN.
    pub lrn: LrnParams,
    /// The pooling after it.
    pub pool: PoolShape,
    /// Value of a step of the bytes.
    pub scale: f32,
    /// Zero point.
    pub zero: u8,
}

impl Direct {
    /// Whether [`run_normalised`](Self::run_normalised) is possible and gains.
    pub fn normalises(&self, between: &Between) -> bool {
        let small = self.bytes() <= FIRST_LEVEL && self.shape.kernel > 1;
        small && matches!(self.rescale, Rescale::F32 { .. }) && between.supported()
    }

    /// [`run`](Self::run), LRN and max pooling in one, all of real numbers, which are quantised at the end; `out` are `to` rows
    /// and columns of windows. Pooling before or after quantising is the same: the largest number has the largest byte.
    ///
    /// # Panics
    ///
    /// As [`run_pooled`](Self::run_pooled) does, and if the results are bytes.
    #[allow(clippy::too_many_arguments, reason = "those of `run_pooled`, and the kernels of the LRN")]
    pub fn run_normalised(
        &self,
        x: &[u8],
        rows: usize,
        cols: usize,
        kernels: Kernels,
        between: Between,
        scratch: &mut QuantScratch,
        out: &mut [u8],
        to: (usize, usize),
    ) {
        let (channels, pool) = (self.shape.output, between.pool);
        let from = (self.shape.out_len(rows), self.shape.out_len(cols));
        assert!(matches!(self.rescale, Rescale::F32 { .. }), "real results of {:?}", self.shape);
        assert_eq!(x.len(), rows * cols * self.shape.input, "a map of {rows}×{cols} for {:?}", self.shape);
        assert_eq!(out.len(), to.0 * to.1 * channels, "the result of {rows}×{cols} for {:?}", self.shape);
        pool.check([from.0, from.1, channels], [to.0, to.1, channels]);
        if out.is_empty() {
            return;
        }
        let (row, line) = (to.1 * channels, from.1 * channels);
        let layers = Normalised { lrn: between.lrn, pool, lines: from.0, line, channels };
        let (mut reals, mut tails) = (std::mem::take(&mut scratch.reals), std::mem::take(&mut scratch.tails));
        let bands = (BANDS * team::threads()).min(to.0);
        let memory = layers.memory() + row;
        reals.resize(team::threads() * memory, 0.0);
        let lines = self.lines(x, rows, cols, scratch, false);
        let tails_len = lines.tails_len(self);
        tails.resize(bands * tails_len, 0);
        let (all_tails, pieces) = (Pieces::new(&mut tails), Pieces::new(out));
        team::for_each_in(&mut reals, bands, |i, memory| {
            let band = to.0 * i / bands..to.0 * (i + 1) / bands;
            // SAFETY: each band has tails of its own.
            let tails = unsafe { all_tails.take(i * tails_len..(i + 1) * tails_len) };
            let (memory, pooled) = memory.split_at_mut(layers.memory());
            let convolve = |l: usize, out: &mut [f32]| self.line(&lines, l, tails, out);
            let finish = |r: usize, lines: &[&[f32]]| {
                // SAFETY: each band has rows of its own.
                let out = unsafe { pieces.take(r * row..(r + 1) * row) };
                between.finish(kernels, lines, channels, pooled, out);
            };
            layers.rows(kernels, memory, band, convolve, finish);
        });
        (scratch.reals, scratch.tails) = (reals, tails);
    }
}

impl Between {
    /// Whether windows are of a size that this can do.
    pub fn supported(&self) -> bool {
        Normalised::supports(&self.lrn, &self.pool)
    }

    /// LRN and max pooling of a map, `out` are `to` rows and columns of windows, on the current team.
    ///
    /// # Panics
    ///
    /// As [`lrn`](crate::kernels::lrn) and [`max_pool`](crate::kernels::max_pool) do, or if it is not
    /// [`supported`](Self::supported).
    pub fn run(
        &self,
        kernels: Kernels,
        x: &[f32],
        from: MapShape,
        scratch: &mut QuantScratch,
        out: &mut [u8],
        to: (usize, usize),
    ) {
        let ([rows, cols, channels], pool) = (from, self.pool);
        assert_eq!(x.len(), rows * cols * channels, "a map of {from:?}");
        assert_eq!(out.len(), to.0 * to.1 * channels, "the result of {from:?}");
        pool.check(from, [to.0, to.1, channels]);
        if out.is_empty() {
            return;
        }
        let row = to.1 * channels;
        let layers = Normalised { lrn: self.lrn, pool, lines: rows, line: cols * channels, channels };
        let bands = (BANDS * team::threads()).min(to.0);
        let memory = layers.memory_after() + row;
        scratch.reals.resize(team::threads() * memory, 0.0);
        let pieces = Pieces::new(out);
        team::for_each_in(&mut scratch.reals, bands, |i, memory| {
            let (ring, pooled) = memory.split_at_mut(layers.memory_after());
            layers.rows_of_map(kernels, ring, to.0 * i / bands..to.0 * (i + 1) / bands, x, |r, lines| {
                // SAFETY: each band has rows of its own.
                let out = unsafe { pieces.take(r * row..(r + 1) * row) };
                self.finish(kernels, lines, channels, pooled, out);
            });
        });
    }

    /// A row of bytes from the normalised lines that its windows cover, by way of `pooled`.
    fn finish(&self, kernels: Kernels, lines: &[&[f32]], channels: usize, pooled: &mut [f32], out: &mut [u8]) {
        kernels.run(PoolLines { pool: self.pool, lines, channels, out: pooled });
        quantize(kernels, pooled, self.scale, self.zero, out);
    }
}
