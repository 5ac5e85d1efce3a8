//! LRN and max pooling in one, line by line, and the convolution before them where that gains: the maps between them, the
//! largest of a network, do not exist.
//!
//! ```text
//! convolution ─► ring of as many lines as the LRN's window is high ─┬─► LRN ─► ring as high as a pooling window ─► rows
//! map of a convolution ─────────────────────────────────────────────┘
//! ```
//!
//! The same numbers as one layer after the other. Where two bands of rows meet, the lines that both need are computed twice.

use std::ops::Range;

use super::choice::Kernels;
use super::lrn::{LrnLine, LrnParams, LrnWindow};
use super::pool::PoolShape;

/// The layers after the convolution, and the size of its map.
#[derive(Debug, Clone, Copy)]
pub struct Normalised {
    /// The LRN.
    pub lrn: LrnParams,
    /// The pooling.
    pub pool: PoolShape,
    /// Lines of the convolution's result, numbers of each and of each of its pixels.
    pub lines: usize,
    /// Numbers of a line.
    pub line: usize,
    /// Numbers of a pixel.
    pub channels: usize,
}

/// Lines of the highest pooling window.
const MOST: usize = 8;

impl Normalised {
    /// Whether windows are of a size that this can do.
    pub fn supports(lrn: &LrnParams, pool: &PoolShape) -> bool {
        pool.kernel <= MOST && matches!(lrn.window, LrnWindow::Square(1..=MOST) | LrnWindow::Channels(_))
    }

    fn window(&self) -> usize {
        match self.lrn.window {
            LrnWindow::Channels(_) => 1,
            LrnWindow::Square(size) => size,
        }
    }

    /// Numbers of the ring of normalised lines.
    pub fn memory_after(&self) -> usize {
        self.pool.kernel * self.line
    }

    /// Numbers of both rings.
    pub fn memory(&self) -> usize {
        self.window() * self.line + self.memory_after()
    }

    /// Makes some rows of the pooling: `convolve(l, line)` makes lines of the convolution, `finish(row, lines)` gets the
    /// normalised lines that a row's windows cover.
    pub fn rows(
        &self,
        kernels: Kernels,
        memory: &mut [f32],
        rows: Range<usize>,
        convolve: impl FnMut(usize, &mut [f32]),
        finish: impl FnMut(usize, &[&[f32]]),
    ) {
        let (line, window) = (self.line, self.window());
        let (ring, normal) = memory.split_at_mut(window * line);
        self.rows_from(kernels, Ring { convolve, ring, line, window, done: 0 }, normal, rows, finish);
    }

    /// [`rows`](Self::rows) of a map that is there.
    pub fn rows_of_map(
        &self,
        kernels: Kernels,
        memory: &mut [f32],
        rows: Range<usize>,
        map: &[f32],
        finish: impl FnMut(usize, &[&[f32]]),
    ) {
        self.rows_from(kernels, Whole { map, line: self.line }, memory, rows, finish);
    }

    fn rows_from(
        &self,
        kernels: Kernels,
        mut source: impl Lines,
        normal: &mut [f32],
        rows: Range<usize>,
        mut finish: impl FnMut(usize, &[&[f32]]),
    ) {
        let line = self.line;
        let mut normal_to = 0;
        for row in rows {
            let needed = self.pool.inside(row, self.lines);
            for l in needed.start.max(normal_to)..needed.end {
                let around = self.lrn.lines(l, self.lines);
                let near = source.lines(around.clone());
                let out = &mut normal[l % self.pool.kernel * line..][..line];
                let here = l - around.start;
                kernels.run(LrnLine { params: self.lrn, near, here, channels: self.channels, out });
            }
            normal_to = needed.end;
            let mut lines: [&[f32]; MOST] = [&[]; MOST];
            for (to, l) in lines.iter_mut().zip(needed.clone()) {
                *to = &normal[l % self.pool.kernel * line..][..line];
            }
            finish(row, &lines[..needed.len()]);
        }
    }
}

/// Where the lines before the LRN come from.
trait Lines {
    /// Lines that follow each other, maybe in two pieces. No call begins before the one before it.
    fn lines(&mut self, lines: Range<usize>) -> [&[f32]; 2];
}

/// A map that is there.
struct Whole<'a> {
    map: &'a [f32],
    line: usize,
}

impl Lines for Whole<'_> {
    fn lines(&mut self, lines: Range<usize>) -> [&[f32]; 2] {
        [&self.map[lines.start * self.line..lines.end * self.line], &[]]
    }
}

/// Lines that are made when they are asked for, line `l` at place `l` modulo `window`.
struct Ring<'a, F> {
    convolve: F,
    ring: &'a mut [f32],
    line: usize,
    window: usize,
    /// End of those that were made.
    done: usize,
}

impl<F: FnMut(usize, &mut [f32])> Lines for Ring<'_, F> {
    fn lines(&mut self, lines: Range<usize>) -> [&[f32]; 2] {
        let (line, window) = (self.line, self.window);
        for l in lines.start.max(self.done)..lines.end {
            (self.convolve)(l, &mut self.ring[l % window * line..][..line]);
        }
        self.done = lines.end;
        // They follow each other up to the end of the ring.
        let first = lines.start % window;
        let before_end = lines.len().min(window - first);
        [&self.ring[first * line..][..before_end * line], &self.ring[..(lines.len() - before_end) * line]]
    }
}
