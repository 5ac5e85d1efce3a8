//! Convolution, LRN and max pooling in one, line by line: the two maps between them, the largest of a network, do not exist.
//!
//! ```text
//! convolution ─► ring of as many lines as the LRN's window is high ─► LRN ─► ring as high as a pooling window ─► rows
//! ```
//!
//! The same numbers as one layer after the other. Where two bands of rows meet, the lines that both need are computed twice.

use std::ops::Range;

use super::choice::Kernels;
use super::lrn::{LrnLine, LrnParams, LrnWindow};
use super::pool::PoolShape;

/// The layers after the convolution, and the size of the map between.
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

    /// Numbers of both rings.
    pub fn memory(&self) -> usize {
        (self.window() + self.pool.kernel) * self.line
    }

    /// Makes some rows of the pooling: `convolve(l, line)` makes lines of the convolution, `finish(row, lines)` gets the
    /// normalised lines that a row's windows cover.
    pub fn rows(
        &self,
        kernels: Kernels,
        memory: &mut [f32],
        rows: Range<usize>,
        mut convolve: impl FnMut(usize, &mut [f32]),
        mut finish: impl FnMut(usize, &[&[f32]]),
    ) {
        let (line, window) = (self.line, self.window());
        let (convolved, normal) = memory.split_at_mut(window * line);
        let (mut convolved_to, mut normal_to) = (0, 0);
        for row in rows {
            let needed = self.pool.inside(row, self.lines);
            for l in needed.start.max(normal_to)..needed.end {
                let around = self.lrn.lines(l, self.lines);
                for c in around.start.max(convolved_to)..around.end {
                    convolve(c, &mut convolved[c % window * line..][..line]);
                }
                convolved_to = around.end;
                // Lines follow each other up to the end of the ring.
                let first = around.start % window;
                let before_end = around.len().min(window - first);
                let near =
                    [&convolved[first * line..][..before_end * line], &convolved[..(around.len() - before_end) * line]];
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
