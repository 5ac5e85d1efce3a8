//! Reads the weights back out of an ONNX file: initialisers whose names end in `.weight` or `.bias`. Quantised ones are
//! multiplied by their scales.

use std::collections::BTreeMap;

use prost::Message;

use super::messages::{DataType, GraphProto, ModelProto, TensorProto};
use crate::model::{OnnxError, Tensor, Weights};

/// All weight tensors of the file, as f32.
pub fn read_weights(onnx: &[u8]) -> Result<Weights, OnnxError> {
    let mut weights = Weights::default();
    let graph = graph(onnx)?;
    for tensor in graph.initializer.iter().filter(|t| is_weight(t)) {
        let data = match element(tensor)? {
            Element::F32 | Element::F16 => floats(tensor)?,
            Element::I8 | Element::I32 => times_scales(tensor, &scales(&graph, &tensor.name)?)?,
        };
        weights.insert(tensor.name.clone(), Tensor { shape: shape(tensor)?, data });
    }
    Ok(weights)
}

/// Name, shape and bytes per element of the weight tensors of a file, without converting their elements; and the name
/// of the first tensor that holds NaN or infinity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TensorShapes {
    /// Shape by name.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Bytes per element by name: 1 (8-bit), 2 (f16) or 4.
    pub element_bytes: BTreeMap<String, usize>,
    /// A tensor with a NaN or an infinity.
    pub non_finite: Option<String>,
}

/// Looks through the weight tensors of a file; see [`TensorShapes`].
pub fn tensor_shapes(onnx: &[u8]) -> Result<TensorShapes, OnnxError> {
    let mut found = TensorShapes::default();
    for tensor in graph(onnx)?.initializer.iter().filter(|t| is_weight(t)) {
        found.shapes.insert(tensor.name.clone(), shape(tensor)?);
        found.element_bytes.insert(tensor.name.clone(), element(tensor)?.bytes());
        if found.non_finite.is_none() && !all_finite(tensor)? {
            found.non_finite = Some(tensor.name.clone());
        }
    }
    Ok(found)
}

pub fn graph(onnx: &[u8]) -> Result<GraphProto, OnnxError> {
    ModelProto::decode(onnx)?.graph.ok_or(OnnxError::NoGraph)
}

pub(super) fn is_weight(tensor: &TensorProto) -> bool {
    tensor.name.ends_with(".weight") || tensor.name.ends_with(".bias")
}

/// The element types that weights come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Element {
    F32,
    F16,
    I8,
    I32,
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::I8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
        }
    }
}

pub(super) fn element(tensor: &TensorProto) -> Result<Element, OnnxError> {
    match tensor.data_type {
        t if t == DataType::Float as i32 => Ok(Element::F32),
        t if t == DataType::Float16 as i32 => Ok(Element::F16),
        t if t == DataType::Int8 as i32 => Ok(Element::I8),
        t if t == DataType::Int32 as i32 => Ok(Element::I32),
        data_type => Err(OnnxError::ElementType { tensor: tensor.name.clone(), data_type }),
    }
}

/// The dimensions, after checking that the file holds exactly that many elements of a type we read.
pub fn shape(tensor: &TensorProto) -> Result<Vec<usize>, OnnxError> {
    let size = element(tensor)?.bytes();
    let as_floats = !tensor.float_data.is_empty() && element(tensor)? == Element::F32;
    let bytes = if as_floats { tensor.float_data.len() * 4 } else { tensor.raw_data.len() };
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

pub fn floats(tensor: &TensorProto) -> Result<Vec<f32>, OnnxError> {
    shape(tensor)?;
    Ok(match element(tensor)? {
        Element::F16 => halves(tensor).map(half::f16::to_f32).collect(),
        _ if !tensor.float_data.is_empty() => tensor.float_data.clone(),
        _ => singles(tensor).collect(),
    })
}

fn all_finite(tensor: &TensorProto) -> Result<bool, OnnxError> {
    shape(tensor)?;
    Ok(match element(tensor)? {
        Element::F16 => halves(tensor).all(half::f16::is_finite),
        Element::I8 | Element::I32 => true,
        Element::F32 if !tensor.float_data.is_empty() => tensor.float_data.iter().all(|v| v.is_finite()),
        Element::F32 => singles(tensor).all(f32::is_finite),
    })
}

/// The scales of a quantised tensor, one for each of its first dimension.
pub(super) fn scales(graph: &GraphProto, name: &str) -> Result<Vec<f32>, OnnxError> {
    let wanted = format!("{name}.scale");
    let tensor = graph.initializer.iter().find(|t| t.name == wanted);
    floats(tensor.ok_or(OnnxError::NoScale { tensor: name.into() })?)
}

/// The real numbers that quantised ones stand for.
fn times_scales(tensor: &TensorProto, scales: &[f32]) -> Result<Vec<f32>, OnnxError> {
    let shape = shape(tensor)?;
    if shape.first() != Some(&scales.len()) {
        return Err(OnnxError::NoScale { tensor: tensor.name.clone() });
    }
    let numbers: Vec<f32> = match element(tensor)? {
        Element::I8 => bytes(tensor).map(f32::from).collect(),
        _ => integers(tensor).map(|v| v as f32).collect(),
    };
    let row = numbers.len() / scales.len();
    Ok(numbers.chunks_exact(row).zip(scales).flat_map(|(row, scale)| row.iter().map(move |v| v * scale)).collect())
}

/// The elements of an INT8 tensor.
pub(super) fn bytes(tensor: &TensorProto) -> impl Iterator<Item = i8> + '_ {
    tensor.raw_data.iter().map(|b| i8::from_le_bytes([*b]))
}

/// The elements of an INT32 tensor.
pub(super) fn integers(tensor: &TensorProto) -> impl Iterator<Item = i32> + '_ {
    tensor.raw_data.chunks_exact(4).map(|b| i32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn singles(tensor: &TensorProto) -> impl Iterator<Item = f32> + '_ {
    tensor.raw_data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
}

fn halves(tensor: &TensorProto) -> impl Iterator<Item = half::f16> + '_ {
    tensor.raw_data.chunks_exact(2).map(|b| half::f16::from_le_bytes([b[0], b[1]]))
}
