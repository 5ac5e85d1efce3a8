//! Quantised models: what the numbers of a network are in 8 bits, and how they are made of real ones.
//!
//! [`Quantized`] holds, for each layer, i8 weights with a scale for each output and i32 biases at the scale of the sums; and
//! for each map between layers (`dataflow`) one scale and zero point. The arithmetic on them is that of
//! [`kernels::int8`](crate::kernels::int8); on disk it is standard QDQ ONNX. [`quantize`] makes it of real weights and the
//! ranges that a calibration has seen.
//!
//! - Weights are symmetric: `scale = max |w| / 127`, zero point 0, -128 unused.
//! - After a ReLU a map is `scale · q`, with `scale = range / 255`. Between the two layers of an SVD pair, where values have
//!   both signs, it is `scale · (q − 128)`, with `scale = range / 127`.
//! - The picture, mean subtracted, has scale 1 and each channel's rounded mean as its zero point, so q is the 8-bit pixel
//!   and padding, the mean itself, is a pixel of that colour.

mod dataflow;
mod error;
mod kernel;

use std::collections::BTreeMap;

pub use dataflow::{CONV5, Dataflow, IMAGE, POOLED};
pub use error::QuantizeError;
pub use kernel::Becomes;

use super::Weights;

/// Zero point of maps with both signs.
const MIDDLE: u8 = 128;
/// Largest bias in steps of its scale. Far below what i32 holds, far above what rounding it could change.
const LARGEST_BIAS: f32 = (1 << 24) as f32;

/// A layer's numbers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QuantLayer {
    /// Shape of the weights, as in [`Weights`].
    pub shape: Vec<usize>,
    /// The weights, row-major.
    pub weight: Vec<i8>,
    /// Scale of each output's weights.
    pub scales: Vec<f32>,
    /// One for each output, at `input scale · weight scale`; the first layer of an SVD pair has none.
    pub bias: Option<Vec<i32>>,
}

/// How a map is stored in 8 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// Value of one step.
    pub scale: f32,
    /// The number that stands for 0: one for all channels, or one for each.
    pub zeros: Vec<u8>,
}

/// A quantised network.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Quantized {
    /// Layers by name.
    pub layers: BTreeMap<String, QuantLayer>,
    /// Maps by name; see [`Dataflow`].
    pub activations: BTreeMap<String, Activation>,
}

/// The largest absolute value of each map that is to be represented, by name.
pub type Ranges = BTreeMap<String, f32>;

/// Mean of each channel of each map, by name; of a fully connected layer's input, of each number.
pub type Means = BTreeMap<String, Vec<f64>>;

/// Quantises a network. With `means`, biases are corrected by what rounding the weights changes in the mean
/// (`Σ (w − w̃)·mean(x)`, the analytic bias correction of Nagel et al. 2019).
pub fn quantize(
    weights: &Weights,
    flow: &Dataflow,
    mean_bgr: [f32; 3],
    ranges: &Ranges,
    means: Option<&Means>,
) -> Result<Quantized, QuantizeError> {
    let mut quantized = Quantized::default();
    for (layer, input) in flow.inputs() {
        let map = match quantized.activations.get(input) {
            Some(known) => known.clone(),
            None => activation(input, mean_bgr, ranges)?,
        };
        let tensor = |suffix: &str| weights.get(&format!("{layer}.{suffix}"));
        let weight = tensor("weight").ok_or_else(|| QuantizeError::Missing(format!("{layer}.weight")))?;
        let mut quant = QuantLayer { shape: weight.shape.clone(), ..QuantLayer::default() };
        let window = weight.data.len() / weight.shape.first().copied().unwrap_or(1).max(1);
        let bias = tensor("bias").map(|b| b.data.as_slice());
        let mut sums = Vec::new();
        for (o, row) in weight.data.chunks_exact(window.max(1)).enumerate() {
            let most = row.iter().fold(0.0f32, |m, w| m.max(w.abs()));
            let bias = bias.and_then(|b| b.get(o)).copied().unwrap_or(0.0);
            // A row of almost nothing beside a large bias is given steps in which that bias can be told.
            let scale = (most / 127.0).max(bias.abs() / (map.scale * LARGEST_BIAS));
            let scale = if scale.is_normal() { scale } else { 1.0 };
            let round = |w: &f32| (w / scale).round_ties_even().clamp(-127.0, 127.0) as i8;
            quant.weight.extend(row.iter().map(round));
            quant.scales.push(scale);
            let shift = match means.and_then(|m| m.get(input)) {
                Some(means) => correction(row, &quant.weight[o * window..], scale, means),
                None => 0.0,
            };
            let sum = (f64::from(bias) + shift) / f64::from(map.scale * scale);
            sums.push(sum.round_ties_even().clamp(-f64::from(LARGEST_BIAS) * 2.0, f64::from(LARGEST_BIAS) * 2.0) as i32);
        }
        quant.bias = bias.is_some().then_some(sums);
        quantized.layers.insert(layer.into(), quant);
        quantized.activations.insert(input.into(), map);
    }
    // Also where no RPN reads it: the head does.
    quantized.activations.insert(CONV5.into(), activation(CONV5, mean_bgr, ranges)?);
    Ok(quantized)
}

fn activation(name: &str, mean_bgr: [f32; 3], ranges: &Ranges) -> Result<Activation, QuantizeError> {
    if name == IMAGE {
        let zero = |mean: f32| mean.round_ties_even();
        if mean_bgr.iter().any(|m| !(0.0..=255.0).contains(&zero(*m))) {
            return Err(QuantizeError::Mean(mean_bgr));
        }
        return Ok(Activation { scale: 1.0, zeros: mean_bgr.map(|m| zero(m) as u8).to_vec() });
    }
    let source = if name == POOLED { CONV5 } else { name };
    let range = *ranges.get(source).ok_or_else(|| QuantizeError::NoRange(source.into()))?;
    let (steps, zero) = if Dataflow::is_signed(name) { (127.0, MIDDLE) } else { (255.0, 0) };
    // A map that is always 0 may have any scale.
    let scale = if range > 0.0 { range / steps } else { 1.0 };
    if !scale.is_normal() {
        return Err(QuantizeError::Range { name: source.into(), range });
    }
    Ok(Activation { scale, zeros: vec![zero] })
}

/// What rounding a row of weights takes from the mean of its output.
fn correction(row: &[f32], rounded: &[i8], scale: f32, means: &[f64]) -> f64 {
    let places = (row.len() / means.len().max(1)).max(1);
    let lost = |(i, (w, q)): (usize, (&f32, &i8))| {
        (f64::from(*w) - f64::from(*q) * f64::from(scale)) * means.get(i / places).copied().unwrap_or(0.0)
    };
    row.iter().zip(rounded).enumerate().map(lost).sum()
}

impl Activation {
    /// The zero point of each of `channels` channels.
    pub fn zeros_of(&self, channels: usize) -> Vec<u8> {
        self.zeros.iter().copied().cycle().take(channels).collect()
    }

    /// The number that stands for `value` in a channel.
    pub fn quantize(&self, value: f32, channel: usize) -> u8 {
        let zero = self.zeros[channel % self.zeros.len()];
        ((value / self.scale).round_ties_even() + f32::from(zero)).clamp(0.0, 255.0) as u8
    }
}

impl Quantized {
    /// Checks that every number is one that can be computed with, and that the two files speak of the same map where they
    /// meet.
    pub fn check(&self, flow: &Dataflow) -> Result<(), QuantizeError> {
        for (layer, input) in flow.inputs() {
            let quant = self.layers.get(layer).ok_or_else(|| QuantizeError::Missing(format!("{layer}.weight")))?;
            let activation = self.activation(input)?;
            let zeros = if input == IMAGE { 3 } else { 1 };
            if !activation.scale.is_normal() || activation.scale < 0.0 || activation.zeros.len() != zeros {
                return Err(QuantizeError::Range { name: input.into(), range: activation.scale });
            }
            let outputs = quant.shape.first().copied().unwrap_or(0);
            let scales_fit = quant.scales.len() == outputs && quant.scales.iter().all(|s| s.is_normal() && *s > 0.0);
            if !scales_fit || quant.bias.as_ref().is_some_and(|b| b.len() != outputs) {
                return Err(QuantizeError::Scales { layer: layer.into(), outputs });
            }
            let window = (quant.weight.len() / outputs.max(1)).max(1);
            for (o, row) in quant.weight.chunks(window).enumerate() {
                let bias = quant.bias.as_ref().map_or(0, |b| i64::from(b[o]).abs());
                let most = row.iter().map(|w| i64::from(*w).abs() * 255).sum::<i64>() + bias;
                if most >= 1 << 30 {
                    return Err(QuantizeError::Overflow { layer: layer.into(), output: o });
                }
            }
        }
        let (map, pooled) = (self.activation(CONV5)?, self.activation(POOLED)?);
        if map != pooled {
            return Err(QuantizeError::Seam { map: map.scale, pooled: pooled.scale });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
