//! Convolution of channels-last u8 maps with i8 weights; see [the definition](super).
//!
//! The same tiles as in f32 ([`tile`](crate::kernels::tile)): output pixels of a row are rows of a product, read straight
//! from the map, in runs of what a row of the kernel covers, four bytes at a time. A run that is no multiple of four reads
//! on into the next pixel and meets zero weights there. The map is copied only to give it a border of zero points.

use std::marker::PhantomData;

use rayon::prelude::*;

use super::dot::{Dot, IntDot, IntWork, Scaled};
use crate::kernels::ConvShape;
use crate::kernels::tile::{Finish, Left, Panels, rows};

/// What becomes of the sums.
#[derive(Debug, Clone, PartialEq)]
pub enum Rescale {
    /// Quantised again, for the next integer layer.
    U8 {
        /// `input scale · weight scale / output scale` for each output.
        factors: Vec<f32>,
        /// The output's zero point.
        zero: u8,
    },
    /// Real numbers, for whatever is not an integer layer.
    F32 {
        /// `input scale · weight scale` for each output.
        factors: Vec<f32>,
        /// Whether a ReLU follows.
        relu: bool,
    },
}

impl Rescale {
    fn factors(&self) -> &[f32] {
        match self {
            Self::U8 { factors, .. } | Self::F32 { factors, .. } => factors,
        }
    }
}

/// Where the results go; the kind that the layer's [`Rescale`] says.
#[derive(Debug)]
pub enum Out<'a> {
    /// Quantised.
    U8(&'a mut [u8]),
    /// Real numbers.
    F32(&'a mut [f32]),
}

/// A convolution of u8 with its weights packed.
#[derive(Debug, Clone)]
pub struct QuantConv {
    shape: ConvShape,
    dot: Dot,
    groups: Vec<Group>,
    /// Numbers of a run, a multiple of four.
    run: usize,
    /// Zero points of the input's channels.
    zeros: Vec<u8>,
    rescale: Rescale,
}

/// The outputs of a group. All is filled up to whole panels.
#[derive(Debug, Clone)]
struct Group {
    /// Along k: run, place in the run.
    panels: Panels<i8>,
    /// With the input's zero points multiplied in.
    bias: Vec<i32>,
    factors: Vec<f32>,
}

/// Numbers that products are made of at a time.
const STEP: usize = 4;

/// Memory that layers work in, kept from run to run.
#[derive(Debug, Clone, Default)]
pub struct QuantScratch {
    map: Vec<u8>,
    runs: Vec<usize>,
}

impl QuantConv {
    /// Packs a convolution. `weight` is `[output, input / groups, kernel, kernel]`, `bias` one sum for each output, `zeros`
    /// one zero point for each input channel.
    ///
    /// # Panics
    ///
    /// If a slice has another length than the shape says, the groups do not divide the channels, or sums could leave i32.
    pub fn new(dot: Dot, shape: ConvShape, weight: &[i8], bias: &[i32], zeros: &[u8], rescale: Rescale) -> Self {
        let ConvShape { input, output, kernel, groups, .. } = shape;
        assert!(groups > 0 && input.is_multiple_of(groups) && output.is_multiple_of(groups), "groups of {shape:?}");
        assert_eq!(weight.len(), output * shape.window(), "weights of {shape:?}");
        assert_eq!((bias.len(), zeros.len()), (output, input), "biases and zero points of {shape:?}");
        assert_eq!(rescale.factors().len(), output, "factors of {shape:?}");
        let (inputs, outputs, window) = (input / groups, output / groups, shape.window());
        // What is contiguous in the map: a row of the kernel, or with groups only the group's part of a pixel.
        let contiguous = if groups == 1 { kernel * inputs } else { inputs };
        let (run, (width, offset)) = (contiguous.next_multiple_of(STEP), dot.panel());
        let runs = kernel * kernel * inputs / contiguous.max(1);
        let filled = outputs.next_multiple_of(width);
        let mut packed = Vec::with_capacity(groups);
        for (g, weight) in weight.chunks_exact((outputs * window).max(1)).enumerate() {
            let zeros = &zeros[g * inputs..][..inputs];
            let mut panels = Panels::zeros(width, STEP, runs * run, outputs);
            let (mut folded, mut factors) = (vec![0i32; filled], vec![0f32; filled]);
            factors[..outputs].copy_from_slice(&rescale.factors()[g * outputs..][..outputs]);
            for (o, weight) in weight.chunks_exact(window).enumerate() {
                let bias = bias[g * outputs + o];
                let (mut shift, mut most) = (0i64, i64::from(bias).abs());
                for (i, w) in weight.iter().enumerate() {
                    let (channel, place) = (i / (kernel * kernel), i % (kernel * kernel));
                    let k = place * inputs + channel;
                    *panels.at_mut(k / contiguous * run + k % contiguous, o) = *w;
                    shift += i64::from(*w) * (i64::from(zeros[channel]) - i64::from(offset));
                    most += i64::from(*w).abs() * 255;
                }
                // However inputs and zero points fall, the sum and the folded bias lie within twice this.
                assert!(most < 1 << 30, "sums of {shape:?} could leave i32");
                folded[o] = (i64::from(bias) - shift) as i32;
            }
            packed.push(Group { panels, bias: folded, factors });
        }
        Self { shape, dot, groups: packed, run, zeros: zeros.to_vec(), rescale }
    }

    /// Its numbers.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// Convolves a map of `rows`×`cols` pixels on the current rayon pool.
    ///
    /// # Panics
    ///
    /// If `x` or `out` has another length than the sizes say, or `out` is of the other kind than [`Rescale`] says.
    pub fn run(&self, x: &[u8], rows: usize, cols: usize, scratch: &mut QuantScratch, out: Out) {
        let (out_rows, out_cols) = (self.shape.out_len(rows), self.shape.out_len(cols));
        let row_len = out_cols * self.shape.output;
        assert_eq!(x.len(), rows * cols * self.shape.input, "a map of {rows}×{cols} for {:?}", self.shape);
        match (out, &self.rescale) {
            (Out::U8(out), Rescale::U8 { zero, .. }) => {
                assert_eq!(out.len(), out_rows * row_len, "the result of {rows}×{cols} for {:?}", self.shape);
                self.lines::<u8>(x, rows, cols, scratch, f32::from(*zero), out);
            }
            (Out::F32(out), Rescale::F32 { relu, .. }) => {
                assert_eq!(out.len(), out_rows * row_len, "the result of {rows}×{cols} for {:?}", self.shape);
                let least = if *relu { 0.0 } else { f32::NEG_INFINITY };
                self.lines::<f32>(x, rows, cols, scratch, least, out);
            }
            _ => panic!("a result of the other kind than the layer's"),
        }
    }

    /// The map with its border of zero points, and room for the last run to read on; the map itself if it needs neither.
    fn pad<'a>(&self, x: &'a [u8], rows: usize, cols: usize, padded: &'a mut Vec<u8>) -> &'a [u8] {
        let ConvShape { input, pad, groups, kernel, .. } = self.shape;
        let beyond = self.run - if groups == 1 { kernel * input } else { input / groups };
        if (pad == 0 && beyond == 0) || x.is_empty() {
            return x;
        }
        let wide = (cols + 2 * pad) * input;
        let border = |out: &mut [u8]| out.iter_mut().zip(self.zeros.iter().cycle()).for_each(|(out, z)| *out = *z);
        padded.resize(wide * (rows + 2 * pad) + beyond, 0);
        padded.par_chunks_mut(wide).enumerate().for_each(|(r, out)| match r.checked_sub(pad) {
            Some(r) if r < rows => {
                border(&mut out[..pad * input]);
                out[pad * input..][..cols * input].copy_from_slice(&x[r * cols * input..][..cols * input]);
                border(&mut out[(pad + cols) * input..]);
            }
            _ => border(out),
        });
        padded
    }

    /// All outputs, in bands of lines. A line is a row of pixels; of a 1×1 convolution, as many pixels as we like.
    fn lines<T: Send + Sync>(
        &self,
        x: &[u8],
        rows: usize,
        cols: usize,
        scratch: &mut QuantScratch,
        limit: f32,
        out: &mut [T],
    ) where
        for<'a> Band<'a, T>: IntWork,
    {
        let ConvShape { input, output, kernel, stride, pad, groups } = self.shape;
        if out.is_empty() {
            return;
        }
        let QuantScratch { map, runs } = scratch;
        let x = self.pad(x, rows, cols, map);
        let wide = (cols + 2 * pad) * input;
        runs.clear();
        match groups {
            1 => runs.extend((0..kernel).map(|row| row * wide)),
            _ => runs.extend((0..kernel * kernel).map(|tap| tap / kernel * wide + tap % kernel * input)),
        }
        let left = Left { data: x, step: stride * input, runs, run: self.run };
        let flat = kernel == 1 && stride == 1 && pad == 0;
        let line = if flat { 64 } else { self.shape.out_len(cols) };
        let between_lines = if flat { line * input } else { stride * wide };
        let lines = out.len().div_ceil(line * output);
        let bytes: usize = self.groups.iter().map(|g| g.panels.bytes()).sum();
        let band = if bytes <= SMALL { 1 } else { lines.div_ceil(4 * rayon::current_num_threads()) };
        out.par_chunks_mut(band * line * output).enumerate().for_each(|(i, out)| {
            let first = i * band * between_lines;
            self.dot.run(Band { conv: self, left: &left, line, between_lines, first, limit, out });
        });
    }
}

/// Weights up to this size, in bytes, stay in a second-level cache next to the rows they are multiplied with.
const SMALL: usize = 128 << 10;

/// Some lines of the output.
struct Band<'a, T> {
    conv: &'a QuantConv,
    left: &'a Left<'a, u8>,
    /// Pixels of a line.
    line: usize,
    /// From what the first pixel of a line reads to what that of the next reads.
    between_lines: usize,
    /// Where the first pixel begins to read.
    first: usize,
    /// The zero point of u8; the least f32.
    limit: f32,
    out: &'a mut [T],
}

impl<T: Copy> Band<'_, T> {
    #[inline(always)]
    fn compute<D: IntDot>(self, dot: D)
    where
        for<'a> Scaled<'a, T>: Finish<D, Out = T>,
    {
        let ConvShape { input, output, groups, .. } = self.conv.shape;
        for (g, group) in self.conv.groups.iter().enumerate() {
            let read = self.first + g * (input / groups);
            for p in 0..group.panels.count() {
                let panel = group.panels.panel(p);
                let at = p * 2 * D::LANES..(p + 1) * 2 * D::LANES;
                let (bias, factors) = (&group.bias[at.clone()], &group.factors[at]);
                let finish = Scaled { bias, factors, limit: self.limit, kind: PhantomData::<T> };
                for (l, out) in self.out.chunks_mut(self.line * output).enumerate() {
                    let (first, count) = (read + l * self.between_lines, out.len() / output);
                    let out = &mut out[g * group.panels.n() + panel.first..];
                    rows(dot, self.left, first, count, panel, finish, out, output);
                }
            }
        }
    }
}

impl IntWork for Band<'_, u8> {
    #[inline(always)]
    fn run<D: IntDot>(self, dot: D) {
        self.compute(dot);
    }
}

impl IntWork for Band<'_, f32> {
    #[inline(always)]
    fn run<D: IntDot>(self, dot: D) {
        self.compute(dot);
    }
}
