//! The fully connected layers of a quantised model: convolutions as large as their input, one for each RoI.

use super::{HeadError, HeadOutput, softmax};
use crate::kernels::int8::{ConvShape, Dot, Out, QuantConv, QuantScratch, quantize};
use crate::kernels::{Kernels, team};
use crate::model::quantize::{Activation, Becomes, Dataflow, POOLED, QuantizeError, Quantized};

/// The quantised head of a network.
pub struct QuantHead {
    /// fc6 and fc7, each one layer or an SVD pair; all give u8.
    hidden: Vec<QuantConv>,
    /// The pairs before the outputs, if there are any.
    cls_score: Vec<QuantConv>,
    bbox_pred: Vec<QuantConv>,
    pooled: Activation,
    scratch: QuantScratch,
    /// Memory kept from picture to picture: pooled numbers that were given as real ones, maps between layers.
    bytes: Vec<u8>,
    maps: [Vec<u8>; 2],
    last: Vec<u8>,
}

/// From a RoI's numbers to the next one's: a cache line more, because powers of two would fall into one set of the cache.
fn apart(len: usize) -> usize {
    len.next_multiple_of(64) + 64
}

impl QuantHead {
    /// The head of a quantised network. Pooled RoIs come in the file's order, channel, row, column, if `side` is 1; else cell
    /// by cell: row, column, channel, of `side`×`side` cells.
    pub fn new(quantized: &Quantized, flow: &Dataflow, dot: Dot, side: usize) -> Result<Self, QuantizeError> {
        let pair = |layer: &str, output: Becomes| -> Result<Vec<QuantConv>, QuantizeError> {
            let v = format!("{layer}_v");
            let kernel = |layer: &str, becomes| {
                let missing = || QuantizeError::Missing(format!("{layer}.weight"));
                let map = flow.input_of(layer).ok_or_else(missing)?;
                let [outputs, inputs] = quantized.layers.get(layer).ok_or_else(missing)?.shape[..] else {
                    return Err(missing());
                };
                // Weights for channel, row, column are those of a convolution of that size.
                let side = if map == POOLED && inputs.is_multiple_of(side * side) { side } else { 1 };
                let input = inputs / (side * side);
                let shape = ConvShape { input, output: outputs, kernel: side, stride: 1, pad: 0, groups: 1 };
                quantized.kernel(layer, shape, map, becomes, dot)
            };
            Ok(match flow.input_of(&v) {
                Some(_) => vec![kernel(&v, Becomes::Map(&format!("{v}.sum")))?, kernel(&format!("{layer}_u"), output)?],
                None => vec![kernel(layer, output)?],
            })
        };
        let mut hidden = pair("fc6", Becomes::Map("fc6.relu"))?;
        hidden.extend(pair("fc7", Becomes::Map("fc7.relu"))?);
        Ok(Self {
            hidden,
            cls_score: pair("cls_score", Becomes::Real { relu: false })?,
            bbox_pred: pair("bbox_pred", Becomes::Real { relu: false })?,
            pooled: quantized.activation(POOLED)?.clone(),
            scratch: QuantScratch::default(),
            bytes: Vec::new(),
            maps: Default::default(),
            last: Vec::new(),
        })
    }

    /// Values `fc6` takes per RoI: channels × pool × pool.
    pub fn inputs(&self) -> usize {
        self.hidden.first().map_or(0, |layer| layer.shape().window())
    }

    /// From the bytes of a pooled RoI to the next one's, as [`run_bytes`](Self::run_bytes) takes them.
    pub fn step(&self) -> usize {
        apart(self.inputs())
    }

    /// How pooled numbers are stored.
    pub fn pooled(&self) -> &Activation {
        &self.pooled
    }

    /// Runs the layers on `n` pooled RoIs of real numbers, on the current team.
    pub fn run_into(&mut self, pooled: &[f32], n: usize, out: &mut HeadOutput) -> Result<(), HeadError> {
        let inputs = self.inputs();
        if pooled.len() != n * inputs {
            return Err(HeadError::Input { got: pooled.len(), rois: n, inputs });
        }
        let (step, Activation { scale, zeros }) = (self.step(), &self.pooled);
        let kernels = Kernels::best();
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.resize(n * step, 0);
        team::for_each_chunk(&mut bytes, step, |roi, bytes| {
            quantize(kernels, &pooled[roi * inputs..][..inputs], *scale, zeros[0], &mut bytes[..inputs]);
        });
        let done = self.run_bytes(&bytes, n, out);
        self.bytes = bytes;
        done
    }

    /// Runs the layers on `n` pooled RoIs that are quantised already, [`step`](Self::step) bytes apart, on the current team.
    pub fn run_bytes(&mut self, pooled: &[u8], n: usize, out: &mut HeadOutput) -> Result<(), HeadError> {
        let step = self.step();
        if pooled.len() != n * step {
            return Err(HeadError::Input { got: pooled.len(), rois: n, inputs: self.inputs() });
        }
        let Self { hidden, scratch, maps: [x, y], last, .. } = self;
        let mut input = (pooled, step);
        for layer in hidden.iter() {
            let step = apart(layer.shape().output);
            y.resize(n * step, 0);
            layer.run_rows(input.0, input.1, n, scratch, Out::U8(y), step);
            std::mem::swap(x, y);
            input = (&x[..], step);
        }
        for (layers, real) in [(&self.cls_score, &mut out.scores), (&self.bbox_pred, &mut out.deltas)] {
            let Some((layer, pair)) = layers.split_last() else { continue };
            let mut input = input;
            if let Some(first) = pair.first() {
                let step = apart(first.shape().output);
                last.resize(n * step, 0);
                first.run_rows(input.0, input.1, n, scratch, Out::U8(last), step);
                input = (&last[..], step);
            }
            let outputs = layer.shape().output;
            real.resize(n * outputs, 0.0);
            layer.run_rows(input.0, input.1, n, scratch, Out::F32(real), outputs);
        }
        (out.rois, out.outputs) = (n, self.cls_score.last().map_or(0, |last| last.shape().output));
        out.scores.chunks_exact_mut(out.outputs.max(1)).for_each(softmax);
        Ok(())
    }
}
