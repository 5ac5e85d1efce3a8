//! Convolution of channels-last u8 maps with i8 weights; see [the definition](super).
//!
//! 1. The inputs of an output pixel are gathered into one row of bytes, a run of channels for each kernel row where the
//!    map allows it; padding becomes the zero point, so the inner loop knows no borders.
//! 2. Four pixels at a time meet each output's weights ([`Dot`]), which then stay in the first-level cache.

use rayon::prelude::*;

use super::dot::{BLOCK, Dot, PIXELS};

/// The numbers of a convolution. Kernel, step and padding are the same in both directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Channels of the input.
    pub input: usize,
    /// Channels of the output.
    pub output: usize,
    /// Side of the kernel.
    pub kernel: usize,
    /// Pixels between outputs.
    pub stride: usize,
    /// Zero points around the map.
    pub pad: usize,
    /// Groups that channels are divided into; outputs of a group see only its inputs.
    pub groups: usize,
}

impl ConvShape {
    /// Output pixels along a side of `len` pixels; none if the kernel is longer than the padded side.
    pub fn out_len(&self, len: usize) -> usize {
        (len + 2 * self.pad).checked_sub(self.kernel).map_or(0, |n| n / self.stride + 1)
    }

    /// Inputs that one output sees.
    pub fn window(&self) -> usize {
        self.input / self.groups * self.kernel * self.kernel
    }
}

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
    /// One row for each output: kernel row, kernel column, channel; zeros up to a multiple of [`BLOCK`].
    rows: Vec<i8>,
    /// With the input's zero points multiplied in.
    bias: Vec<i32>,
    /// Zero points of the input's channels.
    zeros: Vec<u8>,
    rescale: Rescale,
}

/// Memory that layers work in, kept from run to run.
#[derive(Debug, Clone, Default)]
pub struct QuantScratch(Vec<u8>);

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
        let (inputs, window) = (input / groups, shape.window());
        let padded = window.next_multiple_of(BLOCK);
        let mut rows = vec![0i8; output * padded];
        let mut folded = Vec::with_capacity(output);
        for (o, (row, weight)) in rows.chunks_exact_mut(padded).zip(weight.chunks_exact(window)).enumerate() {
            let zeros = &zeros[o / (output / groups) * inputs..][..inputs];
            let (mut shift, mut most) = (0i64, i64::from(bias[o]).abs());
            for (i, w) in weight.iter().enumerate() {
                let (channel, place) = (i / (kernel * kernel), i % (kernel * kernel));
                row[place * inputs + channel] = *w;
                shift += i64::from(*w) * i64::from(zeros[channel]);
                most += i64::from(*w).abs() * 255;
            }
            // However inputs and zero points fall, the sum and the folded bias lie within twice this.
            assert!(most < 1 << 30, "sums of {shape:?} could leave i32");
            folded.push((i64::from(bias[o]) - shift) as i32);
        }
        Self { shape, dot, rows, bias: folded, zeros: zeros.to_vec(), rescale }
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
        let padded = self.pad(x, rows, cols, scratch);
        match (out, &self.rescale) {
            (Out::U8(out), Rescale::U8 { factors, zero }) => {
                assert_eq!(out.len(), out_rows * row_len, "the result of {rows}×{cols} for {:?}", self.shape);
                let zero = f32::from(*zero);
                // Both steps are exact: the rounded number is whole, and adding the zero point only matters inside 0..=255.
                let to =
                    |sum: i32, o: usize| ((sum as f32 * factors[o]).round_ties_even() + zero).clamp(0.0, 255.0) as u8;
                self.rows(padded, cols, out, row_len, to);
            }
            (Out::F32(out), Rescale::F32 { factors, relu }) => {
                assert_eq!(out.len(), out_rows * row_len, "the result of {rows}×{cols} for {:?}", self.shape);
                let least = if *relu { 0.0 } else { f32::NEG_INFINITY };
                self.rows(padded, cols, out, row_len, |sum, o| (sum as f32 * factors[o]).max(least));
            }
            _ => panic!("a result of the other kind than the layer's"),
        }
    }

    /// The map with its border of zero points; the map itself if there is none.
    fn pad<'a>(&self, x: &'a [u8], rows: usize, cols: usize, scratch: &'a mut QuantScratch) -> &'a [u8] {
        let ConvShape { input, pad, .. } = self.shape;
        if pad == 0 {
            return x;
        }
        let wide = (cols + 2 * pad) * input;
        let padded = &mut scratch.0;
        padded.clear();
        padded.extend(self.zeros.iter().cycle().take(wide * (rows + 2 * pad)));
        if x.is_empty() {
            return padded;
        }
        for (row, x) in padded[pad * wide..].chunks_exact_mut(wide).zip(x.chunks_exact(cols * input)) {
            row[pad * input..][..x.len()].copy_from_slice(x);
        }
        padded
    }

    /// All outputs, row by row; `to` makes an output of a sum.
    fn rows<T: Send>(&self, x: &[u8], cols: usize, out: &mut [T], row_len: usize, to: impl Fn(i32, usize) -> T + Sync) {
        let ConvShape { input, output, kernel, stride, pad, groups } = self.shape;
        let (inputs, outputs) = (input / groups, output / groups);
        let wide = (cols + 2 * pad) * input;
        let padded = self.shape.window().next_multiple_of(BLOCK);
        // A fully connected layer has a single long row: it is cut into runs of pixels instead.
        let run = (row_len / output.max(1)).clamp(1, 64);
        let mut pieces: Vec<(usize, usize, &mut [T])> = Vec::new();
        for (row, out) in out.chunks_exact_mut(row_len.max(1)).enumerate() {
            pieces.extend(out.chunks_mut(run * output).enumerate().map(|(i, out)| (row, i * run, out)));
        }
        pieces.into_par_iter().for_each_init(
            || vec![0u8; PIXELS * padded],
            |patches, (row, first, out)| {
                for (at, out) in out.chunks_mut(PIXELS * output).enumerate() {
                    let pixels = out.len() / output;
                    for group in 0..groups {
                        for (p, patch) in patches.chunks_exact_mut(padded).take(pixels).enumerate() {
                            let corner =
                                row * stride * wide + (first + at * PIXELS + p) * stride * input + group * inputs;
                            gather(&x[corner..], wide, input, inputs, kernel, patch);
                        }
                        for o in group * outputs..(group + 1) * outputs {
                            let sums = self.dot.four(patches, &self.rows[o * padded..][..padded]);
                            for (p, sum) in sums.into_iter().take(pixels).enumerate() {
                                // Fits: the constructor has bounded every sum.
                                out[p * output + o] = to(sum.wrapping_add(self.bias[o]), o);
                            }
                        }
                    }
                }
            },
        );
    }
}

/// The inputs of one output pixel in a row; `x` begins at the window's corner.
fn gather(x: &[u8], wide: usize, input: usize, inputs: usize, kernel: usize, patch: &mut [u8]) {
    let run = kernel * inputs;
    for (ky, to) in patch.chunks_exact_mut(run).take(kernel).enumerate() {
        if input == inputs {
            to.copy_from_slice(&x[ky * wide..][..run]);
        } else {
            for (kx, to) in to.chunks_exact_mut(inputs).enumerate() {
                to.copy_from_slice(&x[ky * wide + kx * input..][..inputs]);
            }
        }
    }
}
