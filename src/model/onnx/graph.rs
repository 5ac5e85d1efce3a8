//! A small builder for ONNX graphs.

use prost::Message;

use super::StorageType;
use super::messages::{
    AttributeProto, AttributeType, DataType, Dim, DimensionProto, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, TensorProto, TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto,
};
use crate::model::quantize::{QuantLayer, Quantized};
use crate::model::{Tensor, Weights, WeightsError};

/// ONNX's version of the container format that goes with opset 17.
const IR_VERSION: i64 = 8;
/// The operator set that the graphs are written in.
const OPSET: i64 = 17;

/// The numbers that go into a graph.
#[derive(Debug, Clone, Copy)]
pub enum Numbers<'a> {
    /// Real ones.
    Real(&'a Weights, StorageType),
    /// 8-bit ones: each weight and each quantised map becomes a pair of `QuantizeLinear` and `DequantizeLinear` (QDQ).
    Quantized(&'a Quantized),
}

impl Numbers<'_> {
    /// True if the layer has a weight.
    pub fn has_layer(&self, layer: &str) -> bool {
        match self {
            Self::Real(weights, _) => weights.has_layer(layer),
            Self::Quantized(quantized) => quantized.layers.contains_key(layer),
        }
    }

    /// Outputs of a layer; of an SVD pair, those of its second half.
    pub fn outputs(&self, layer: &str) -> usize {
        let of = |layer: &str| match self {
            Self::Real(weights, _) => weights.get(&format!("{layer}.bias")).map(|b| b.data.len()),
            Self::Quantized(quantized) => quantized.layers.get(layer).map(|l| l.scales.len()),
        };
        of(layer).or_else(|| of(&format!("{layer}_u"))).unwrap_or(0)
    }
}

/// Nodes and initialisers of a graph being built.
pub struct GraphBuilder<'a> {
    numbers: Numbers<'a>,
    graph: GraphProto,
}

impl<'a> GraphBuilder<'a> {
    /// An empty graph that takes its tensors from `numbers`.
    pub fn new(name: &str, numbers: Numbers<'a>) -> Self {
        Self { numbers, graph: GraphProto { name: name.into(), ..GraphProto::default() } }
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
        });
        output.into()
    }

    /// Adds a number as an initialiser.
    pub fn scalar(&mut self, name: &str, value: f32) -> String {
        self.graph.initializer.push(float_tensor(name, &[], &[value]));
        name.into()
    }

    /// Adds a layer's weight, in half precision or 8 bits if asked for and possible, and returns the name of its f32 value.
    pub fn weight(&mut self, layer: &str) -> Result<String, WeightsError> {
        let name = format!("{layer}.weight");
        let (weights, storage) = match self.numbers {
            Numbers::Real(weights, storage) => (weights, storage),
            Numbers::Quantized(quantized) => {
                let quant = self.quantized_layer(quantized, layer)?;
                let raw = quant.weight.iter().map(|w| w.to_le_bytes()[0]).collect();
                self.graph.initializer.push(raw_tensor(&name, DataType::Int8, &quant.shape, raw));
                return Ok(self.dequantized(&name, &quant.scales, DataType::Int8));
            }
        };
        let tensor = self.find(weights, &name)?;
        // A value beyond the range of f16 would become infinite: such a tensor stays exact.
        let fits = tensor.data.iter().all(|v| v.abs() <= half::f16::MAX.to_f32());
        if storage == StorageType::F32 || !fits {
            self.graph.initializer.push(float_tensor(&name, &tensor.shape, &tensor.data));
            return Ok(name);
        }
        let raw = tensor.data.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
        self.graph.initializer.push(raw_tensor(&name, DataType::Float16, &tensor.shape, raw));
        let to = attr_int("to", DataType::Float as i64);
        Ok(self.node("Cast", &[&name], &format!("{name}.f32"), vec![to]))
    }

    /// Adds a layer's bias and returns the name of its f32 value. Real ones are always f32, they are small and added last;
    /// quantised ones i32 at the scale of the sums over the map `input`.
    pub fn bias(&mut self, layer: &str, input: &str) -> Result<String, WeightsError> {
        let name = format!("{layer}.bias");
        match self.numbers {
            Numbers::Real(weights, _) => {
                let tensor = self.find(weights, &name)?;
                self.graph.initializer.push(float_tensor(&name, &tensor.shape, &tensor.data));
                Ok(name)
            }
            Numbers::Quantized(quantized) => {
                let quant = self.quantized_layer(quantized, layer)?;
                let bias = quant.bias.as_ref().ok_or_else(|| self.missing(&name))?;
                let map = quantized.activations.get(input).ok_or_else(|| self.missing(input))?;
                let scales: Vec<f32> = quant.scales.iter().map(|s| map.scale * s).collect();
                let raw = bias.iter().flat_map(|b| b.to_le_bytes()).collect();
                self.graph.initializer.push(raw_tensor(&name, DataType::Int32, &[bias.len()], raw));
                Ok(self.dequantized(&name, &scales, DataType::Int32))
            }
        }
    }

    /// Quantises the value `x`, which is the map `map`, and makes it real again, as `out`. In a graph of real numbers
    /// there is nothing to do, and `x` itself is returned.
    pub fn map(&mut self, x: &str, map: &str, out: &str) -> Result<String, WeightsError> {
        let Numbers::Quantized(quantized) = self.numbers else { return Ok(x.into()) };
        let activation = quantized.activations.get(map).ok_or_else(|| self.missing(map))?;
        let (scale, zero, quant) = (format!("{map}.scale"), format!("{map}.zero_point"), format!("{map}.u8"));
        let per_channel = activation.zeros.len() > 1;
        let shape: &[usize] = if per_channel { &[activation.zeros.len()] } else { &[] };
        self.graph.initializer.push(float_tensor(&scale, shape, &vec![activation.scale; activation.zeros.len()]));
        self.graph.initializer.push(raw_tensor(&zero, DataType::Uint8, shape, activation.zeros.clone()));
        let axis = || if per_channel { vec![attr_int("axis", 1)] } else { vec![] };
        self.node("QuantizeLinear", &[x, &scale, &zero], &quant, axis());
        Ok(self.node("DequantizeLinear", &[&quant, &scale, &zero], out, axis()))
    }

    /// Makes an initialiser real again: one scale for each of its first dimension, zero point 0.
    fn dequantized(&mut self, name: &str, scales: &[f32], data_type: DataType) -> String {
        let (scale, zero) = (format!("{name}.scale"), format!("{name}.zero_point"));
        let bytes = if data_type == DataType::Int8 { 1 } else { 4 };
        self.graph.initializer.push(float_tensor(&scale, &[scales.len()], scales));
        self.graph.initializer.push(raw_tensor(&zero, data_type, &[scales.len()], vec![0; scales.len() * bytes]));
        let axis = vec![attr_int("axis", 0)];
        self.node("DequantizeLinear", &[name, &scale, &zero], &format!("{name}.f32"), axis)
    }

    fn quantized_layer(&self, quantized: &'a Quantized, layer: &str) -> Result<&'a QuantLayer, WeightsError> {
        quantized.layers.get(layer).ok_or_else(|| self.missing(&format!("{layer}.weight")))
    }

    fn find(&self, weights: &'a Weights, name: &str) -> Result<&'a Tensor, WeightsError> {
        weights.get(name).ok_or_else(|| self.missing(name))
    }

    fn missing(&self, tensor: &str) -> WeightsError {
        WeightsError::Missing { tensor: tensor.into(), network: self.graph.name.clone(), hint: None }
    }

    /// The finished file.
    pub fn finish(self) -> Vec<u8> {
        ModelProto {
            ir_version: IR_VERSION,
            // No version here: equal weights give equal files, and so equal checksums, from any build.
            producer_name: "edge-rcnn".into(),
            opset_import: vec![OperatorSetIdProto { domain: String::new(), version: OPSET }],
            graph: Some(self.graph),
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
    let dim = |d: &&str| d.parse().map_or_else(|_| Dim::DimParam(d.to_string()), Dim::DimValue);
    let dim = dims.iter().map(|d| DimensionProto { value: Some(dim(d)) }).collect();
    let tensor = TensorTypeProto { elem_type: DataType::Float as i32, shape: Some(TensorShapeProto { dim }) };
    ValueInfoProto { name: name.into(), r#type: Some(TypeProto { tensor_type: Some(tensor) }) }
}
