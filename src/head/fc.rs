//! A fully connected layer, whole or as the two layers of a truncated SVD (Fast R-CNN §3.1).
//!
//! Whole: `y = W·x + b`. As a pair: `y = U·(V·x) + b` with `V` = ΣVᵀ of rank t, no bias and no ReLU between them; the
//! tensors are named `<layer>_v.weight`, `<layer>_u.weight`, `<layer>_u.bias`. Outputs lie by feature, see [`Order`].

use super::HeadError;
use crate::{
    kernels::{Order, weights_times_batch},
    model::{Tensor, Weights},
};

#[derive(Debug)]
struct Layer {
    /// Where the weight came from, for messages.
    name: String,
    /// `[outputs, inputs]`, row-major.
    weight: Vec<f32>,
    bias: Option<Vec<f32>>,
    inputs: usize,
    outputs: usize,
}

impl Layer {
    fn take(weights: &mut Weights, layer: &str, with_bias: bool) -> Result<Self, HeadError> {
        let name = format!("{layer}.weight");
        let weight = take_tensor(weights, &name)?;
        let [outputs, inputs] = weight.shape[..] else {
            return Err(shape_error(&name, &weight, "two dimensions, outputs × inputs".to_owned()));
        };
        if outputs == 0 || inputs == 0 {
            return Err(shape_error(&name, &weight, "at least one output and one input".to_owned()));
        }
        let mut bias = None;
        if with_bias {
            let name = format!("{layer}.bias");
            let b = take_tensor(weights, &name)?;
            if b.data.len() != outputs {
                return Err(shape_error(&name, &b, format!("{outputs} values, one per output")));
            }
            bias = Some(b.data);
        }
        Ok(Self { name, weight: weight.data, bias, inputs, outputs })
    }

    fn run(&self, x: &[f32], order: Order, n: usize, y: &mut Vec<f32>) {
        y.resize(self.outputs * n, 0.0);
        weights_times_batch(&self.weight, x, order, y, self.outputs, self.inputs, n);
        if let Some(bias) = &self.bias
            && n > 0
        {
            for (feature, b) in y.chunks_exact_mut(n).zip(bias) {
                feature.iter_mut().for_each(|v| *v += b);
            }
        }
    }
}

/// One layer as the network names it: a single product, or the pair of a truncated SVD.
#[derive(Debug)]
pub(super) struct Stack {
    /// `V` of a pair.
    first: Option<Layer>,
    last: Layer,
}

impl Stack {
    /// Takes a layer's tensors out of the weights, so that they are never in memory twice.
    pub(super) fn take(weights: &mut Weights, layer: &str) -> Result<Self, HeadError> {
        let (v, u) = (format!("{layer}_v"), format!("{layer}_u"));
        if !weights.has_layer(&v) && !weights.has_layer(&u) {
            return Ok(Self { first: None, last: Layer::take(weights, layer, true)? });
        }
        let stack = Self { first: Some(Layer::take(weights, &v, false)?), last: Layer::take(weights, &u, true)? };
        if let Some(first) = &stack.first
            && first.outputs != stack.last.inputs
        {
            return Err(HeadError::Shape {
                name: stack.last.name.clone(),
                got: vec![stack.last.outputs, stack.last.inputs],
                want: format!("{} inputs, the rank of \"{}\"", first.outputs, first.name),
            });
        }
        Ok(stack)
    }

    pub(super) fn inputs(&self) -> usize {
        self.first.as_ref().map_or(self.last.inputs, |v| v.inputs)
    }

    pub(super) fn outputs(&self) -> usize {
        self.last.outputs
    }

    pub(super) fn expect_inputs(&self, want: usize) -> Result<(), HeadError> {
        let first = self.first.as_ref().unwrap_or(&self.last);
        let fits = first.inputs == want;
        fits.then_some(()).ok_or_else(|| HeadError::Shape {
            name: first.name.clone(),
            got: vec![first.outputs, first.inputs],
            want: format!("{want} inputs, the outputs of the layer before"),
        })
    }

    pub(super) fn expect_outputs(&self, want: usize) -> Result<(), HeadError> {
        (self.last.outputs == want).then_some(()).ok_or_else(|| HeadError::Shape {
            name: self.last.name.clone(),
            got: vec![self.last.outputs, self.last.inputs],
            want: format!("{want} outputs, four per output of cls_score"),
        })
    }

    /// `y` becomes the n outputs by feature; `middle` is memory for the pair.
    pub(super) fn run(&self, x: &[f32], order: Order, n: usize, middle: &mut Vec<f32>, y: &mut Vec<f32>) {
        match &self.first {
            Some(first) => {
                first.run(x, order, n, middle);
                self.last.run(middle, Order::ByFeature, n, y);
            }
            None => self.last.run(x, order, n, y),
        }
    }
}

fn take_tensor(weights: &mut Weights, name: &str) -> Result<Tensor, HeadError> {
    let tensor = weights.0.remove(name).ok_or_else(|| HeadError::Missing(name.to_owned()))?;
    if tensor.data.iter().any(|v| !v.is_finite()) {
        return Err(HeadError::NonFinite(name.to_owned()));
    }
    Ok(tensor)
}

fn shape_error(name: &str, tensor: &Tensor, want: String) -> HeadError {
    HeadError::Shape { name: name.to_owned(), got: tensor.shape.clone(), want }
}
