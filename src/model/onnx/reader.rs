//! Reads the weights back out of an ONNX file: initialisers whose names end in `.weight` or `.bias`.

use std::collections::BTreeMap;

use prost::Message;
use tract_onnx::pb::{GraphProto, ModelProto, TensorProto, tensor_proto::DataType};

use crate::model::{OnnxError, Tensor, Weights};

/// All weight tensors of the file, as f32.
pub fn read_weights(onnx: &[u8]) -> Result<Weights, OnnxError> {
    let mut weights = Weights::default();
    for tensor in graph(onnx)?.initializer.iter().filter(|t| is_weight(t)) {
        weights.insert(tensor.name.clone(), Tensor { shape: shape(tensor)?, data: floats(tensor)? });
    }
    Ok(weights)
}

/// Name, shape and bytes per element of the weight tensors of a file, without converting their elements; and the name
/// of the first tensor that holds NaN or infinity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorShapes {
    /// Shape by name.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Bytes per element by name: 2 or 4.
    pub element_bytes: BTreeMap<String, usize>,
    /// A tensor with a NaN or an infinity.
    pub non_finite: Option<String>,
}

/// Looks through the weight tensors of a file; see [`TensorShapes`].
pub fn tensor_shapes(onnx: &[u8]) -> Result<TensorShapes, OnnxError> {
    let mut found = TensorShapes::default();
    for tensor in graph(onnx)?.initializer.iter().filter(|t| is_weight(t)) {
        found.shapes.insert(tensor.name.clone(), shape(tensor)?);
        found
            .element_bytes
            .insert(tensor.name.clone(), if tensor.data_type == DataType::Float16 as i32 { 2 } else { 4 });
        if found.non_finite.is_none() && !all_finite(tensor)? {
            found.non_finite = Some(tensor.name.clone());
        }
    }
    Ok(found)
}

fn graph(onnx: &[u8]) -> Result<GraphProto, OnnxError> {
    ModelProto::decode(onnx)?.graph.ok_or(OnnxError::NoGraph)
}

fn is_weight(tensor: &TensorProto) -> bool {
    tensor.name.ends_with(".weight") || tensor.name.ends_with(".bias")
}

/// The dimensions, after checking that the file holds exactly that many elements of a type we read.
fn shape(tensor: &TensorProto) -> Result<Vec<usize>, OnnxError> {
    let size = match tensor.data_type {
        t if t == DataType::Float as i32 => 4,
        t if t == DataType::Float16 as i32 => 2,
        data_type => return Err(OnnxError::ElementType { tensor: tensor.name.clone(), data_type }),
    };
    let bytes = if tensor.float_data.is_empty() { tensor.raw_data.len() } else { tensor.float_data.len() * 4 };
    let mut elements: usize = 1;
    let mut shape = Vec::with_capacity(tensor.dims.len());
    for dim in &tensor.dims {
        // Zero and negative dimensions, and products beyond the address space, come out as a length that fits nothing.
        let dim = usize::try_from(*dim).unwrap_or(0);
        elements = elements.saturating_mul(dim);
        shape.push(dim);
    }
    if elements == 0 || elements.saturating_mul(size) != bytes {
        return Err(OnnxError::Length { tensor: tensor.name.clone(), shape: tensor.dims.clone(), found: bytes });
    }
    Ok(shape)
}

fn floats(tensor: &TensorProto) -> Result<Vec<f32>, OnnxError> {
    shape(tensor)?;
    Ok(if !tensor.float_data.is_empty() {
        tensor.float_data.clone()
    } else if tensor.data_type == DataType::Float16 as i32 {
        halves(tensor).map(half::f16::to_f32).collect()
    } else {
        singles(tensor).collect()
    })
}

fn all_finite(tensor: &TensorProto) -> Result<bool, OnnxError> {
    shape(tensor)?;
    Ok(if !tensor.float_data.is_empty() {
        tensor.float_data.iter().all(|v| v.is_finite())
    } else if tensor.data_type == DataType::Float16 as i32 {
        halves(tensor).all(half::f16::is_finite)
    } else {
        singles(tensor).all(f32::is_finite)
    })
}

fn singles(tensor: &TensorProto) -> impl Iterator<Item = f32> + '_ {
    tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn halves(tensor: &TensorProto) -> impl Iterator<Item = half::f16> + '_ {
    tensor.raw_data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]))
}
