//! `trunk.onnx` as a model of the engine.
//!
//! Known are the operators that `model/onnx/trunk.rs` writes for real numbers. The engine has a reader of its own for all
//! of ONNX; with it every operator there is, and its shape inference, would be part of the program.

use std::collections::HashMap;

use tract_core::internal::*;
use tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_core::ops::math;
use tract_core::ops::nn::DataFormat;

use super::{layout, lrn::LrnLayer};
use crate::kernels::{Kernels, LrnParams, LrnWindow};
use crate::model::onnx::messages::{AttributeProto, DataType, Dim, NodeProto, TensorProto, ValueInfoProto};
use crate::model::onnx::{floats, graph, shape};

/// Of all operators. Another one changes what is computed, as `dilations` would.
const ATTRIBUTES: [&str; 11] = [
    "alpha",
    "beta",
    "bias",
    "ceil_mode",
    "count_include_pad",
    "group",
    "kernel_shape",
    "pads",
    "size",
    "strides",
    "to",
];

/// Reads the file. `kernels` are those of LRN across channels, which is never left to the engine.
pub fn read(onnx: &[u8], kernels: Kernels) -> TractResult<TypedModel> {
    let graph = graph(onnx)?;
    let constants = graph.initializer.iter().map(|t| (t.name.as_str(), t)).collect();
    let mut reader = Reader { constants, kernels, model: TypedModel::default(), values: HashMap::new() };
    for input in &graph.input {
        reader.input(input).with_context(|| format!("input {}", input.name))?;
    }
    for node in &graph.node {
        reader.node(node).with_context(|| format!("node {}", node.name))?;
    }
    let outputs: Vec<OutletId> = graph.output.iter().map(|o| reader.value(&o.name)).collect::<TractResult<_>>()?;
    reader.model.select_output_outlets(&outputs)?;
    Ok(reader.model)
}

struct Reader<'a> {
    /// Become nodes when they are asked for.
    constants: HashMap<&'a str, &'a TensorProto>,
    kernels: Kernels,
    model: TypedModel,
    /// What there is so far, by name.
    values: HashMap<String, OutletId>,
}

impl Reader<'_> {
    fn input(&mut self, input: &ValueInfoProto) -> TractResult<()> {
        let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let shape = tensor.and_then(|t| t.shape.as_ref()).context("has no shape")?;
        let dims = shape.dim.iter().map(|dim| match &dim.value {
            Some(Dim::DimValue(len)) => Ok(len.to_dim()),
            Some(Dim::DimParam(name)) => Ok(self.model.symbols.sym(name).to_dim()),
            None => bail!("has a dimension without a name"),
        });
        let dims = dims.collect::<TractResult<TVec<TDim>>>()?;
        let source = self.model.add_source(&input.name, f32::fact(dims))?;
        self.values.insert(input.name.clone(), source);
        Ok(())
    }

    /// A value that there is already, or a constant. Halves become whole numbers here, once.
    fn value(&mut self, name: &str) -> TractResult<OutletId> {
        if let Some(value) = self.values.get(name) {
            return Ok(*value);
        }
        let constant = self.constants.get(name).with_context(|| format!("there is no value {name}"))?;
        // Single numbers are combined with maps.
        let shape = if constant.dims.is_empty() { vec![1; 4] } else { shape(constant)? };
        let value = self.model.add_const(name, Tensor::from_shape(&shape, &floats(constant)?)?)?;
        self.values.insert(name.into(), value);
        Ok(value)
    }

    fn node(&mut self, node: &NodeProto) -> TractResult<()> {
        if let Some(other) = node.attribute.iter().find(|a| !ATTRIBUTES.contains(&a.name.as_str())) {
            bail!("attribute {} of {} is not known", other.name, node.op_type);
        }
        // Looked at before the inputs: those of an operator that is not known may be of any kind.
        let wire = match node.op_type.as_str() {
            "Conv" => Self::conv,
            "Relu" => Self::relu,
            "MaxPool" => Self::max_pool,
            "AveragePool" => Self::average_pool,
            "LRN" => Self::lrn,
            "Cast" => Self::cast,
            "Add" | "Mul" | "Div" | "Pow" => Self::binary,
            other => bail!("operator {other} is not known"),
        };
        let inputs = node.input.iter().map(|name| self.value(name)).collect::<TractResult<TVec<_>>>()?;
        let value = wire(self, node, &inputs)?;
        let [output] = &node.output[..] else { bail!("has {} outputs", node.output.len()) };
        self.values.insert(output.clone(), value);
        Ok(())
    }

    fn wire(
        &mut self,
        node: &NodeProto,
        op: impl Into<Box<dyn TypedOp>>,
        inputs: &[OutletId],
    ) -> TractResult<OutletId> {
        Ok(self.model.wire_node(&node.name, op, inputs)?[0])
    }

    fn conv(&mut self, node: &NodeProto, inputs: &[OutletId]) -> TractResult<OutletId> {
        let [x, weight, _bias] = inputs else { bail!("has {} inputs", inputs.len()) };
        let group = attribute(node, "group").and_then(whole)?;
        let shape = self.model.outlet_fact(*weight)?.shape.as_concrete().context("has no constant weight")?;
        let [output, per_group, ..] = *shape else { bail!("has weights of the shape {shape:?}") };
        let windows = PoolSpec { output_channels: output, ..self.windows(node, *x, false)? };
        ensure!(per_group.checked_mul(group) == Some(windows.input_channels), "is for another number of channels");
        self.wire(node, Conv::new(windows, KernelFormat::OIHW, group, None), inputs)
    }

    fn max_pool(&mut self, node: &NodeProto, inputs: &[OutletId]) -> TractResult<OutletId> {
        let windows = self.windows(node, first(inputs)?, true)?;
        self.wire(node, MaxPool::new(windows, None), inputs)
    }

    fn average_pool(&mut self, node: &NodeProto, inputs: &[OutletId]) -> TractResult<OutletId> {
        let windows = self.windows(node, first(inputs)?, true)?;
        let count_padding = attribute(node, "count_include_pad")?.i == 1;
        self.wire(node, SumPool::new(windows, count_padding, true), inputs)
    }

    fn relu(&mut self, node: &NodeProto, inputs: &[OutletId]) -> TractResult<OutletId> {
        let zero = self.model.add_const(format!("{}.zero", node.name), Tensor::zero::<f32>(&[1; 4])?)?;
        self.wire(node, math::max(), &[first(inputs)?, zero])
    }

    fn lrn(&mut self, node: &NodeProto, inputs: &[OutletId]) -> TractResult<OutletId> {
        let number = |name| attribute(node, name).map(|a| a.f);
        let window = LrnWindow::Channels(attribute(node, "size").and_then(whole)?);
        let params = LrnParams { window, alpha: number("alpha")?, beta: number("beta")?, k: number("bias")? };
        layout::wire(&mut self.model, &node.name, first(inputs)?, LrnLayer { kernels: self.kernels, params })
    }

    /// Constants in half precision have been converted when they were read.
    fn cast(&mut self, node: &NodeProto, inputs: &[OutletId]) -> TractResult<OutletId> {
        ensure!(attribute(node, "to")?.i == DataType::Float as i64, "does not become f32");
        first(inputs)
    }

    fn binary(&mut self, node: &NodeProto, inputs: &[OutletId]) -> TractResult<OutletId> {
        let op = match node.op_type.as_str() {
            "Add" => math::add(),
            "Mul" => math::mul(),
            "Div" => math::div(),
            _ => math::pow(),
        };
        self.wire(node, op, inputs)
    }

    /// The windows that a node moves over the map `x`. Those of pooling may be rounded up at the edge.
    fn windows(&self, node: &NodeProto, x: OutletId, pooling: bool) -> TractResult<PoolSpec> {
        let list = |name| attribute(node, name).and_then(wholes);
        let (kernel, strides, pads) = (list("kernel_shape")?, list("strides")?, list("pads")?);
        ensure!(kernel.len() == 2 && strides.len() == 2 && pads.len() == 4, "has no windows of two dimensions");
        ensure!(kernel.iter().chain(&strides).all(|n| *n > 0), "has empty windows or steps");
        let (before, after) = (pads[..2].into(), pads[2..].into());
        let round_up = attribute(node, "ceil_mode").is_ok_and(|a| a.i == 1);
        let padding = match pooling {
            true => PaddingSpec::ExplicitOnnxPool(before, after, round_up),
            false => PaddingSpec::Explicit(before, after),
        };
        let channels = self.model.outlet_fact(x)?.shape.get(1).context("has no map")?.to_usize()?;
        Ok(PoolSpec::new(DataFormat::NCHW, kernel, padding, None, Some(strides), channels, channels))
    }
}

fn first(inputs: &[OutletId]) -> TractResult<OutletId> {
    inputs.first().copied().context("has no input")
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> TractResult<&'a AttributeProto> {
    node.attribute.iter().find(|a| a.name == name).with_context(|| format!("has no {name}"))
}

fn whole(attribute: &AttributeProto) -> TractResult<usize> {
    usize::try_from(attribute.i).with_context(|| format!("has a negative {}", attribute.name))
}

fn wholes(attribute: &AttributeProto) -> TractResult<TVec<usize>> {
    let whole = |i: &i64| usize::try_from(*i).with_context(|| format!("has negative {}", attribute.name));
    attribute.ints.iter().map(whole).collect()
}
