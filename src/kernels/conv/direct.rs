//! Convolution as its definition says, on tiles that read the map where it lies.
//!
//! Output pixels of a row are rows of a product, each `stride` pixels after the one before. What a row of the kernel
//! covers is contiguous in a channels-last map, so the sum is made of `kernel` runs, or, with groups, of kernel² shorter
//! ones. Padding is copied around the map first (nothing else is copied), so that the inner loop knows no borders.
//!
//! 1. Small weights (a first layer's) stay in the cache while the rows pass by; large ones are taken panel by panel, and
//!    all rows of a band pass by each.

use rayon::prelude::*;

use super::super::buffer::Buffer;
use super::super::choice::Kernels;
use super::super::simd::{Simd, Work};
use super::super::tile::{F32, Left, Panels, Plainly, rows};
use super::{ConvShape, Scratch, Task};

/// Weights up to this size, in bytes, stay in a second-level cache next to the rows they are multiplied with.
const SMALL: usize = 256 << 10;

/// Packed weights, group by group.
#[derive(Debug, Clone)]
pub struct Direct {
    groups: Vec<(Panels, Buffer)>,
}

impl Direct {
    /// Packs `[output, input / groups, kernel, kernel]`.
    pub fn new(kernels: Kernels, shape: ConvShape, weight: &[f32], bias: &[f32]) -> Self {
        let (outputs, inputs, side) = (shape.output / shape.groups, shape.input / shape.groups, shape.kernel);
        let groups = weight.chunks_exact(outputs * inputs * side * side).zip(bias.chunks_exact(outputs));
        let pack = |(weight, bias): (&[f32], &[f32])| {
            // Along k: kernel row, kernel column, channel.
            let panels = Panels::pack(kernels.panel_width(), 1, side * side * inputs, outputs, |k, n| {
                let (tap, channel) = (k / inputs, k % inputs);
                weight[(n * inputs + channel) * side * side + tap]
            });
            let mut padded = Buffer::zeros(panels.count() * kernels.panel_width());
            padded[..outputs].copy_from_slice(bias);
            (panels, padded)
        };
        Self { groups: groups.map(pack).collect() }
    }

    pub(super) fn run(&self, task: &Task, x: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        let shape = task.shape;
        let (x, cols) = match shape.pad {
            0 => (x, task.cols),
            pad => (padded(x, task, pad, &mut scratch.input), task.cols + 2 * pad),
        };
        let per_group = shape.input / shape.groups;
        let (side, pixel) = (shape.kernel, shape.input);
        scratch.runs.clear();
        let run = if shape.groups == 1 {
            scratch.runs.extend((0..side).map(|r| r * cols * pixel));
            side * pixel
        } else {
            scratch.runs.extend((0..side * side).map(|tap| (tap / side * cols + tap % side) * pixel));
            per_group
        };
        let left = Left { data: x, step: shape.stride * pixel, runs: &scratch.runs, run };

        // The work is cut into rows of pixels. Without a neighbourhood, the whole map is one row, cut as we like.
        let line = if side == 1 && shape.stride == 1 { 256 } else { task.out_cols };
        let lines = (task.out_rows * task.out_cols).div_ceil(line);
        let bytes: usize = self.groups.iter().map(|(panels, _)| panels.bytes()).sum();
        let band = if bytes <= SMALL { 1 } else { lines.div_ceil(4 * rayon::current_num_threads()) };
        let between_lines = if side == 1 && shape.stride == 1 { line * pixel } else { shape.stride * cols * pixel };
        let bands = out.par_chunks_mut(band * line * shape.output).enumerate();
        bands.for_each(|(i, out)| {
            let first = i * band * between_lines;
            task.kernels.run(Band { direct: self, task, left: &left, line, between_lines, first, out });
        });
    }
}

/// Some lines of the output.
struct Band<'a> {
    direct: &'a Direct,
    task: &'a Task<'a>,
    left: &'a Left<'a>,
    /// Pixels of a line.
    line: usize,
    /// From what the first pixel of a line reads to what that of the next reads.
    between_lines: usize,
    /// Where the first pixel begins to read.
    first: usize,
    out: &'a mut [f32],
}

impl Work for Band<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let shape = self.task.shape;
        for (g, (panels, bias)) in self.direct.groups.iter().enumerate() {
            let read = self.first + g * (shape.input / shape.groups);
            for p in 0..panels.count() {
                let panel = panels.panel(p);
                let bias = Some(&bias[p * 2 * S::LANES..][..2 * S::LANES]);
                let finish = Plainly { bias, accumulate: false, relu: self.task.relu };
                for (l, out) in self.out.chunks_mut(self.line * shape.output).enumerate() {
                    let (first, count) = (read + l * self.between_lines, out.len() / shape.output);
                    let out = &mut out[g * panels.n() + panel.first..];
                    rows(F32(simd), self.left, first, count, panel, finish, out, shape.output);
                }
            }
        }
    }
}

/// The map with `pad` zeros on each side.
fn padded<'a>(x: &[f32], task: &Task, pad: usize, buffer: &'a mut Buffer) -> &'a [f32] {
    let pixel = task.shape.input;
    let row = (task.cols + 2 * pad) * pixel;
    buffer.resize((task.rows + 2 * pad) * row);
    buffer.par_chunks_mut(row).enumerate().for_each(|(r, out)| match r.checked_sub(pad) {
        Some(r) if r < task.rows => {
            let (left, rest) = out.split_at_mut(pad * pixel);
            let (inside, right) = rest.split_at_mut(task.cols * pixel);
            left.fill(0.0);
            inside.copy_from_slice(&x[r * task.cols * pixel..][..task.cols * pixel]);
            right.fill(0.0);
        }
        _ => out.fill(0.0),
    });
    buffer
}
