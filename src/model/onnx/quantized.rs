//! Reads quantised networks out of ONNX files, and compares and extends their graphs.

use prost::Message;

use super::messages::{DataType, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::reader::{Element, bytes, element, floats, graph, integers, is_weight, scales, shape};
use crate::model::OnnxError;
use crate::model::quantize::{Activation, QuantLayer, Quantized};

/// The layers and maps of one QDQ file.
pub fn read_quantized(onnx: &[u8]) -> Result<Quantized, OnnxError> {
    let graph = graph(onnx)?;
    let mut quantized = Quantized::default();
    for tensor in graph.initializer.iter().filter(|t| is_weight(t)) {
        let (shape, element) = (shape(tensor)?, element(tensor)?);
        let wrong = || OnnxError::ElementType { tensor: tensor.name.clone(), data_type: tensor.data_type };
        if let Some(layer) = tensor.name.strip_suffix(".weight") {
            let layer = quantized.layers.entry(layer.into()).or_default();
            (element == Element::I8).then_some(()).ok_or_else(wrong)?;
            let scales = scales(&graph, &tensor.name)?;
            *layer = QuantLayer { shape, weight: bytes(tensor).collect(), scales, bias: layer.bias.take() };
        } else if let Some(layer) = tensor.name.strip_suffix(".bias") {
            (element == Element::I32).then_some(()).ok_or_else(wrong)?;
            quantized.layers.entry(layer.into()).or_default().bias = Some(integers(tensor).collect());
        }
    }
    for zero in &graph.initializer {
        let Some(map) = zero.name.strip_suffix(".zero_point") else { continue };
        if map.ends_with(".weight") || map.ends_with(".bias") {
            continue;
        }
        let no_scale = || OnnxError::NoScale { tensor: map.into() };
        let scale = graph.initializer.iter().find(|t| t.name == format!("{map}.scale")).ok_or_else(no_scale)?;
        let all = scalars(scale)?;
        let scale = *all.first().ok_or_else(no_scale)?;
        // All channels have one scale, and each its zero point.
        let fits = zero.data_type == DataType::Uint8 as i32 && zero.raw_data.len() == all.len();
        if !fits || all.iter().any(|s| s.to_bits() != scale.to_bits()) {
            return Err(no_scale());
        }
        quantized.activations.insert(map.into(), Activation { scale, zeros: zero.raw_data.clone() });
    }
    Ok(quantized)
}

/// The elements of a tensor that may have no dimensions.
fn scalars(tensor: &TensorProto) -> Result<Vec<f32>, OnnxError> {
    let dims = if tensor.dims.is_empty() { vec![1] } else { tensor.dims.clone() };
    floats(&TensorProto { dims, ..tensor.clone() })
}

/// Compares the nodes of two files; the name of the first that differs.
pub fn same_graph(onnx: &[u8], expected: &[u8]) -> Result<Result<(), String>, OnnxError> {
    let (found, expected) = (graph(onnx)?, graph(expected)?);
    let interface = |graph: &GraphProto| {
        [&graph.input, &graph.output].map(|v| v.iter().map(|v| v.name.clone()).collect::<Vec<_>>())
    };
    let differing = found.node.iter().zip(&expected.node).find(|(a, b)| !same_node(a, b)).map(|(a, _)| a);
    let differing = differing.or_else(|| found.node.get(expected.node.len()));
    Ok(match differing {
        Some(node) => Err(node.name.clone()),
        None if found.node.len() < expected.node.len() => Err(expected.node[found.node.len()].name.clone()),
        None if interface(&found) != interface(&expected) => Err("inputs and outputs".into()),
        None if constants(&found) != constants(&expected) => Err("constants".into()),
        None => Ok(()),
    })
}

/// The numbers of the graph that belong to no weight and no map: those of normalisation layers.
fn constants(graph: &GraphProto) -> Vec<&TensorProto> {
    let of_a_value = |t: &&TensorProto| is_weight(t) || t.name.ends_with(".scale") || t.name.ends_with(".zero_point");
    graph.initializer.iter().filter(|t| !of_a_value(t)).collect()
}

fn same_node(a: &NodeProto, b: &NodeProto) -> bool {
    (&a.op_type, &a.input, &a.output, &a.attribute) == (&b.op_type, &b.input, &b.output, &b.attribute)
}

/// The same file with more outputs: values inside of the graph, by name, to be looked at from outside.
pub fn with_outputs(onnx: &[u8], names: &[&str]) -> Result<Vec<u8>, OnnxError> {
    let mut model = ModelProto::decode(onnx)?;
    let graph = model.graph.as_mut().ok_or(OnnxError::NoGraph)?;
    let output = |name: &&str| ValueInfoProto { name: (*name).into(), ..ValueInfoProto::default() };
    graph.output.extend(names.iter().map(output));
    Ok(model.encode_to_vec())
}
