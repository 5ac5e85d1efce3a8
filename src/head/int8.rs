//! The fully connected layers of a quantised model: convolutions of one pixel, whose pixels are the RoIs.

use super::{HeadError, HeadOutput, softmax};
use crate::kernels::int8::{ConvShape, Dot, Out, QuantConv, QuantScratch, quantize};
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
    /// Maps between layers, kept from picture to picture.
    maps: [Vec<u8>; 2],
    last: Vec<u8>,
}

impl QuantHead {
    /// The head of a quantised network.
    pub fn new(quantized: &Quantized, flow: &Dataflow, dot: Dot) -> Result<Self, QuantizeError> {
        let pair = |layer: &str, output: Becomes| -> Result<Vec<QuantConv>, QuantizeError> {
            let v = format!("{layer}_v");
            let kernel = |layer: &str, becomes| {
                let missing = || QuantizeError::Missing(format!("{layer}.weight"));
                let map = flow.input_of(layer).ok_or_else(missing)?;
                let [outputs, inputs] = quantized.layers.get(layer).ok_or_else(missing)?.shape[..] else {
                    return Err(missing());
                };
                let shape = ConvShape { input: inputs, output: outputs, kernel: 1, stride: 1, pad: 0, groups: 1 };
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
            maps: Default::default(),
            last: Vec::new(),
        })
    }

    /// Values `fc6` takes per RoI: channels × pool × pool.
    pub fn inputs(&self) -> usize {
        self.hidden.first().map_or(0, |layer| layer.shape().input)
    }

    /// Runs the layers on `n` pooled RoIs, each in the order channel, row, column, on the current rayon pool.
    pub fn run_into(&mut self, pooled: &[f32], n: usize, out: &mut HeadOutput) -> Result<(), HeadError> {
        if pooled.len() != n * self.inputs() {
            return Err(HeadError::Input { got: pooled.len(), rois: n, inputs: self.inputs() });
        }
        let [x, y] = &mut self.maps;
        x.resize(pooled.len(), 0);
        quantize(pooled, self.pooled.scale, self.pooled.zeros[0], x);
        for layer in &self.hidden {
            y.resize(n * layer.shape().output, 0);
            layer.run(x, 1, n, &mut self.scratch, Out::U8(y));
            std::mem::swap(x, y);
        }
        for (layers, real) in [(&self.cls_score, &mut out.scores), (&self.bbox_pred, &mut out.deltas)] {
            let Some((last, pair)) = layers.split_last() else { continue };
            let mut input = &*x;
            if let Some(first) = pair.first() {
                self.last.resize(n * first.shape().output, 0);
                first.run(x, 1, n, &mut self.scratch, Out::U8(&mut self.last));
                input = &self.last;
            }
            real.resize(n * last.shape().output, 0.0);
            last.run(input, 1, n, &mut self.scratch, Out::F32(real));
        }
        (out.rois, out.outputs) = (n, self.cls_score.last().map_or(0, |last| last.shape().output));
        out.scores.chunks_exact_mut(out.outputs.max(1)).for_each(softmax);
        Ok(())
    }
}
