//! `trunk.onnx` as a model of the engine.
//!
//! The engine's reader takes the operators from a register. In ours all are an [`Operator`], which knows those that
//! `model/onnx/trunk.rs` writes for real numbers: with the register of all of ONNX every operator there is, and its shape
//! inference, would be part of the program.

use prost::Message;
use tract_onnx::Onnx;
use tract_onnx::model::{OnnxOpRegister, ParsingContext};
use tract_onnx::pb::{AttributeProto, ModelProto, NodeProto};
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cast::cast;
use tract_onnx::tract_core::ops::cnn::{Conv, KernelFormat, MaxPool, PaddingSpec, PoolSpec, SumPool};
use tract_onnx::tract_core::ops::math;
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx::tract_hir::internal::*;
use tract_onnx_opl::lrn::Lrn;

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

/// Reads the file.
pub fn read(onnx: &[u8]) -> TractResult<TypedModel> {
    let model = ModelProto::decode(onnx)?;
    let mut op_register = OnnxOpRegister::default();
    for node in model.graph.iter().flat_map(|graph| &graph.node) {
        op_register.0.insert(node.op_type.clone(), operator);
    }
    // The names of the output's symbolic sides are for people; tract derives the sides itself.
    let reader = Onnx { op_register, ..Onnx::default() }.with_ignore_output_shapes(true);
    reader.model_for_proto_model(&model)?.into_typed()
}

/// An operator, from its node.
fn operator(_: &ParsingContext, node: &NodeProto) -> TractResult<(Box<dyn InferenceOp>, Vec<String>)> {
    let operator = Operator::of(node).with_context(|| format!("node {}", node.name))?;
    Ok((expand(operator), Vec::new()))
}

/// What a node computes.
#[derive(Debug, Clone)]
enum Operator {
    Conv(Windows, usize),
    MaxPool(Windows),
    /// Of its windows; whether they count what they cover beyond the map.
    AveragePool(Windows, bool),
    Relu,
    /// Across channels.
    Lrn(Lrn),
    /// Weights in half precision become f32.
    Widen,
    Binary(TypedBinOp),
}

/// Windows that are moved over a map.
#[derive(Debug, Clone)]
struct Windows {
    kernel: TVec<usize>,
    strides: TVec<usize>,
    padding: PaddingSpec,
}

impl Operator {
    fn of(node: &NodeProto) -> TractResult<Self> {
        if let Some(other) = node.attribute.iter().find(|a| !ATTRIBUTES.contains(&&*a.name)) {
            bail!("attribute {} is not known", other.name);
        }
        let number = |name| attribute(node, name).map(|a| a.f);
        Ok(match &*node.op_type {
            "Conv" => Self::Conv(Windows::of(node, false)?, attribute(node, "group").and_then(whole)?),
            "MaxPool" => Self::MaxPool(Windows::of(node, true)?),
            "AveragePool" => Self::AveragePool(Windows::of(node, true)?, attribute(node, "count_include_pad")?.i == 1),
            "Relu" => Self::Relu,
            "LRN" => Self::Lrn(Lrn {
                alpha: number("alpha")?,
                beta: number("beta")?,
                bias: number("bias")?,
                size: attribute(node, "size").and_then(whole)?,
            }),
            "Cast" => Self::Widen,
            "Add" => Self::Binary(math::add()),
            "Mul" => Self::Binary(math::mul()),
            "Div" => Self::Binary(math::div()),
            "Pow" => Self::Binary(math::pow()),
            other => bail!("operator {other} is not known"),
        })
    }
}

impl Expansion for Operator {
    fn name(&self) -> StaticName {
        "EdgeRcnnOperator".into()
    }

    /// Nothing has to be inferred: the input's shape is given, and each node knows what it makes of it.
    fn rules<'r, 'p: 'r, 's: 'r>(
        &'s self,
        _: &mut Solver<'r>,
        _: &'p [TensorProxy],
        _: &'p [TensorProxy],
    ) -> InferenceResult {
        Ok(())
    }

    fn wire(&self, name: &str, model: &mut TypedModel, inputs: &[OutletId]) -> TractResult<TVec<OutletId>> {
        let x = *inputs.first().with_context(|| format!("node {name}: has no input"))?;
        match self {
            Self::Conv(windows, group) => {
                ensure!(inputs.len() == 3, "node {name}: has {} inputs", inputs.len());
                let shape = model.outlet_fact(inputs[1])?.shape.as_concrete().map(TVec::from);
                let shape = shape.with_context(|| format!("node {name}: has no constant weight"))?;
                let [output, per_group, ..] = *shape else { bail!("node {name}: has weights of shape {shape:?}") };
                let spec = PoolSpec { output_channels: output, ..windows.over(model, x)? };
                let fits = per_group.checked_mul(*group) == Some(spec.input_channels);
                ensure!(fits, "node {name}: is for another number of channels");
                model.wire_node(name, Conv::new(spec, KernelFormat::OIHW, *group, None), inputs)
            }
            Self::MaxPool(windows) => model.wire_node(name, MaxPool::new(windows.over(model, x)?, None), &[x]),
            Self::AveragePool(windows, count_padding) => {
                model.wire_node(name, SumPool::new(windows.over(model, x)?, *count_padding, true), &[x])
            }
            Self::Relu => {
                let zero = model.add_const(format!("{name}.zero"), Tensor::zero::<f32>(&[1; 4])?)?;
                model.wire_node(name, math::max(), &[x, zero])
            }
            Self::Lrn(lrn) => model.wire_node(name, lrn.clone(), &[x]),
            Self::Widen => model.wire_node(name, cast(f32::datum_type()), &[x]),
            Self::Binary(op) => wire_with_rank_broadcast(name, model, op.clone(), inputs),
        }
    }
}

impl Windows {
    /// Those of a node; pooling may round up at the edge.
    fn of(node: &NodeProto, pooling: bool) -> TractResult<Self> {
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
        Ok(Self { kernel, strides, padding })
    }

    /// Moved over the map `x`.
    fn over(&self, model: &TypedModel, x: OutletId) -> TractResult<PoolSpec> {
        let channels = model.outlet_fact(x)?.shape.get(1).context("has no map")?.to_usize()?;
        let (kernel, strides, padding) = (self.kernel.clone(), Some(self.strides.clone()), self.padding.clone());
        Ok(PoolSpec::new(DataFormat::NCHW, kernel, padding, None, strides, channels, channels))
    }
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
