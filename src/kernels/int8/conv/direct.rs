//! Convolution of channels-last u8 maps with i8 weights; see [the definition](super).
//!
//! The same tiles as in f32 ([`tile`](crate::kernels::tile)): output pixels of a row are rows of a product, read straight
//! from the map, in runs of what a row of the kernel covers, as many bytes at a time as the instructions take (four, or 16).
//! The map is copied only to give it a border of zero points.
//!
//! Where a run is no multiple of that there are two ways. It reads on into the next pixel and meets zero weights there; or,
//! if that takes fewer steps, what is left over of all runs is gathered beside the map (`tail`): a first layer of 7×7 pixels
//! of three channels then takes 37 steps of four for its 147 numbers instead of 42.
//!
//! 1. A layer with large weights is cut into blocks of two panels × some lines ([`run`](QuantConv::run)): two panels of
//!    outputs fill a cache line of the map, so no two threads write to one, and blocks of equal size share out evenly.
//! 2. A first layer's weights stay in the first-level cache, and its lines are pooled before they leave the second-level
//!    one (`pooled`).
#![allow(unsafe_code)]

use super::pack::{Group, Runs};
use super::{Out, QuantScratch, Rescale, tail};
use crate::kernels::ConvShape;
use crate::kernels::buffer::Buffer;
use crate::kernels::int8::dot::{Bytes, Dot, IntDot, IntWork, Reals, Scale};
use crate::kernels::team::{self, Pieces};
use crate::kernels::tile::{Finish, Left, ONCE, SECOND_LEVEL, Target, rows};

/// A convolution of u8 with its weights packed.
#[derive(Debug, Clone)]
pub struct Direct {
    pub(super) shape: ConvShape,
    /// The same, with as many inputs as a pixel has bytes when it is read.
    pub(super) read: ConvShape,
    pub(super) dot: Dot,
    /// Pixels of a line are shared out in multiples of this.
    pub(super) share: usize,
    pub(super) groups: Vec<Group>,
    pub(super) runs: Runs,
    /// Zero points of the input's channels.
    pub(super) zeros: Vec<u8>,
    pub(super) rescale: Rescale,
    /// Whether scaled sums may lie outside of i32.
    pub(super) wild: bool,
}

impl Direct {
    /// Bytes of its packed weights.
    pub fn bytes(&self) -> usize {
        self.groups.iter().map(|g| g.panels.bytes()).sum()
    }

    /// Convolves a map of `rows`×`cols` pixels on the current team.
    ///
    /// # Panics
    ///
    /// If `x` or `out` has another length than the sizes say, or `out` is of the other kind than [`Rescale`] says.
    pub fn run(&self, x: &[u8], rows: usize, cols: usize, scratch: &mut QuantScratch, out: Out) {
        let row_len = self.shape.output;
        let pixels = self.shape.out_len(rows) * self.shape.out_len(cols);
        let lines = self.lines(x, rows, cols, scratch, true);
        self.put(&lines, pixels, row_len, out);
    }

    /// A fully connected layer: `n` maps as large as the kernel, which begin `step` bytes apart, and one pixel of each,
    /// `out_step` numbers apart. Steps that are no powers of two spare the cache.
    ///
    /// # Panics
    ///
    /// If the convolution is padded or has groups, or as [`run`](Self::run) does.
    pub fn run_rows(&self, x: &[u8], step: usize, n: usize, scratch: &mut QuantScratch, out: Out, out_step: usize) {
        let ConvShape { input, output, kernel, stride, pad, groups } = self.shape;
        assert_eq!((stride, pad, groups), (1, 0, 1), "a fully connected layer");
        assert!(step >= kernel * kernel * input && out_step >= output, "steps of {:?}", self.shape);
        let QuantScratch { map, runs, tails, again, .. } = scratch;
        let bytes = self.bytes_read();
        let (row, step) = (kernel * input * bytes, step * bytes);
        // The last input may lack what the last run reads on; that meets zero weights.
        let needed = n.checked_sub(1).map_or(0, |last| last * step + (kernel - 1) * row + self.runs.len);
        let x = match needed <= x.len() && bytes == 1 {
            true => x,
            false => {
                map.resize(needed.max(x.len() * bytes));
                let (copy, beyond) = map.split_at_mut(x.len() * bytes);
                self.copy(x, copy);
                beyond.fill(0);
                map
            }
        };
        runs.clear();
        runs.extend((0..kernel).map(|r| r * row));
        let tails = (self.runs.tail > 0).then(|| {
            tails.resize(n * self.runs.tail_step(), 0);
            tail::gather_line(&self.read, &self.runs, x, row, step, tails);
            &tails[..]
        });
        let again = self.again(runs, again);
        let lines = Lines { left: self.left(x, step, runs), tails, again, count: 1, len: n, step: 0 };
        self.put(&lines, n, out_step, out);
    }

    fn left<'a>(&self, data: &'a [u8], step: usize, runs: &'a [usize]) -> Left<'a, u8> {
        Left { data, first: 0, step, runs, run: self.runs.len, again: ONCE }
    }

    /// Where the steps read that are done again, group after group.
    fn again<'a>(&self, runs: &[usize], places: &'a mut Vec<usize>) -> &'a [usize] {
        places.clear();
        self.groups.iter().for_each(|g| g.again.places(&self.runs, runs, places));
        places
    }

    /// The map's lines of output pixels; with what is left over of runs, if it is wanted.
    pub(super) fn lines<'a>(
        &self,
        x: &'a [u8],
        rows: usize,
        cols: usize,
        scratch: &'a mut QuantScratch,
        tails: bool,
    ) -> Lines<'a> {
        let wanted = tails && self.runs.tail > 0;
        let ConvShape { input, kernel, stride, pad, groups, .. } = self.read;
        let (out_rows, out_cols) = (self.shape.out_len(rows), self.shape.out_len(cols));
        let QuantScratch { map, runs, tails, again, .. } = scratch;
        let x = self.pad(x, rows, cols, map);
        let wide = (cols + 2 * pad) * input;
        runs.clear();
        match groups {
            1 => runs.extend((0..kernel).map(|row| row * wide)),
            _ => runs.extend((0..kernel * kernel).map(|tap| tap / kernel * wide + tap % kernel * input)),
        }
        let flat = kernel == 1 && stride == 1 && pad == 0;
        let (count, len) = if flat { (1, out_rows * out_cols) } else { (out_rows, out_cols) };
        let tails = (wanted && count * len > 0).then(|| {
            tails.resize(count * len * self.runs.tail_step(), 0);
            tail::gather(&self.read, &self.runs, x, wide, len, tails);
            &tails[..]
        });
        let again = self.again(runs, again);
        Lines { left: self.left(x, stride * input, runs), tails, again, count, len, step: stride * wide }
    }

    /// The map with its border of zero points, and room for the last run to read on, as words if that is how it is read; the map
    /// itself if it needs nothing of that.
    fn pad<'a>(&self, x: &'a [u8], rows: usize, cols: usize, padded: &'a mut Buffer<u8>) -> &'a [u8] {
        let (ConvShape { input, pad, .. }, bytes) = (self.read, self.bytes_read());
        let beyond = self.runs.beyond(&self.read);
        if (pad == 0 && beyond == 0 && bytes == 1) || x.is_empty() {
            return x;
        }
        let (wide, line) = ((cols + 2 * pad) * input, cols * self.shape.input);
        let border = |out: &mut [u8]| {
            out.chunks_exact_mut(input).for_each(|pixel| self.copy(&self.zeros, pixel));
        };
        let len = wide * (rows + 2 * pad);
        padded.resize(len + beyond);
        padded[len..].fill(0);
        team::for_each_chunk(&mut padded[..len], wide * LINES, |i, lines| {
            for (l, out) in lines.chunks_mut(wide).enumerate() {
                match (i * LINES + l).checked_sub(pad) {
                    Some(r) if r < rows => {
                        border(&mut out[..pad * input]);
                        self.copy(&x[r * line..][..line], &mut out[pad * input..][..cols * input]);
                        border(&mut out[(pad + cols) * input..]);
                    }
                    _ => border(out),
                }
            }
        });
        padded
    }

    /// Copies bytes as they are read.
    fn copy(&self, x: &[u8], out: &mut [u8]) {
        match self.bytes_read() {
            1 => out.copy_from_slice(x),
            _ => out.as_chunks_mut().0.iter_mut().zip(x).for_each(|(out, x)| *out = u16::from(*x).to_le_bytes()),
        }
    }

    /// All outputs of all lines, `pixels` rows of `out_step` numbers.
    fn put(&self, lines: &Lines, pixels: usize, out_step: usize, out: Out) {
        let needed = pixels.checked_sub(1).map_or(0, |last| last * out_step + self.shape.output);
        let fits = |len: usize| {
            assert!(
                (needed..=pixels * out_step).contains(&len),
                "{len} results of {pixels} pixels for {:?}",
                self.shape
            );
        };
        match (out, &self.rescale) {
            (Out::U8(out), Rescale::U8 { .. }) => {
                fits(out.len());
                self.blocks::<u8>(lines, &Pieces::new(out), out_step);
            }
            (Out::F32(out), Rescale::F32 { .. }) => {
                fits(out.len());
                self.blocks::<f32>(lines, &Pieces::new(out), out_step);
            }
            _ => panic!("a result of the other kind than the layer's"),
        }
    }

    /// All outputs of the `l`th line, of lines without [tails](Lines::tails), which are gathered in `tails`.
    pub(super) fn line<T: Send>(&self, lines: &Lines, l: usize, tails: &mut [u8], out: &mut [T])
    where
        for<'a> Block<'a, T>: IntWork,
    {
        // As if this line were the first: the result begins where the slice does.
        let (lines, out, out_step) = (&lines.only(self, l, tails), &Pieces::new(out), self.shape.output);
        for (group, g) in self.groups.iter().enumerate() {
            let after = g.panels.count();
            let (panels, span, pixels) = (0..after, 0..1, 0..lines.len);
            self.dot.run(Block { conv: self, lines, group, panels, after, span, pixels, out, out_step });
        }
    }

    /// Shares the work out in blocks of panels × lines, or parts of the only line.
    fn blocks<T: Send>(&self, lines: &Lines, out: &Pieces<T>, out_step: usize)
    where
        for<'a> Block<'a, T>: IntWork,
    {
        let pairs = self.groups.first().map_or(0, |g| g.panels.count().div_ceil(PANELS));
        let threads = team::threads();
        // Blocks of few lines take turns in fetching the same weights; with many threads there must be enough to share.
        let bytes = lines.count.saturating_sub(1) * lines.step + lines.len * lines.left.step;
        let wanted = (BLOCKS * threads).div_ceil(pairs.max(1)).max(bytes.div_ceil(KEPT_MAP));
        let shares = lines.len.div_ceil(self.share);
        let cuts = match lines.count {
            1 => (lines.len / self.share.max(14)).clamp(1, wanted),
            count => count.clamp(1, wanted),
        };
        let tasks = self.groups.len() * pairs * cuts;
        if lines.count * lines.len == 0 {
            return;
        }
        team::for_each(tasks, |i| {
            let (group, cut, pair) = (i / (pairs * cuts), i / pairs % cuts, i % pairs);
            let panels = pair * PANELS..((pair + 1) * PANELS).min(self.groups[group].panels.count());
            // Threads take one block after the other.
            let after = (pair + threads) * PANELS;
            let part = |len: usize| len * cut / cuts..len * (cut + 1) / cuts;
            let (span, pixels) = match lines.count {
                1 => {
                    let part = part(shares);
                    (0..1, part.start * self.share..(part.end * self.share).min(lines.len))
                }
                count => (part(count), 0..lines.len),
            };
            self.dot.run(Block { conv: self, lines, group, panels, after, span, pixels, out, out_step });
        });
    }
}

/// Panels of a block: two of the widest fill a cache line of bytes.
const PANELS: usize = 2;
/// Blocks for each thread, at least.
const BLOCKS: usize = 6;
/// Bytes of a map that stay in the second-level cache while all weights pass by.
const KEPT_MAP: usize = 1 << 20;
/// Lines of a map that are copied at a time.
const LINES: usize = 16;

/// Output pixels, line by line, and where they read.
#[derive(Debug)]
pub(super) struct Lines<'a> {
    left: Left<'a, u8>,
    /// What is left over of the runs, pixel by pixel.
    tails: Option<&'a [u8]>,
    /// [`Direct::again`].
    again: &'a [usize],
    /// Lines, pixels in each, and how far the next one's reading is.
    count: usize,
    len: usize,
    step: usize,
}

impl Lines<'_> {
    /// The `l`th line, of a convolution without [tails](Self::tails), as if it were the first. They are gathered in `tails`
    /// then: those of a line stay in the cache.
    fn only<'a>(&'a self, conv: &Direct, l: usize, tails: &'a mut [u8]) -> Lines<'a> {
        let left = Left { data: &self.left.data[l * self.step..], ..self.left };
        let tails = (conv.runs.tail > 0).then(|| {
            tail::gather_line(&conv.read, &conv.runs, left.data, self.step / conv.read.stride, left.step, tails);
            &*tails
        });
        Lines { left, tails, count: 1, ..*self }
    }

    /// Bytes of the tails of a line.
    pub(super) fn tails_len(&self, conv: &Direct) -> usize {
        self.len * conv.runs.tail_step()
    }
}

/// Some panels of some pixels of some lines.
pub(super) struct Block<'a, T> {
    conv: &'a Direct,
    lines: &'a Lines<'a>,
    group: usize,
    panels: std::ops::Range<usize>,
    /// The panel that its thread will need after these, if there is one of that number.
    after: usize,
    span: std::ops::Range<usize>,
    pixels: std::ops::Range<usize>,
    /// All outputs: the pixels of the first line, of the next, `out_step` apart.
    out: &'a Pieces<'a, T>,
    out_step: usize,
}

impl<T> Block<'_, T> {
    #[inline(always)]
    fn compute<'s, D: IntDot, F: Finish<D, Out = T>>(&'s self, dot: D, finish: impl Fn(Scale<'s>) -> F) {
        let Self { conv, lines, .. } = *self;
        let ConvShape { input, groups, .. } = conv.read;
        let group = &conv.groups[self.group];
        let skip = self.pixels.start;
        let again = &lines.again[conv.groups[..self.group].iter().map(|g| g.again.len()).sum()..];
        let large = group.panels.bytes() > SECOND_LEVEL;
        for p in self.panels.clone() {
            let panel = group.panels.panel(p);
            let next = if p + 1 < self.panels.end { p + 1 } else { self.after };
            let next = group.panels.get(next).filter(|_| large);
            let at = p * 2 * D::LANES..(p + 1) * 2 * D::LANES;
            let finish = finish(Scale { bias: &group.bias[at.clone()], factors: &group.factors[at] });
            for l in self.span.clone() {
                let first = self.group * (input / groups) + l * lines.step + skip * lines.left.step;
                let left = Left { first, ..lines.left };
                let target = Target {
                    pieces: self.out,
                    at: (l * lines.len + skip) * self.out_step + self.group * group.panels.n() + panel.first,
                    step: self.out_step,
                };
                let tail = conv.runs.tail_of(lines.tails.unwrap_or_default(), l * lines.len + skip);
                let again = if D::PAIRS { group.again.of(p, again) } else { [ONCE; 2] };
                let parts = [Left { again: again[0], ..left }, Left { again: again[1], ..tail }];
                let parts = if lines.tails.is_some() { &parts[..] } else { &parts[..1] };
                let panel = panel.then(next.filter(|_| l == self.span.start));
                // SAFETY: no two blocks have pixel and panel in common.
                unsafe { rows(dot, parts, self.pixels.len(), panel, finish, target) };
            }
        }
    }
}

impl IntWork for Block<'_, u8> {
    #[inline(always)]
    fn run<D: IntDot>(self, dot: D) {
        let zero = if let Rescale::U8 { zero, .. } = self.conv.rescale { zero } else { 0 };
        let wild = self.conv.wild;
        self.compute(dot, |scale| Bytes { scale, zero, wild });
    }
}

impl IntWork for Block<'_, f32> {
    #[inline(always)]
    fn run<D: IntDot>(self, dot: D) {
        let least = self.conv.rescale.least();
        self.compute(dot, |scale| Reals { scale, least });
    }
}
