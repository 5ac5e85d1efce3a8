//! From a network's description to the steps of its quantised trunk.

use super::step::Step;
use crate::kernels::LrnParams;
use crate::kernels::int8::{Between, ConvShape, Dot, PoolShape, QuantConv};
use crate::model::arch::Layer;
use crate::model::quantize::{Activation, Becomes, CONV5, Dataflow, IMAGE, QuantizeError, Quantized};
use crate::model::{Architecture, onnx::TRUNK_OUTPUTS};

/// Up to the last convolution's map, by name of the first layer of each.
pub fn steps(
    network: &Architecture,
    quantized: &Quantized,
    flow: &Dataflow,
    dot: Dot,
) -> Result<Vec<(&'static str, Step)>, QuantizeError> {
    let (mut steps, mut input, mut layers) = (Vec::new(), 3, network.trunk);
    while let [layer, after @ ..] = layers {
        // What the next convolution reads; that of the last is the map itself.
        let next = after.iter().find_map(|l| if let Layer::Conv { name, .. } = l { Some(*name) } else { None });
        let to = next.map_or(Some(CONV5), |name| flow.input_of(name)).unwrap_or(CONV5);
        let (name, step, joined) = match *layer {
            Layer::Conv { name, out, kernel, stride, pad, groups } => {
                let shape = ConvShape { input, output: out, kernel, stride, pad, groups };
                input = out;
                let before_next = after.iter().take_while(|l| !matches!(l, Layer::Conv { .. }));
                let normalised = before_next.clone().any(|l| matches!(l, Layer::Lrn { .. }));
                debug_assert!(next.is_some() || !normalised, "no network normalises its last map");
                let becomes = if normalised { Becomes::Real { relu: true } } else { Becomes::Map(to) };
                let conv = match flow.input_of(name).unwrap_or(IMAGE) {
                    IMAGE => quantized.first_kernel(name, shape, becomes, dot)?,
                    map => quantized.kernel(name, shape, map, becomes, dot)?,
                };
                let between = lrn(after, quantized.activation(to)?);
                match (after.first().and_then(pool), between) {
                    (Some(pool), _) if conv.pools() => (name, Step::Conv(conv, Some(pool)), 1),
                    (_, Some((between, layers))) if conv.normalises(&between) => {
                        (name, Step::Normalised(conv, between), layers)
                    }
                    _ if normalised => (name, Step::RealConv(conv), 0),
                    _ => (name, Step::Conv(conv, None), 0),
                }
            }
            Layer::MaxPool { name, kernel, stride, pad } => (name, Step::Pool(PoolShape { kernel, stride, pad }), 0),
            Layer::Lrn { name, .. } => match lrn(layers, quantized.activation(to)?) {
                Some((between, layers)) => (name, Step::Lrn(between), layers - 1),
                None => continue,
            },
        };
        steps.push((name, step));
        layers = &after[joined..];
    }
    Ok(steps)
}

/// The RPN's 3×3 convolution, its scores and its deltas, if there is an RPN.
pub fn rpn(
    network: &Architecture,
    quantized: &Quantized,
    flow: &Dataflow,
    dot: Dot,
) -> Result<Option<[QuantConv; 3]>, QuantizeError> {
    if flow.input_of("rpn_conv").is_none() {
        return Ok(None);
    }
    let one = |layer: &str, input, kernel, map, becomes| {
        let output = quantized.layers.get(layer).map_or(0, |l| l.scales.len());
        let shape = ConvShape { input, output, kernel, stride: 1, pad: kernel / 2, groups: 1 };
        quantized.kernel(layer, shape, map, becomes, dot)
    };
    let (hidden, real) = ("rpn_conv.relu", Becomes::Real { relu: false });
    let [_, scores, deltas] = TRUNK_OUTPUTS;
    Ok(Some([
        one("rpn_conv", network.map_channels(), 3, CONV5, Becomes::Map(hidden))?,
        one(scores, network.rpn_channels, 1, hidden, real)?,
        one(deltas, network.rpn_channels, 1, hidden, real)?,
    ]))
}

/// The LRN that `layers` begin with and the pooling after it, and how many layers these are. Where none follows, its
/// windows are single pixels.
fn lrn(layers: &[Layer], Activation { scale, zeros }: &Activation) -> Option<(Between, usize)> {
    let Layer::Lrn { region, size, alpha, beta, k, .. } = *layers.first()? else { return None };
    let lrn = LrnParams { window: region.window(size), alpha, beta, k };
    let alone = Between { lrn, pool: PoolShape { kernel: 1, stride: 1, pad: 0 }, scale: *scale, zero: zeros[0] };
    let pooled = layers.get(1).and_then(pool).map(|pool| Between { pool, ..alone });
    Some(pooled.filter(Between::supported).map_or((alone, 1), |pooled| (pooled, 2)))
}

/// The layer, if it is one of max pooling.
fn pool(layer: &Layer) -> Option<PoolShape> {
    let Layer::MaxPool { kernel, stride, pad, .. } = *layer else { return None };
    Some(PoolShape { kernel, stride, pad })
}
