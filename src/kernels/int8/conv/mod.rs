//! Convolution of channels-last u8 maps with i8 weights; see [the definition](super).
//!
//! Two methods, which give the same bits:
//!
//! - [`direct`]: what the definition says, as products read straight from the map;
//! - [`winograd`]: a 3×3 convolution with 36 instead of 144 multiplications per 4×4 outputs, and the 5×5 one of step 2. Its
//!   numbers take 16 bits, so it is for instructions that multiply those at least half as fast as bytes, and its weights take
//!   eight times as many bytes, so it is for maps that are not small.

mod direct;
mod normalised;
mod pack;
mod pooled;
mod tail;
mod winograd;

pub use normalised::Between;

use super::dot::Dot;
use crate::kernels::ConvShape;
use crate::kernels::Kernels;
use crate::kernels::buffer::Buffer;
use crate::kernels::pool::PoolShape;
use direct::Direct;
use winograd::Winograd;

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

    /// The least that real results may be.
    fn least(&self) -> f32 {
        if matches!(self, Self::F32 { relu: true, .. }) { 0.0 } else { f32::NEG_INFINITY }
    }

    /// Whether scaled sums, which lie within 2³¹, may lie outside of i32.
    fn wild(&self) -> bool {
        self.factors().iter().any(|f| f.abs() >= 0.5)
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

/// Memory that layers work in, kept from run to run.
#[derive(Debug, Clone, Default)]
pub struct QuantScratch {
    /// Lines of the cache: instructions that read 64 bytes are slower across two of them.
    map: Buffer<u8>,
    runs: Vec<usize>,
    /// Places of steps that are done again.
    again: Vec<usize>,
    /// What is left over of the runs.
    tails: Vec<u8>,
    /// Lines that wait for being pooled.
    lines: Vec<u8>,
    reals: Vec<f32>,
    /// Transformed inputs, and sums of their products.
    words: Buffer<i16>,
    products: Buffer<i32>,
}

/// A convolution of u8 with its weights packed.
#[derive(Debug, Clone)]
pub struct QuantConv {
    shape: ConvShape,
    method: Method,
}

#[derive(Debug, Clone)]
enum Method {
    Direct(Direct),
    /// And the direct one for small maps.
    Winograd(Winograd, Direct),
}

impl QuantConv {
    /// Packs a convolution. `weight` is `[output, input / groups, kernel, kernel]`, `bias` one sum for each output, `zeros`
    /// one zero point for each input channel.
    ///
    /// # Panics
    ///
    /// If a slice has another length than the shape says, the groups do not divide the channels, or sums could leave i32.
    pub fn new(dot: Dot, shape: ConvShape, weight: &[i8], bias: &[i32], zeros: &[u8], rescale: Rescale) -> Self {
        let ConvShape { input, output, groups, .. } = shape;
        assert!(groups > 0 && input.is_multiple_of(groups) && output.is_multiple_of(groups), "groups of {shape:?}");
        assert_eq!(weight.len(), output * shape.window(), "weights of {shape:?}");
        assert_eq!((bias.len(), zeros.len()), (output, input), "biases and zero points of {shape:?}");
        assert_eq!(rescale.factors().len(), output, "factors of {shape:?}");
        let direct = Direct::new(dot, shape, weight, bias, zeros, rescale.clone());
        let method = match dot.words().filter(|words| winograd::supports(*words, &shape, weight)) {
            Some(words) => Method::Winograd(Winograd::new(words, shape, weight, bias, zeros, rescale), direct),
            None => Method::Direct(direct),
        };
        Self { shape, method }
    }

    /// Its numbers.
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// How it is computed if the map is not small.
    pub fn method(&self) -> &'static str {
        match self.method {
            Method::Direct(_) => "direct",
            Method::Winograd(..) => "winograd",
        }
    }

    /// Convolves a map of `rows`×`cols` pixels on the current team.
    ///
    /// # Panics
    ///
    /// If `x` or `out` has another length than the sizes say, or `out` is of the other kind than [`Rescale`] says.
    pub fn run(&self, x: &[u8], rows: usize, cols: usize, scratch: &mut QuantScratch, out: Out) {
        assert_eq!(x.len(), rows * cols * self.shape.input, "a map of {rows}×{cols} for {:?}", self.shape);
        match &self.method {
            Method::Winograd(winograd, _) if winograd.gains(rows, cols) => winograd.run(x, rows, cols, scratch, out),
            Method::Direct(direct) | Method::Winograd(_, direct) => direct.run(x, rows, cols, scratch, out),
        }
    }

    /// A fully connected layer: `n` maps as large as the kernel, which begin `step` bytes apart, and one pixel of each,
    /// `out_step` numbers apart. Steps that are no powers of two spare the cache.
    ///
    /// # Panics
    ///
    /// If the convolution is padded or has groups, or as [`run`](Self::run) does.
    pub fn run_rows(&self, x: &[u8], step: usize, n: usize, scratch: &mut QuantScratch, out: Out, out_step: usize) {
        self.direct("a fully connected layer").run_rows(x, step, n, scratch, out, out_step);
    }

    /// Whether [`run_pooled`](Self::run_pooled) gains: with small weights, before which there are many pixels.
    pub fn pools(&self) -> bool {
        matches!(&self.method, Method::Direct(direct) if direct.pools())
    }

    /// [`run`](Self::run) and max pooling in one; `out` are `to` rows and columns of windows.
    ///
    /// # Panics
    ///
    /// As `run` and [`max_pool`](super::max_pool) do, and if this convolution does not [pool](Self::pools).
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
        self.direct("convolution and pooling in one").run_pooled(x, rows, cols, pool, scratch, out, to);
    }

    /// Whether [`run_normalised`](Self::run_normalised) is possible and gains.
    pub fn normalises(&self, between: &Between) -> bool {
        matches!(&self.method, Method::Direct(direct) if direct.normalises(between))
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
        self.direct("convolution, LRN and pooling in one")
            .run_normalised(x, rows, cols, kernels, between, scratch, out, to);
    }

    fn direct(&self, what: &str) -> &Direct {
        match &self.method {
            Method::Direct(direct) => direct,
            Method::Winograd(..) => panic!("{what} by Winograd's method: {:?}", self.shape),
        }
    }
}
