//! LRN as one operator of our own, put in the place of what `trunk.onnx` says with standard operators.
//!
//! Across channels ONNX has a node for it (`graph`). Within a channel it is the chain
//! `x / pow(k + alpha · average_pool(x·x), beta)`, six passes over the largest map of the network, which become one.

use tract_core::internal::*;
use tract_core::model::Rewriter;
use tract_core::ops::binary::TypedBinOp;
use tract_core::ops::cnn::SumPool;
use tract_core::ops::math::{Add, Div, Mul, Pow};
use tract_core::ops::nn::DataFormat;

use super::layer::Layer;
use super::layout::replace;
use crate::kernels::{Kernels, LrnParams, LrnWindow, lrn};

/// Replaces every LRN within channels.
pub fn rewrite(model: &mut TypedModel, kernels: Kernels) -> TractResult<()> {
    Rewriter::<()>::default()
        .with_rule_for::<TypedBinOp>("lrn-within", move |(), model, node, _name, _| {
            rule_if_some!((x, params) = within_channel(model, node));
            replace(model, node, x, LrnLayer { kernels, params })
        })
        .rewrite(&(), model)
}

/// The input and the numbers, if `node` is the division at the end of a within-channel LRN.
fn within_channel(model: &TypedModel, node: &TypedNode) -> Option<(OutletId, LrnParams)> {
    let [x, power] = operands::<Div>(node)?;
    let (base, beta) = with_constant::<Pow>(model, power)?;
    let (scaled, k) = with_constant::<Add>(model, base)?;
    let (mean, alpha) = with_constant::<Mul>(model, scaled)?;
    let mean = model.node(mean.node);
    let pool = mean.op_as::<SumPool>()?;
    let [square] = mean.inputs[..] else { return None };
    (operands::<Mul>(model.node(square.node))? == [x, x]).then_some(())?;

    let spec = &pool.pool_spec;
    let [size, other] = spec.kernel_shape[..] else { return None };
    let pad = (size - 1) / 2;
    let padding = spec.computed_padding(&[size, size]);
    let fits = size == other
        && size % 2 == 1
        && pool.normalize
        && pool.count_include_pad
        && spec.data_format == DataFormat::NCHW
        && spec.strides().iter().chain(&*spec.dilations()).all(|s| *s == 1)
        && padding.iter().all(|p| p.pad_before == pad && p.pad_after == pad);
    fits.then_some((x, LrnParams { window: LrnWindow::Square(size), alpha, beta, k }))
}

/// The two inputs of a binary node of one kind.
fn operands<Op: tract_core::ops::binary::BinMiniOp>(node: &TypedNode) -> Option<[OutletId; 2]> {
    let op = node.op_as::<TypedBinOp>()?;
    match node.inputs[..] {
        [a, b] if op.0.is::<Op>() => Some([a, b]),
        _ => None,
    }
}

/// The first input of a binary node whose second is one number.
fn with_constant<Op: tract_core::ops::binary::BinMiniOp>(
    model: &TypedModel,
    outlet: OutletId,
) -> Option<(OutletId, f32)> {
    let [a, b] = operands::<Op>(model.node(outlet.node))?;
    let constant = model.outlet_fact(b).ok()?.konst.as_ref()?.as_uniform()?;
    Some((a, constant.cast_to_scalar::<f32>().ok()?))
}

/// An LRN, channels-last.
#[derive(Debug, Clone, PartialEq)]
pub struct LrnLayer {
    /// What computes it.
    pub kernels: Kernels,
    /// Its numbers.
    pub params: LrnParams,
}

impl Layer for LrnLayer {
    const NAME: &'static str = "EdgeRcnnLrn";

    fn shape<D: DimLike>(&self, input: &[D]) -> TractResult<TVec<D>> {
        Ok(input.into())
    }

    fn compute(&self, x: &[f32], from: &[usize], out: &mut [f32], _to: &[usize]) -> TractResult<()> {
        lrn(self.kernels, self.params, x, [from[1], from[2], from[3]], out);
        Ok(())
    }
}
