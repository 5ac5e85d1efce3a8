//! LRN as one operator of our own, put in the place of what `trunk.onnx` says with standard operators.
//!
//! Across channels ONNX has a node for it, which tract runs value by value. Within a channel it is the chain
//! `x / pow(k + alpha · average_pool(x·x), beta)`, six passes over the largest map of the network. Both become one pass.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::model::Rewriter;
use tract_onnx::tract_core::ops::binary::TypedBinOp;
use tract_onnx::tract_core::ops::cnn::SumPool;
use tract_onnx::tract_core::ops::math::{Add, Div, Mul, Pow};
use tract_onnx::tract_core::ops::nn::DataFormat;
use tract_onnx_opl::lrn::Lrn as OnnxLrn;

use crate::kernels::{LrnParams, LrnWindow, lrn};

/// Replaces every LRN of the model.
pub fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::<()>::default()
        .with_rule_for::<OnnxLrn>("lrn-across", |(), model, node, name, op| {
            let window = LrnWindow::Channels(op.size);
            let params = LrnParams { window, alpha: op.alpha, beta: op.beta, k: op.bias };
            replace(model, node, name, node.inputs[0], params)
        })
        .with_rule_for::<TypedBinOp>("lrn-within", |(), model, node, name, _| {
            rule_if_some!((x, params) = within_channel(model, node));
            replace(model, node, name, x, params)
        })
        .rewrite(&(), model)
}

fn replace(
    model: &TypedModel,
    node: &TypedNode,
    name: &str,
    x: OutletId,
    params: LrnParams,
) -> TractResult<Option<TypedModelPatch>> {
    let fact = model.outlet_fact(x)?;
    rule_if!(fact.datum_type == f32::datum_type() && fact.rank() == 4);
    let mut patch = TypedModelPatch::new("lrn");
    let x = patch.tap_model(model, x)?;
    let y = patch.wire_node(name, LrnOp(params), &[x])?;
    patch.shunt_outside(model, node.id.into(), y[0])?;
    Ok(Some(patch))
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
fn operands<Op: tract_onnx::tract_core::ops::binary::BinMiniOp>(node: &TypedNode) -> Option<[OutletId; 2]> {
    let op = node.op_as::<TypedBinOp>()?;
    match node.inputs[..] {
        [a, b] if op.0.is::<Op>() => Some([a, b]),
        _ => None,
    }
}

/// The first input of a binary node whose second is one number.
fn with_constant<Op: tract_onnx::tract_core::ops::binary::BinMiniOp>(
    model: &TypedModel,
    outlet: OutletId,
) -> Option<(OutletId, f32)> {
    let [a, b] = operands::<Op>(model.node(outlet.node))?;
    let constant = model.outlet_fact(b).ok()?.konst.as_ref()?.as_uniform()?;
    Some((a, constant.cast_to_scalar::<f32>().ok()?))
}

/// The operator.
#[derive(Debug, Clone, PartialEq)]
struct LrnOp(LrnParams);

// The numbers come from a file and are compared only to merge equal nodes; NaN among them would just not merge.
impl Eq for LrnOp {}

impl Op for LrnOp {
    fn name(&self) -> StaticName {
        "EdgeRcnnLrn".into()
    }

    fn info(&self) -> TractResult<Vec<String>> {
        Ok(vec![format!("{:?}", self.0)])
    }

    fn validation(&self) -> Validation {
        Validation::Rounding
    }

    op_as_typed_op!();
}

impl EvalOp for LrnOp {
    op_out_of_plan!();

    fn eval(&self, _context: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        let input = args_1!(inputs);
        let &[1, _, rows, cols] = input.shape() else { bail!("LRN of a shape {:?}", input.shape()) };
        let mut output = Tensor::zero::<f32>(input.shape())?;
        if output.len() > 0 {
            let view = input.view();
            let x = view.as_slice::<f32>()?;
            let mut out = output.view_mut();
            let out = out.as_slice_mut::<f32>()?;
            multithread::par_chunks_mut(out, rows * cols, x.len(), |first, chunk| {
                lrn(x, rows, cols, self.0, first, chunk);
                Ok(())
            })?;
        }
        Ok(tvec!(output.into_tvalue()))
    }
}

impl TypedOp for LrnOp {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].datum_type.fact(inputs[0].shape.clone())))
    }

    as_op!();
}
