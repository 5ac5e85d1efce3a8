//! Convolutions on our own kernels, with the ReLU and the pooling that follow.
//!
//! Weights are packed when the model is read, once for all input sizes. A convolution that the kernels do not know
//! (dilated, or with another step along rows than along columns) stays the engine's.

use std::sync::Mutex;

use tract_core::internal::*;
use tract_core::model::Rewriter;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cnn::{Conv, KernelFormat, PaddingSpec, PoolSpec};
use tract_core::ops::math::Max;
use tract_core::ops::nn::DataFormat;

use super::layer::{Layer, LayerOp};
use super::layout::{layer_before, replace};
use super::lrn::LrnLayer;
use super::pool::PoolLayer;
use crate::kernels::{self, Bf16, ConvShape, Kernels, LrnParams, Scratch};

/// Replaces every convolution it can, then joins each with its ReLU.
pub fn rewrite(model: &mut TypedModel, kernels: Kernels, bf16: Option<Bf16>) -> TractResult<()> {
    let workspace = Arc::new(Workspace::default());
    Rewriter::<()>::default()
        .with_rule_for::<Conv>("convolution", move |(), model, node, _name, conv| {
            rule_if_some!(shape = conv_shape(conv));
            rule_if_some!(weight = constant(model, node.inputs[1]));
            rule_if_some!(bias = constant(model, node.inputs[2]));
            rule_if!(weight.len() == shape.weights());
            let (weight, bias) = (weight.cast_to::<f32>()?, bias.cast_to::<f32>()?);
            let bias = bias.broadcast_to_shape(&[shape.output])?;
            let (weight, bias) = (weight.view(), bias.view());
            let conv = kernels::Conv::new(kernels, shape, weight.as_slice::<f32>()?, bias.as_slice::<f32>()?, bf16);
            log::debug!("{}: {}, {shape:?}", node.name, conv.method());
            let workspace = workspace.clone();
            replace(
                model,
                node,
                node.inputs[0],
                ConvLayer { conv: Arc::new(conv), relu: false, lrn: None, pool: None, workspace },
            )
        })
        .rewrite(&(), model)?;
    Rewriter::<()>::default()
        .with_rule_for::<TypedBinOp>("convolution and ReLU", |(), model, node, _name, op| {
            rule_if!(op.0.is::<Max>());
            let zero =
                |slot: &usize| constant(model, node.inputs[*slot]).is_some_and(|c| c.is_all_zero().unwrap_or(false));
            rule_if_some!(slot = (0..2).find(zero));
            let x = node.inputs[1 - slot];
            rule_if_some!((before, layer) = layer_before::<ConvLayer>(model, x));
            let alone = |outlet: OutletId| model.outlet_successors(outlet).len() == 1;
            rule_if!(alone(x) && alone(before.id.into()) && !model.output_outlets()?.contains(&x));
            let layer = ConvLayer { relu: true, ..layer.clone() };
            // Channels-last already; the change back to channel-major follows anew.
            let mut patch = TypedModelPatch::new("convolution and ReLU");
            let x = patch.tap_model(model, before.inputs[0])?;
            let y = patch.wire_node(&before.name, LayerOp(layer), &[x])?;
            let y = patch.wire_node(&node.name, LayerOp(super::layout::Layout::ChannelMajor), &y)?;
            patch.shunt_outside(model, node.id.into(), y[0])?;
            Ok(Some(patch))
        })
        .rewrite(&(), model)
}

fn constant(model: &TypedModel, outlet: OutletId) -> Option<&Arc<Tensor>> {
    model.outlet_fact(outlet).ok()?.konst.as_ref()
}

fn conv_shape(conv: &Conv) -> Option<ConvShape> {
    let (kernel, stride, pad) = square(&conv.pool_spec)?;
    let plain = conv.q_params.is_none() && conv.kernel_fmt == KernelFormat::OIHW;
    let (input, output) = (conv.input_channels(), conv.output_channels());
    plain.then_some(ConvShape { input, output, kernel, stride, pad, groups: conv.group })
}

/// Kernel, stride and padding of windows that are the same in both directions and on both sides.
pub fn square(spec: &PoolSpec) -> Option<(usize, usize, usize)> {
    let [kernel, other] = spec.kernel_shape[..] else { return None };
    let (stride, pads) = (
        spec.stride(0),
        match &spec.padding {
            PaddingSpec::Valid => 0,
            PaddingSpec::Explicit(before, after) | PaddingSpec::ExplicitOnnxPool(before, after, _) => {
                let first = *before.first()?;
                before.iter().chain(after.iter()).all(|p| *p == first).then_some(first)?
            }
            _ => return None,
        },
    );
    let fits = kernel == other
        && stride == spec.stride(1)
        && spec.data_format == DataFormat::NCHW
        && spec.dilations().iter().all(|d| *d == 1);
    fits.then_some((kernel, stride, pads))
}

/// Joins each convolution that can with the pooling that follows, and with an LRN between the two. Comes after changes of layout between them are gone.
pub fn join_pooling(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::<()>::default()
        .with_rule_for::<LayerOp<PoolLayer>>("convolution and pooling", |(), model, node, _name, op| {
            // Nobody else wants what comes before.
            let alone = |outlet: OutletId| -> TractResult<Option<&TypedNode>> {
                let only = model.outlet_successors(outlet).len() == 1 && !model.output_outlets()?.contains(&outlet);
                Ok(only.then(|| model.node(outlet.node)))
            };
            rule_if_some!(before = alone(node.inputs[0])?);
            let (before, lrn) = match before.op_as::<LayerOp<LrnLayer>>() {
                None => (before, None),
                Some(lrn) => {
                    rule_if!(kernels::Conv::normalises(&lrn.0.params, &op.0.pool));
                    rule_if_some!(conv = alone(before.inputs[0])?);
                    (conv, Some(lrn.0.params))
                }
            };
            rule_if_some!(conv = before.op_as::<LayerOp<ConvLayer>>());
            rule_if!(conv.0.conv.pools() && conv.0.pool.is_none());
            let layer = ConvLayer { lrn, pool: Some(op.0.clone()), ..conv.0.clone() };
            let mut patch = TypedModelPatch::new("convolution and pooling");
            let x = patch.tap_model(model, before.inputs[0])?;
            let y = patch.wire_node(&before.name, LayerOp(layer), &[x])?;
            patch.shunt_outside(model, node.id.into(), y[0])?;
            Ok(Some(patch))
        })
        .rewrite(&(), model)
}

/// A convolution, channels-last, with what was joined to it.
#[derive(Clone)]
struct ConvLayer {
    conv: Arc<kernels::Conv>,
    relu: bool,
    /// Before the pooling.
    lrn: Option<LrnParams>,
    pool: Option<PoolLayer>,
    workspace: Arc<Workspace>,
}

/// Working memory that all convolutions of a trunk share; more than one only if several threads run the trunk at once.
#[derive(Default)]
struct Workspace(Mutex<Vec<Scratch>>);

impl Workspace {
    fn lend<T>(&self, run: impl FnOnce(&mut Scratch) -> T) -> T {
        // A panic elsewhere leaves the list whole.
        let lock = || self.0.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let taken = lock().pop();
        let mut scratch = taken.unwrap_or_default();
        let result = run(&mut scratch);
        lock().push(scratch);
        result
    }
}

impl PartialEq for ConvLayer {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.conv, &other.conv)
            && (self.relu, self.lrn, &self.pool) == (other.relu, other.lrn, &other.pool)
    }
}

impl std::fmt::Debug for ConvLayer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {:?} relu={}", self.conv.method(), self.conv.shape(), self.relu)?;
        self.lrn.as_ref().map_or(Ok(()), |lrn| write!(f, " lrn={lrn:?}"))?;
        self.pool.as_ref().map_or(Ok(()), |pool| write!(f, " pool={:?}", pool.pool))
    }
}

impl Layer for ConvLayer {
    const NAME: &'static str = "EdgeRcnnConv";

    fn shape<D: DimLike>(&self, input: &[D]) -> TractResult<TVec<D>> {
        let [n, rows, cols, _] = input else { bail!("convolution of a shape {input:?}") };
        let shape = self.conv.shape();
        let len = |len: &D| -> TractResult<D> {
            let room = len.clone() + 2 * shape.pad;
            // As numbers: a map smaller than the kernel has no output; as symbols there is no telling.
            if let Ok(len) = len.to_usize() {
                return Ok(shape.out_len(len).into());
            }
            Ok((room + 1 - shape.kernel).divceil(shape.stride))
        };
        let map = tvec![n.clone(), len(rows)?, len(cols)?, shape.output.into()];
        self.pool.as_ref().map_or(Ok(map.clone()), |pool| pool.shape(&map))
    }

    fn compute(&self, x: &[f32], from: &[usize], out: &mut [f32], to: &[usize]) -> TractResult<()> {
        let (rows, cols, relu) = (from[1], from[2], self.relu);
        self.workspace.lend(|scratch| match &self.pool {
            None => self.conv.run(x, rows, cols, relu, scratch, out),
            Some(p) => {
                self.conv.run_pooled(x, rows, cols, relu, (self.lrn, p.pool), scratch, out, [to[1], to[2], to[3]]);
            }
        });
        Ok(())
    }
}
