//! Writes `trunk.onnx`.

use super::graph::{GraphBuilder, Numbers, attr_float, attr_int, attr_ints};
use super::{StorageType, TRUNK_OUTPUTS};
use crate::model::arch::{Layer, LrnRegion};
use crate::model::quantize::{CONV5, Quantized};
use crate::model::{Architecture, Weights, WeightsError};

/// The trunk, and the RPN if there are weights for it, as an ONNX file.
pub fn trunk_onnx(network: &Architecture, weights: &Weights, storage: StorageType) -> Result<Vec<u8>, WeightsError> {
    trunk(network, Numbers::Real(weights, storage))
}

/// The same of a quantised network.
pub fn trunk_qdq(network: &Architecture, quantized: &Quantized) -> Result<Vec<u8>, WeightsError> {
    trunk(network, Numbers::Quantized(quantized))
}

fn trunk(network: &Architecture, numbers: Numbers) -> Result<Vec<u8>, WeightsError> {
    let mut g = GraphBuilder::new(network.name, numbers);
    g.input("image", &["1", "3", "H", "W"]);
    let mut x = "image".to_string();
    let last = network.convs().last().map_or("", |c| c.name);
    for layer in network.trunk {
        x = match *layer {
            Layer::Conv { name, kernel, stride, pad, groups, .. } => {
                let sum = format!("{name}.sum");
                conv(&mut g, &x, name, &sum, kernel, stride, pad, groups)?;
                match (name == last, numbers) {
                    (false, _) => g.node("Relu", &[&sum], &format!("{name}.relu"), vec![]),
                    // The map carries the same name in every network, whatever its last convolution is called.
                    (true, Numbers::Real(..)) => g.node("Relu", &[&sum], CONV5, vec![]),
                    (true, Numbers::Quantized(_)) => {
                        let relu = g.node("Relu", &[&sum], &format!("{CONV5}.relu"), vec![]);
                        g.map(&relu, CONV5, CONV5)?
                    }
                }
            }
            Layer::MaxPool { name, kernel, stride, pad } => g.node(
                "MaxPool",
                &[&x],
                name,
                vec![
                    attr_ints("kernel_shape", kernel, 2),
                    attr_ints("strides", stride, 2),
                    attr_ints("pads", pad, 4),
                    attr_int("ceil_mode", 1),
                ],
            ),
            Layer::Lrn { name, region: LrnRegion::AcrossChannels, size, alpha, beta, k } => g.node(
                "LRN",
                &[&x],
                name,
                vec![
                    attr_int("size", size as i64),
                    attr_float("alpha", alpha),
                    attr_float("beta", beta),
                    attr_float("bias", k),
                ],
            ),
            Layer::Lrn { name, region: LrnRegion::WithinChannel, size, alpha, beta, k } => {
                lrn_within(&mut g, &x, name, size, [alpha, beta, k])
            }
        };
    }
    g.output(CONV5, &["1", &network.map_channels().to_string(), "rows", "cols"]);
    if numbers.has_layer("rpn_conv") {
        conv(&mut g, &x, "rpn_conv", "rpn_conv.sum", 3, 1, 1, 1)?;
        let hidden = g.node("Relu", &["rpn_conv.sum"], "rpn_conv.relu", vec![]);
        let map = g.map(&hidden, &hidden, &format!("{hidden}.f32"))?;
        for name in &TRUNK_OUTPUTS[1..] {
            conv_of(&mut g, (&map, &hidden), name, name, 1, 1, 0, 1)?;
            g.output(name, &["1", &numbers.outputs(name).to_string(), "rows", "cols"]);
        }
    }
    Ok(g.finish())
}

/// A convolution of the map `x`, quantised first unless it is already.
#[allow(clippy::too_many_arguments)] // a convolution has that many numbers
fn conv(
    g: &mut GraphBuilder,
    x: &str,
    layer: &str,
    out: &str,
    kernel: usize,
    stride: usize,
    pad: usize,
    groups: usize,
) -> Result<(), WeightsError> {
    let value = if x == CONV5 { x.to_string() } else { g.map(x, x, &format!("{x}.f32"))? };
    conv_of(g, (&value, x), layer, out, kernel, stride, pad, groups)
}

/// A convolution of a value that stands for a map.
#[allow(clippy::too_many_arguments)] // a convolution has that many numbers
fn conv_of(
    g: &mut GraphBuilder,
    (value, map): (&str, &str),
    layer: &str,
    out: &str,
    kernel: usize,
    stride: usize,
    pad: usize,
    groups: usize,
) -> Result<(), WeightsError> {
    let w = g.weight(layer)?;
    let b = g.bias(layer, map)?;
    let attributes = vec![
        attr_ints("kernel_shape", kernel, 2),
        attr_ints("strides", stride, 2),
        attr_ints("pads", pad, 4),
        attr_int("group", groups as i64),
    ];
    g.node("Conv", &[value, &w, &b], out, attributes);
    Ok(())
}

/// Caffe's within-channel LRN: x / (k + alpha · mean(x²))^beta, the mean over a size×size window with zeros outside
/// the map and always the full divisor.
fn lrn_within(g: &mut GraphBuilder, x: &str, name: &str, size: usize, [alpha, beta, k]: [f32; 3]) -> String {
    let part = |suffix: &str| format!("{name}.{suffix}");
    let square = g.node("Mul", &[x, x], &part("square"), vec![]);
    let window = vec![
        attr_ints("kernel_shape", size, 2),
        attr_ints("strides", 1, 2),
        attr_ints("pads", (size - 1) / 2, 4),
        attr_int("count_include_pad", 1),
    ];
    let mean = g.node("AveragePool", &[&square], &part("mean"), window);
    let alpha = g.scalar(&part("alpha"), alpha);
    let k = g.scalar(&part("k"), k);
    let beta = g.scalar(&part("beta"), beta);
    let scaled = g.node("Mul", &[&mean, &alpha], &part("scaled"), vec![]);
    let base = g.node("Add", &[&scaled, &k], &part("base"), vec![]);
    let power = g.node("Pow", &[&base, &beta], &part("power"), vec![]);
    g.node("Div", &[x, &power], name, vec![])
}
