//! Convolution as its definition says, on tiles that read the map where it lies.
//!
//! Output pixels of a row are rows of a product, each `stride` pixels after the one before. What a row of the kernel
//! covers is contiguous in a channels-last map, so the sum is made of `kernel` runs, or, with groups, of kernel² shorter
//! ones. Padding is copied around the map first, so that the inner loop knows no borders; nothing else is copied, unless
//! numbers are rounded on the way.
//!
//! 1. Small weights (a first layer's) stay in the cache while the rows pass by; large ones are taken panel by panel, and
//!    all rows of a band pass by each.
//! 2. Max pooling after a convolution with small weights takes its lines from the cache: the 58 MB between conv1 and pool1
//!    of ZF at 600×1000 are never written. With an LRN between them they would be written twice (`normalised`).
#![allow(unsafe_code)]

use super::super::buffer::Buffer;
use super::super::lrn::LrnParams;
use super::super::normalised::Normalised;
use super::super::pool::{PoolLines, PoolShape, pool_lines};
use super::super::real::{Number, Operands, Real, RealWork};
use super::super::team::{self, Pieces};
use super::super::tile::{Left, ONCE, Panels, Plainly, SECOND_LEVEL, Target, rows};
use super::{ConvShape, Scratch, Task};

/// Bands of lines for each thread.
const BANDS: usize = 3;

/// Packed weights, group by group.
#[derive(Debug, Clone)]
pub struct Direct<T: Number = f32> {
    set: T::Set,
    groups: Vec<(Panels<T>, Buffer)>,
}

/// Contiguous pieces of a map that an output sees: how many, and how long each is.
#[derive(Debug, Clone, Copy)]
struct Runs {
    count: usize,
    len: usize,
}

impl Runs {
    fn of(shape: &ConvShape) -> Self {
        match shape.groups {
            1 => Self { count: shape.kernel, len: shape.kernel * shape.input },
            groups => Self { count: shape.kernel * shape.kernel, len: shape.input / groups },
        }
    }

    /// Numbers of a run that are multiplied. Those after its end, of the next pixels, meet zeros.
    fn whole<T: Number>(self, set: T::Set) -> usize {
        self.len.next_multiple_of(T::run_step(set))
    }
}

impl<T: Number> Direct<T> {
    /// Packs `[output, input / groups, kernel, kernel]`.
    pub fn new(set: T::Set, shape: ConvShape, weight: &[f32], bias: &[f32]) -> Self {
        let (outputs, inputs, side) = (shape.output / shape.groups, shape.input / shape.groups, shape.kernel);
        let (runs, width) = (Runs::of(&shape), T::panel_width(set));
        let whole = runs.whole::<T>(set);
        let groups = weight.chunks_exact(outputs * inputs * side * side).zip(bias.chunks_exact(outputs));
        let pack = |(weight, bias): (&[f32], &[f32])| {
            // Along k: kernel row, kernel column, channel.
            let panels = Panels::pack(width, T::STEP, runs.count * whole, outputs, |k, n| {
                let (run, i) = (k / whole, k % whole);
                if i >= runs.len {
                    return T::nearest(0.0);
                }
                let (tap, channel) = ((run * runs.len + i) / inputs, (run * runs.len + i) % inputs);
                T::nearest(weight[(n * inputs + channel) * side * side + tap])
            });
            let mut padded = Buffer::zeros(panels.count() * width);
            padded[..outputs].copy_from_slice(bias);
            (panels, padded)
        };
        Self { set, groups: groups.map(pack).collect() }
    }

    pub(super) fn run(&self, task: &Task, x: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        let shape = task.shape;
        let Scratch { operands, runs, .. } = scratch;
        let (left, between_lines) = self.left(task, x, operands, runs);
        // The work is cut into rows of pixels. Without a neighbourhood, the whole map is one row, cut as we like.
        let flat = is_flat(shape);
        let line = if flat { 256 } else { task.out_cols };
        let between_lines = if flat { line * shape.input } else { between_lines };
        let lines = (task.out_rows * task.out_cols).div_ceil(line);
        let band = if self.bytes() <= SECOND_LEVEL { 1 } else { lines.div_ceil(4 * team::threads()) };
        team::for_each_chunk(out, band * line * shape.output, |i, out| {
            let first = i * band * between_lines;
            T::run(self.set, Band { direct: self, task, left: &left, line, between_lines, first, out });
        });
    }

    pub(super) fn pools(&self, shape: &ConvShape) -> bool {
        self.bytes() <= SECOND_LEVEL && !is_flat(shape)
    }

    pub(super) fn run_pooled(
        &self,
        task: &Task,
        x: &[f32],
        pool: PoolShape,
        scratch: &mut Scratch,
        out: &mut [f32],
        out_cols: usize,
    ) {
        let Scratch { operands, runs, products } = scratch;
        let (left, between_lines) = self.left(task, x, operands, runs);
        let row = out_cols * task.shape.output;
        if out.is_empty() {
            return;
        }
        // Where two bands meet, lines are computed twice: few bands, but enough to share out.
        let rows = out.len() / row;
        let bands = (BANDS * team::threads()).min(rows);
        let ring = pool.kernel * task.out_cols * task.shape.output;
        products.resize(bands * ring);
        let (rings, pieces) = (Pieces::new(products), Pieces::new(out));
        team::for_each(bands, |i| {
            let (first, end) = (rows * i / bands, rows * (i + 1) / bands);
            // SAFETY: each band has rows and a ring of its own.
            let (out, ring) = unsafe { (pieces.take(first * row..end * row), rings.take(i * ring..(i + 1) * ring)) };
            let left = &left;
            T::run(self.set, PooledBand { direct: self, task, left, between_lines, pool, first, row, ring, out });
        });
    }

    #[allow(clippy::too_many_arguments, reason = "those of `run_pooled`, and the LRN")]
    pub(super) fn run_normalised(
        &self,
        task: &Task,
        x: &[f32],
        lrn: LrnParams,
        pool: PoolShape,
        scratch: &mut Scratch,
        out: &mut [f32],
        out_cols: usize,
    ) {
        let Scratch { operands, runs, products } = scratch;
        let (left, between_lines) = self.left(task, x, operands, runs);
        let channels = task.shape.output;
        let (row, line) = (out_cols * channels, task.out_cols * channels);
        if out.is_empty() {
            return;
        }
        let layers = Normalised { lrn, pool, lines: task.out_rows, line, channels };
        let (rows, memory) = (out.len() / row, layers.memory());
        let bands = (BANDS * team::threads()).min(rows);
        products.resize(bands * memory);
        let (rings, pieces) = (Pieces::new(products), Pieces::new(out));
        team::for_each(bands, |i| {
            let band = rows * i / bands..rows * (i + 1) / bands;
            // SAFETY: each band has rings of its own.
            let memory = unsafe { rings.take(i * memory..(i + 1) * memory) };
            let convolve = |l: usize, out: &mut [f32]| {
                let (line, first) = (task.out_cols, l * between_lines);
                T::run(self.set, Band { direct: self, task, left: &left, line, between_lines, first, out });
            };
            let finish = |r: usize, lines: &[&[f32]]| {
                // SAFETY: each band has rows of its own.
                let out = unsafe { pieces.take(r * row..(r + 1) * row) };
                task.kernels.run(PoolLines { pool, lines, channels, out });
            };
            layers.rows(task.kernels, memory, band, convolve, finish);
        });
    }

    /// The left factor that a line of outputs reads, and how far the next line's is from it.
    fn left<'a>(
        &self,
        task: &Task,
        x: &'a [f32],
        operands: &'a mut Operands,
        runs: &'a mut Vec<usize>,
    ) -> (Left<'a, T>, usize) {
        let shape = task.shape;
        let (pixel, side, cols) = (shape.input, shape.kernel, task.cols + 2 * shape.pad);
        let covered = Runs::of(shape);
        let run = covered.whole::<T>(self.set);
        let data = match T::as_it_is(x) {
            Some(x) if shape.pad == 0 => x,
            _ => padded(x, task, run - covered.len, T::buffer(operands)),
        };
        runs.clear();
        if shape.groups == 1 {
            runs.extend((0..side).map(|r| r * cols * pixel));
        } else {
            runs.extend((0..side * side).map(|tap| (tap / side * cols + tap % side) * pixel));
        }
        (Left { data, first: 0, step: shape.stride * pixel, runs, run, again: ONCE }, shape.stride * cols * pixel)
    }

    fn bytes(&self) -> usize {
        self.groups.iter().map(|(panels, _)| panels.bytes()).sum()
    }
}

/// Whether outputs see no neighbours and pixels follow each other: then rows of pixels do not matter.
fn is_flat(shape: &ConvShape) -> bool {
    (shape.kernel, shape.stride, shape.pad) == (1, 1, 0)
}

/// Some lines of the output.
struct Band<'a, T: Number> {
    direct: &'a Direct<T>,
    task: &'a Task<'a>,
    left: &'a Left<'a, T>,
    /// Pixels of a line.
    line: usize,
    /// From what the first pixel of a line reads to what that of the next reads.
    between_lines: usize,
    /// Where the first pixel begins to read.
    first: usize,
    out: &'a mut [f32],
}

impl<T: Number> RealWork<T> for Band<'_, T> {
    #[inline(always)]
    fn run<D: Real<Input = T, Weight = T>>(self, dot: D) {
        let (shape, large) = (self.task.shape, self.direct.bytes() > SECOND_LEVEL);
        for (g, (panels, bias)) in self.direct.groups.iter().enumerate() {
            let read = self.first + g * (shape.input / shape.groups);
            for p in 0..panels.count() {
                let (panel, next) = (panels.panel(p), panels.get(p + 1).filter(|_| large));
                let bias = Some(&bias[p * 2 * D::LANES..][..2 * D::LANES]);
                let finish = Plainly { bias, accumulate: false, relu: self.task.relu };
                for (l, out) in self.out.chunks_mut(self.line * shape.output).enumerate() {
                    let (first, count) = (read + l * self.between_lines, out.len() / shape.output);
                    let left = Left { first, ..*self.left };
                    let pieces = Pieces::new(out);
                    let target = Target { pieces: &pieces, at: g * panels.n() + panel.first, step: shape.output };
                    let panel = panel.then(next.filter(|_| l == 0));
                    // SAFETY: `out` is borrowed mutably.
                    unsafe { rows(dot, &[left], count, panel, finish, target) };
                }
            }
        }
    }
}

/// Some rows of the output of convolution and pooling.
struct PooledBand<'a, T: Number> {
    direct: &'a Direct<T>,
    task: &'a Task<'a>,
    left: &'a Left<'a, T>,
    between_lines: usize,
    pool: PoolShape,
    /// First row, and numbers of a row.
    first: usize,
    row: usize,
    /// The last lines of the convolution, line `l` at place `l` modulo the side of a window.
    ring: &'a mut [f32],
    out: &'a mut [f32],
}

impl<T: Number> RealWork<T> for PooledBand<'_, T> {
    #[inline(always)]
    fn run<D: Real<Input = T, Weight = T>>(self, dot: D) {
        let Self { direct, task, left, between_lines, pool, .. } = self;
        let line = task.out_cols * task.shape.output;
        let mut ready = 0;
        for (i, out) in self.out.chunks_exact_mut(self.row).enumerate() {
            let window = pool.inside(self.first + i, task.out_rows);
            for l in window.start.max(ready)..window.end {
                let out = &mut self.ring[l % pool.kernel * line..][..line];
                let first = l * between_lines;
                Band { direct, task, left, line: task.out_cols, between_lines, first, out }.run(dot);
            }
            ready = window.end;
            let ring = &*self.ring;
            let lines = window.map(|l| &ring[l % pool.kernel * line..][..line]);
            pool_lines(dot.simd(), pool, lines, task.shape.output, out);
        }
    }
}

/// The map with its padding, and as many numbers more as runs are longer than what they cover.
fn padded<'a, T: Number>(x: &[f32], task: &Task, more: usize, buffer: &'a mut Buffer<T>) -> &'a [T] {
    let (pad, pixel, zero) = (task.shape.pad, task.shape.input, T::nearest(0.0));
    let row = (task.cols + 2 * pad) * pixel;
    let len = (task.rows + 2 * pad) * row;
    buffer.resize(len + more);
    let (map, beyond) = buffer.split_at_mut(len);
    beyond.fill(zero);
    team::for_each_chunk(map, row, |r, out| match r.checked_sub(pad) {
        Some(r) if r < task.rows => {
            let (left, rest) = out.split_at_mut(pad * pixel);
            let (inside, right) = rest.split_at_mut(task.cols * pixel);
            left.fill(zero);
            T::convert(task.kernels, &x[r * task.cols * pixel..][..task.cols * pixel], inside);
            right.fill(zero);
        }
        _ => out.fill(zero),
    });
    buffer
}
