//! Convolution of channels-last f32 maps, with bias and ReLU.
//!
//! A map is `rows`×`cols`×channels, the channels of one pixel together. Weights come as frameworks store them (output,
//! input of the group, row, column) and are packed once. Two methods, chosen per layer by what it costs:
//!
//! - [`direct`]: what the definition says, as products read straight from the map;
//! - [`winograd`]: a 3×3 convolution with 36 instead of 144 multiplications per 4×4 outputs, and the 5×5 one of step 2,
//!   which is four 3×3 ones on every other pixel.
//!
//! Numeric contract: relative to the largest output, within 1e-4 of the sum in f64 (direct: 1e-5), with bf16 within 2e-2 (direct:
//! 1e-2). `scalar` kernels are always direct. Results do not depend on the number of threads.

pub mod direct;
pub mod tiles;
pub mod winograd;

use super::bf16::Bf16;
use super::buffer::Buffer;
use super::choice::Kernels;
use super::lrn::LrnParams;
use super::normalised::Normalised;
use super::pool::{MapShape, PoolShape};
use super::real::{Number, Operands};
use direct::Direct;
use winograd::Winograd;

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
    /// Zeros around the map.
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

    /// Numbers of the weight.
    pub fn weights(&self) -> usize {
        self.output * self.input / self.groups * self.kernel * self.kernel
    }
}

/// A convolution with its packed weights.
#[derive(Debug, Clone)]
pub struct Conv {
    kernels: Kernels,
    shape: ConvShape,
    weights: Weights,
}

#[derive(Debug, Clone)]
enum Weights {
    F32(Method<f32>),
    Bf16(Method<u16>),
}

#[derive(Debug, Clone)]
enum Method<T: Number> {
    Direct(Direct<T>),
    Winograd(Winograd<T>),
}

/// Memory that convolutions work in; kept between runs, shared by all layers that run one after the other.
#[derive(Debug, Clone, Default)]
pub struct Scratch {
    /// The input with its padding, or transformed.
    operands: Operands,
    /// Products of transformed values, or lines that wait for being pooled.
    products: Buffer,
    /// Places of runs.
    runs: Vec<usize>,
}

impl Conv {
    /// Packs a convolution. `weight` is `[output, input / groups, kernel, kernel]`, `bias` one number per output. With `bf16`,
    /// weights and inputs are rounded to that, but for kernels of one pixel: those are a network's outputs, and take no time.
    ///
    /// # Panics
    ///
    /// If a slice has another length than the shape says, or the groups do not divide the channels.
    pub fn new(kernels: Kernels, shape: ConvShape, weight: &[f32], bias: &[f32], bf16: Option<Bf16>) -> Self {
        let winograd = kernels != Kernels::scalar() && tiles::supports(&shape);
        Self::with_method(kernels, shape, weight, bias, bf16.filter(|_| shape.kernel > 1), winograd)
    }

    fn with_method(
        kernels: Kernels,
        shape: ConvShape,
        weight: &[f32],
        bias: &[f32],
        bf16: Option<Bf16>,
        winograd: bool,
    ) -> Self {
        assert!(
            shape.groups > 0 && shape.input.is_multiple_of(shape.groups) && shape.output.is_multiple_of(shape.groups)
        );
        assert_eq!((weight.len(), bias.len()), (shape.weights(), shape.output), "weights and biases of {shape:?}");
        let weights = match bf16 {
            None => Weights::F32(Method::new(kernels, shape, weight, bias, winograd)),
            Some(bf16) => Weights::Bf16(Method::new(bf16, shape, weight, bias, winograd)),
        };
        Self { kernels, shape, weights }
    }

    /// Its numbers.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// How it is computed, for logs.
    pub fn method(&self) -> &'static str {
        match &self.weights {
            Weights::F32(Method::Direct(_)) => "direct",
            Weights::F32(Method::Winograd(_)) => "winograd",
            Weights::Bf16(Method::Direct(_)) => "direct, bf16",
            Weights::Bf16(Method::Winograd(_)) => "winograd, bf16",
        }
    }

    /// Convolves a map of `rows`×`cols` pixels into `out`, on the current team. `relu`: negative results become zero.
    ///
    /// # Panics
    ///
    /// If `x` or `out` has another length than the sizes say.
    pub fn run(&self, x: &[f32], rows: usize, cols: usize, relu: bool, scratch: &mut Scratch, out: &mut [f32]) {
        let (out_rows, out_cols) = (self.shape.out_len(rows), self.shape.out_len(cols));
        assert_eq!(x.len(), rows * cols * self.shape.input, "a map of {rows}×{cols} for {:?}", self.shape);
        assert_eq!(
            out.len(),
            out_rows * out_cols * self.shape.output,
            "the result of {rows}×{cols} for {:?}",
            self.shape
        );
        if out.is_empty() {
            return;
        }
        let task = Task { kernels: self.kernels, shape: &self.shape, rows, cols, out_rows, out_cols, relu };
        match &self.weights {
            Weights::F32(method) => method.run(&task, x, scratch, out),
            Weights::Bf16(method) => method.run(&task, x, scratch, out),
        }
    }
}

impl Conv {
    /// Whether [`run_pooled`](Self::run_pooled) is possible: a convolution with few weights and many outputs gains by it.
    pub fn pools(&self) -> bool {
        match &self.weights {
            Weights::F32(method) => method.pools(&self.shape),
            Weights::Bf16(method) => method.pools(&self.shape),
        }
    }

    /// Whether [`run_pooled`](Self::run_pooled) can do this LRN before the pooling.
    pub fn normalises(lrn: &LrnParams, pool: &PoolShape) -> bool {
        Normalised::supports(lrn, pool)
    }

    /// [`run`](Self::run), LRN if there is one, and max pooling in one: each line is pooled while it is in the cache, and the
    /// maps between, the largest of a network, do not exist. `to` is the shape of the result.
    ///
    /// # Panics
    ///
    /// As `run` and [`max_pool`](super::max_pool) do, and if this convolution does not [pool](Self::pools).
    #[allow(clippy::too_many_arguments, reason = "a convolution's, and two of the pooling")]
    pub fn run_pooled(
        &self,
        x: &[f32],
        rows: usize,
        cols: usize,
        relu: bool,
        (lrn, pool): (Option<LrnParams>, PoolShape),
        scratch: &mut Scratch,
        out: &mut [f32],
        to: MapShape,
    ) {
        let (out_rows, out_cols) = (self.shape.out_len(rows), self.shape.out_len(cols));
        assert_eq!(x.len(), rows * cols * self.shape.input, "a map of {rows}×{cols} for {:?}", self.shape);
        assert_eq!(out.len(), to.iter().product::<usize>(), "the result {to:?}");
        pool.check([out_rows, out_cols, self.shape.output], to);
        let task = Task { kernels: self.kernels, shape: &self.shape, rows, cols, out_rows, out_cols, relu };
        assert!(self.pools(), "{:?} and pooling in one", self.shape);
        match &self.weights {
            Weights::F32(method) => method.run_pooled(&task, x, (lrn, pool), scratch, out, to[1]),
            Weights::Bf16(method) => method.run_pooled(&task, x, (lrn, pool), scratch, out, to[1]),
        }
    }
}

impl<T: Number> Method<T> {
    fn new(set: T::Set, shape: ConvShape, weight: &[f32], bias: &[f32], winograd: bool) -> Self {
        match winograd {
            true => Self::Winograd(Winograd::new(set, shape, weight, bias)),
            false => Self::Direct(Direct::new(set, shape, weight, bias)),
        }
    }

    fn pools(&self, shape: &ConvShape) -> bool {
        matches!(self, Self::Direct(direct) if direct.pools(shape))
    }

    fn run(&self, task: &Task, x: &[f32], scratch: &mut Scratch, out: &mut [f32]) {
        match self {
            Self::Direct(direct) => direct.run(task, x, scratch, out),
            Self::Winograd(winograd) => winograd.run(task, x, scratch, out),
        }
    }

    fn run_pooled(
        &self,
        task: &Task,
        x: &[f32],
        (lrn, pool): (Option<LrnParams>, PoolShape),
        scratch: &mut Scratch,
        out: &mut [f32],
        out_cols: usize,
    ) {
        match (self, lrn) {
            (Self::Direct(direct), None) => direct.run_pooled(task, x, pool, scratch, out, out_cols),
            (Self::Direct(direct), Some(lrn)) => direct.run_normalised(task, x, lrn, pool, scratch, out, out_cols),
            (Self::Winograd(_), _) => unreachable!("only a direct convolution pools"),
        }
    }
}

/// One run: what both methods want to know.
#[derive(Debug, Clone, Copy)]
struct Task<'a> {
    kernels: Kernels,
    shape: &'a ConvShape,
    rows: usize,
    cols: usize,
    out_rows: usize,
    out_cols: usize,
    relu: bool,
}

#[cfg(test)]
mod tests;
