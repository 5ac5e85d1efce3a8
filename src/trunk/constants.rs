//! Half-precision weights become f32 once, when the model is read.
//!
//! tract folds constants by itself, but none that would grow beyond a million elements: the larger convolutions of a
//! model stored as f16 would be converted and packed again for every frame.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::model::Rewriter;
use tract_onnx::tract_core::ops::cast::Cast;

/// Replaces every conversion of a constant by the converted constant.
pub fn rewrite(model: &mut TypedModel) -> TractResult<()> {
    Rewriter::<()>::default()
        .with_rule_for::<Cast>("constant-cast", |(), model, node, name, cast| {
            rule_if_some!(constant = model.outlet_fact(node.inputs[0])?.konst.as_ref());
            let mut patch = TypedModelPatch::new("converted constant");
            let converted = patch.add_const(name, constant.cast_to_dt(cast.to)?.into_owned())?;
            patch.shunt_outside(model, node.id.into(), converted)?;
            Ok(Some(patch))
        })
        .rewrite(&(), model)
}
