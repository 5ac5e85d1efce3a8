//! Channels-last maps between our layers: where a layer of ours takes the place of one of the engine's, it is put between
//! two changes of layout; where two of ours follow each other, the two changes between them go away again.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::model::Rewriter;

use super::layer::{Layer, LayerOp};
use crate::kernels::{to_channel_major, to_channels_last};

/// A change of layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// From batch, channel, row, column to batch, row, column, channel.
    ChannelsLast,
    /// Back.
    ChannelMajor,
}

impl Layer for Layout {
    const NAME: &'static str = "EdgeRcnnLayout";

    fn shape<D: DimLike>(&self, input: &[D]) -> TractResult<TVec<D>> {
        let [n, a, b, c] = input else { bail!("layout of a shape {input:?}") };
        let [n, a, b, c] = [n, a, b, c].map(Clone::clone);
        Ok(match self {
            Layout::ChannelsLast => tvec![n, b, c, a],
            Layout::ChannelMajor => tvec![n, c, a, b],
        })
    }

    fn compute(&self, x: &[f32], from: &[usize], out: &mut [f32], _to: &[usize]) -> TractResult<()> {
        ensure!(from[0] == 1, "a batch of {}", from[0]);
        match self {
            Layout::ChannelsLast => to_channels_last(x, from[1], out),
            Layout::ChannelMajor => to_channel_major(x, from[3], out),
        }
        Ok(())
    }
}

/// A patch with `layer` in the place of a node that takes `x`, both channel-major.
pub fn replace<L: Layer>(
    model: &TypedModel,
    node: &TypedNode,
    x: OutletId,
    layer: L,
) -> TractResult<Option<TypedModelPatch>> {
    let fact = model.outlet_fact(x)?;
    rule_if!(fact.datum_type == f32::datum_type() && fact.rank() == 4 && fact.shape[0] == 1.to_dim());
    let mut patch = TypedModelPatch::new(L::NAME);
    let x = patch.tap_model(model, x)?;
    let name = &node.name;
    let x = patch.wire_node(format!("{name}.last"), LayerOp(Layout::ChannelsLast), &[x])?;
    let y = patch.wire_node(name, LayerOp(layer), &x)?;
    let y = patch.wire_node(format!("{name}.major"), LayerOp(Layout::ChannelMajor), &y)?;
    patch.shunt_outside(model, node.id.into(), y[0])?;
    Ok(Some(patch))
}

/// The layer of ours whose output, back in channel-major layout, `outlet` is.
pub fn layer_before<L: Layer>(model: &TypedModel, outlet: OutletId) -> Option<(&TypedNode, &L)> {
    let back = model.node(outlet.node);
    (back.op_as::<LayerOp<Layout>>()?.0 == Layout::ChannelMajor).then_some(())?;
    let node = model.node(back.inputs[0].node);
    Some((node, &node.op_as::<LayerOp<L>>()?.0))
}

/// Gives out one of the outputs channels-last.
pub fn give_channels_last(model: &mut TypedModel, output: usize) -> TractResult<()> {
    let mut outputs = model.output_outlets()?.to_vec();
    let last = model.node(outputs[output].node);
    outputs[output] = match last.op_as::<LayerOp<Layout>>() {
        Some(LayerOp(Layout::ChannelMajor)) => last.inputs[0],
        _ => {
            let name = format!("{}.last", last.name);
            model.wire_node(name, LayerOp(Layout::ChannelsLast), &[outputs[output]])?[0]
        }
    };
    model.select_output_outlets(&outputs)
}

/// Takes away each change of layout that undoes the one before.
pub fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::<()>::default()
        .with_rule_for::<LayerOp<Layout>>("layout there and back", |(), model, node, _name, op| {
            let before = model.node(node.inputs[0].node);
            rule_if_some!(last = before.op_as::<LayerOp<Layout>>());
            rule_if!(op.0 == Layout::ChannelsLast && last.0 == Layout::ChannelMajor);
            let mut patch = TypedModelPatch::new("layout");
            let x = patch.tap_model(model, before.inputs[0])?;
            patch.shunt_outside(model, node.id.into(), x)?;
            Ok(Some(patch))
        })
        .rewrite(&(), model)
}
