//! Writes `head.onnx`.

use super::StorageType;
use super::graph::{GraphBuilder, Numbers, attr_int};
use crate::model::quantize::Quantized;
use crate::model::{Architecture, Weights, WeightsError};

/// The fully connected head as an ONNX file; a layer stored as an SVD pair becomes two `Gemm`s.
pub fn head_onnx(network: &Architecture, weights: &Weights, storage: StorageType) -> Result<Vec<u8>, WeightsError> {
    head(network, Numbers::Real(weights, storage))
}

/// The same of a quantised network.
pub fn head_qdq(network: &Architecture, quantized: &Quantized) -> Result<Vec<u8>, WeightsError> {
    head(network, Numbers::Quantized(quantized))
}

fn head(network: &Architecture, numbers: Numbers) -> Result<Vec<u8>, WeightsError> {
    let mut g = GraphBuilder::new(network.name, numbers);
    g.input("pooled", &["N", &network.fc_inputs().to_string()]);
    let mut x = "pooled".to_string();
    for layer in ["fc6", "fc7"] {
        let value = g.map(&x, &x, &format!("{x}.f32"))?;
        let sum = gemms(&mut g, numbers, (&value, &x), layer, &format!("{layer}.sum"))?;
        x = g.node("Relu", &[&sum], &format!("{layer}.relu"), vec![]);
    }
    let value = g.map(&x, &x, &format!("{x}.f32"))?;
    let scores = gemms(&mut g, numbers, (&value, &x), "cls_score", "cls_score")?;
    g.node("Softmax", &[&scores], "cls_prob", vec![attr_int("axis", 1)]);
    gemms(&mut g, numbers, (&value, &x), "bbox_pred", "bbox_pred")?;
    for (output, layer) in [("cls_prob", "cls_score"), ("bbox_pred", "bbox_pred")] {
        g.output(output, &["N", &numbers.outputs(layer).to_string()]);
    }
    Ok(g.finish())
}

/// One fully connected layer of a value that stands for a map: a `Gemm`, or two for a pair `<layer>_v`, `<layer>_u`.
fn gemms(
    g: &mut GraphBuilder,
    numbers: Numbers,
    (value, map): (&str, &str),
    layer: &str,
    out: &str,
) -> Result<String, WeightsError> {
    let transposed = || vec![attr_int("transB", 1)];
    let (v, u) = (format!("{layer}_v"), format!("{layer}_u"));
    if numbers.has_layer(&v) {
        let w = g.weight(&v)?;
        let hidden = g.node("Gemm", &[value, &w], &format!("{v}.sum"), transposed());
        let middle = g.map(&hidden, &hidden, &format!("{hidden}.f32"))?;
        let w = g.weight(&u)?;
        let b = g.bias(&u, &hidden)?;
        return Ok(g.node("Gemm", &[&middle, &w, &b], out, transposed()));
    }
    let w = g.weight(layer)?;
    let b = g.bias(layer, map)?;
    Ok(g.node("Gemm", &[value, &w, &b], out, transposed()))
}
