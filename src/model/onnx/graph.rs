//! A small builder for ONNX graphs on the protobuf types that tract reads with.

use prost::Message;
use tract_onnx::pb::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto, TypeProto,
    ValueInfoProto, attribute_proto::AttributeType, tensor_proto::DataType, tensor_shape_proto, type_proto,
};

use super::StorageType;
use crate::model::{Tensor, Weights, WeightsError};

/// ONNX's version of the container format that goes with opset 17.
const IR_VERSION: i64 = 8;
/// The operator set that the graphs are written in.
const OPSET: i64 = 17;

/// Nodes and initialisers of a graph being built.
pub struct GraphBuilder<'a> {
    weights: &'a Weights,
    storage: StorageType,
    graph: GraphProto,
}

impl<'a> GraphBuilder<'a> {
    /// An empty graph that takes its tensors from `weights`.
    pub fn new(name: &str, weights: &'a Weights, storage: StorageType) -> Self {
        Self { weights, storage, graph: GraphProto { name: name.into(), ..GraphProto::default() } }
    }

    /// Declares a float input; dimensions that are not numbers become symbols.
    pub fn input(&mut self, name: &str, dims: &[&str]) {
        self.graph.input.push(value_info(name, dims));
    }

    /// Declares a float output.
    pub fn output(&mut self, name: &str, dims: &[&str]) {
        self.graph.output.push(value_info(name, dims));
    }

    /// Adds a node with one output, which is also its name, and returns that name.
    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str, attributes: Vec<AttributeProto>) -> String {
        self.graph.node.push(NodeProto {
            op_type: op.into(),
            name: output.into(),
            input: inputs.iter().map(|s| s.to_string()).collect(),
            output: vec![output.into()],
            attribute: attributes,
            ..NodeProto::default()
        });
        output.into()
    }

    /// Adds a number as an initialiser.
    pub fn scalar(&mut self, name: &str, value: f32) -> String {
        self.graph.initializer.push(float_tensor(name, &[], &[value]));
        name.into()
    }

    /// Adds a weight tensor, in half precision if asked for and possible, and returns the name of its f32 value.
    pub fn weight(&mut self, name: &str) -> Result<String, WeightsError> {
        let tensor = self.find(name)?;
        // A value beyond the range of f16 would become infinite: such a tensor stays exact.
        let fits = tensor.data.iter().all(|v| v.abs() <= half::f16::MAX.to_f32());
        if self.storage == StorageType::F32 || !fits {
            self.graph.initializer.push(float_tensor(name, &tensor.shape, &tensor.data));
            return Ok(name.into());
        }
        let raw = tensor.data.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        self.graph.initializer.push(raw_tensor(name, DataType::Float16, &tensor.shape, raw));
        let to = attr_int("to", DataType::Float as i64);
        Ok(self.node("Cast", &[name], &format!("{name}.f32"), vec![to]))
    }

    /// Adds a bias; always f32, it is small and added last.
    pub fn bias(&mut self, name: &str) -> Result<String, WeightsError> {
        let tensor = self.find(name)?;
        self.graph.initializer.push(float_tensor(name, &tensor.shape, &tensor.data));
        Ok(name.into())
    }

    fn find(&self, name: &str) -> Result<&'a Tensor, WeightsError> {
        self.weights.get(name).ok_or_else(|| WeightsError::Missing {
            tensor: name.into(),
            network: self.graph.name.clone(),
            hint: None,
        })
    }

    /// The finished file.
    pub fn finish(self) -> Vec<u8> {
        ModelProto {
            ir_version: IR_VERSION,
            // No version here: equal weights give equal files, and so equal checksums, from any build.
            producer_name: "edge-rcnn".into(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            graph: Some(self.graph),
            ..ModelProto::default()
        }
        .encode_to_vec()
    }
}

/// An integer attribute.
pub fn attr_int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Int as i32, i: value, ..AttributeProto::default() }
}

/// A float attribute.
pub fn attr_float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { name: name.into(), r#type: AttributeType::Float as i32, f: value, ..AttributeProto::default() }
}

/// An attribute that repeats one integer.
pub fn attr_ints(name: &str, value: usize, times: usize) -> AttributeProto {
    let ints = vec![value as i64; times];
    AttributeProto { name: name.into(), r#type: AttributeType::Ints as i32, ints, ..AttributeProto::default() }
}

fn float_tensor(name: &str, shape: &[usize], data: &[f32]) -> TensorProto {
    raw_tensor(name, DataType::Float, shape, data.iter().flat_map(|v| v.to_le_bytes()).collect())
}

fn raw_tensor(name: &str, data_type: DataType, shape: &[usize], raw_data: Vec<u8>) -> TensorProto {
    TensorProto {
        name: name.into(),
        data_type: data_type as i32,
        dims: shape.iter().map(|d| *d as i64).collect(),
        raw_data,
        ..TensorProto::default()
    }
}

fn value_info(name: &str, dims: &[&str]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension::Value};
    let dim = dims
        .iter()
        .map(|d| Dimension {
            value: Some(d.parse().map_or_else(|_| Value::DimParam(d.to_string()), Value::DimValue)),
            ..Dimension::default()
        })
        .collect();
    let tensor = type_proto::Tensor { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() }),
        ..ValueInfoProto::default()
    }
}
