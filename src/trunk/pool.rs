//! Max pooling on our own kernels. Shapes are the engine's business: it knows both ways of rounding.

use tract_core::internal::*;
use tract_core::model::Rewriter;
use tract_core::ops::cnn::{MaxPool, PoolSpec};
use tract_core::ops::nn::DataFormat;

use super::conv::square;
use super::layer::Layer;
use super::layout::replace;
use crate::kernels::{Kernels, PoolShape, max_pool};

/// Replaces every max pooling with square windows.
pub fn rewrite(model: &mut TypedModel, kernels: Kernels) -> TractResult<()> {
    Rewriter::<()>::default()
        .with_rule_for::<MaxPool>("max pooling", move |(), model, node, _name, op| {
            rule_if_some!((kernel, stride, pad) = square(&op.pool_spec));
            rule_if!(op.with_index_outputs.is_none() && pad < kernel);
            let spec = PoolSpec { data_format: DataFormat::NHWC, ..op.pool_spec.clone() };
            let layer = PoolLayer { kernels, pool: PoolShape { kernel, stride, pad }, spec };
            replace(model, node, node.inputs[0], layer)
        })
        .rewrite(&(), model)
}

/// A max pooling, channels-last.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolLayer {
    kernels: Kernels,
    /// Its windows.
    pub pool: PoolShape,
    spec: PoolSpec,
}

impl Layer for PoolLayer {
    const NAME: &'static str = "EdgeRcnnMaxPool";

    fn shape<D: DimLike>(&self, input: &[D]) -> TractResult<TVec<D>> {
        Ok(self.spec.output_shape(input)?.shape)
    }

    fn compute(&self, x: &[f32], from: &[usize], out: &mut [f32], to: &[usize]) -> TractResult<()> {
        max_pool(self.kernels, self.pool, x, [from[1], from[2], from[3]], out, [to[1], to[2], to[3]]);
        Ok(())
    }
}
