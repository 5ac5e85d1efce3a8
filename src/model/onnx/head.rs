//! Writes `head.onnx`.

use super::StorageType;
use super::graph::{GraphBuilder, attr_int};
use crate::model::{Architecture, Weights, WeightsError};

/// The fully connected head as an ONNX file; a layer stored as an SVD pair becomes two `Gemm`s.
pub fn head_onnx(network: &Architecture, weights: &Weights, storage: StorageType) -> Result<Vec<u8>, WeightsError> {
    let mut g = GraphBuilder::new(network.name, weights, storage);
    g.input("pooled", &["N", &network.fc_inputs().to_string()]);
    let mut x = "pooled".to_string();
    for layer in ["fc6", "fc7"] {
        let sum = gemms(&mut g, weights, &x, layer, &format!("{layer}.sum"))?;
        x = g.node("Relu", &[&sum], &format!("{layer}.relu"), vec![]);
    }
    let scores = gemms(&mut g, weights, &x, "cls_score", "cls_score")?;
    g.node("Softmax", &[&scores], "cls_prob", vec![attr_int("axis", 1)]);
    gemms(&mut g, weights, &x, "bbox_pred", "bbox_pred")?;
    for (output, layer) in [("cls_prob", "cls_score"), ("bbox_pred", "bbox_pred")] {
        let bias = weights.get(&format!("{layer}.bias")).or_else(|| weights.get(&format!("{layer}_u.bias")));
        g.output(output, &["N", &bias.map_or(0, |b| b.data.len()).to_string()]);
    }
    Ok(g.finish())
}

/// One fully connected layer: a `Gemm`, or two for a pair `<layer>_v`, `<layer>_u`.
fn gemms(g: &mut GraphBuilder, weights: &Weights, x: &str, layer: &str, out: &str) -> Result<String, WeightsError> {
    let transposed = || vec![attr_int("transB", 1)];
    let (v, u) = (format!("{layer}_v"), format!("{layer}_u"));
    if weights.has_layer(&v) {
        let w = g.weight(&format!("{v}.weight"))?;
        let hidden = g.node("Gemm", &[x, &w], &format!("{v}.sum"), transposed());
        let w = g.weight(&format!("{u}.weight"))?;
        let b = g.bias(&format!("{u}.bias"))?;
        return Ok(g.node("Gemm", &[&hidden, &w, &b], out, transposed()));
    }
    let w = g.weight(&format!("{layer}.weight"))?;
    let b = g.bias(&format!("{layer}.bias"))?;
    Ok(g.node("Gemm", &[x, &w, &b], out, transposed()))
}
