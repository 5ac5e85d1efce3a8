//! Writes `trunk.onnx`.

use super::graph::{GraphBuilder, attr_float, attr_int, attr_ints};
use super::{StorageType, TRUNK_OUTPUTS};
use crate::model::arch::{Layer, LrnRegion};
use crate::model::{Architecture, Weights, WeightsError};

/// The trunk, and the RPN if there are weights for it, as an ONNX file.
pub fn trunk_onnx(network: &Architecture, weights: &Weights, storage: StorageType) -> Result<Vec<u8>, WeightsError> {
    let mut g = GraphBuilder::new(network.name, weights, storage);
    g.input("image", &["1", "3", "H", "W"]);
    let mut x = "image".to_string();
    let last = network.convs().last().map_or("", |c| c.name);
    for layer in network.trunk {
        x = match *layer {
            Layer::Conv { name, kernel, stride, pad, groups, .. } => {
                // The map carries the same name in every network, whatever its last convolution is called.
                let out = if name == last { TRUNK_OUTPUTS[0].to_string() } else { format!("{name}.relu") };
                conv(&mut g, &x, name, &format!("{name}.sum"), kernel, stride, pad, groups)?;
                g.node("Relu", &[&format!("{name}.sum")], &out, vec![])
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
    g.output(TRUNK_OUTPUTS[0], &["1", &network.map_channels().to_string(), "rows", "cols"]);
    if weights.has_layer("rpn_conv") {
        conv(&mut g, &x, "rpn_conv", "rpn_conv.sum", 3, 1, 1, 1)?;
        let hidden = g.node("Relu", &["rpn_conv.sum"], "rpn_conv.relu", vec![]);
        for name in &TRUNK_OUTPUTS[1..] {
            conv(&mut g, &hidden, name, name, 1, 1, 0, 1)?;
            let channels = weights.get(&format!("{name}.bias")).map_or(0, |b| b.data.len());
            g.output(name, &["1", &channels.to_string(), "rows", "cols"]);
        }
    }
    Ok(g.finish())
}

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
    let w = g.weight(&format!("{layer}.weight"))?;
    let b = g.bias(&format!("{layer}.bias"))?;
    let attributes = vec![
        attr_ints("kernel_shape", kernel, 2),
        attr_ints("strides", stride, 2),
        attr_ints("pads", pad, 4),
        attr_int("group", groups as i64),
    ];
    g.node("Conv", &[x, &w, &b], out, attributes);
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
