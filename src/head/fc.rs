//! A fully connected layer, whole or as the two layers of a truncated SVD (Fast R-CNN §3.1).
//!
//! Whole: `y = W·x + b`. As a pair: `y = U·(V·x) + b` with `V` = ΣVᵀ of rank t, no bias and no ReLU between them; the
//! tensors are named `<layer>_v.weight`, `<layer>_u.weight`, `<layer>_u.bias`.

use super::HeadError;
use crate::{
    kernels::{Batch, Bf16, Dense, DenseScratch, Inputs, Kernels},
    model::{Tensor, Weights},
};

#[derive(Debug)]
struct Layer {
    /// Where the weight came from, for messages.
    name: String,
    dense: Dense,
}

impl Layer {
    fn take(
        weights: &mut Weights,
        kernels: Kernels,
        layer: &str,
        cells: usize,
        with_bias: bool,
        bf16: Option<Bf16>,
    ) -> Result<Self, HeadError> {
        let name = format!("{layer}.weight");
        let weight = take_tensor(weights, &name)?;
        let [outputs, inputs] = weight.shape[..] else {
            return Err(shape_error(&name, &weight, "two dimensions, outputs × inputs".to_owned()));
        };
        if outputs == 0 || inputs == 0 {
            return Err(shape_error(&name, &weight, "at least one output and one input".to_owned()));
        }
        if cells == 0 || !inputs.is_multiple_of(cells) {
            return Err(shape_error(&name, &weight, format!("inputs of {cells} cells for each channel")));
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
        let dense = Dense::new(kernels, inputs, outputs, cells, &weight.data, bias.as_deref(), bf16);
        Ok(Self { name, dense })
    }

    fn shape(&self) -> Vec<usize> {
        vec![self.dense.outputs(), self.dense.inputs()]
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
    /// Takes a layer's tensors out of the weights, so that no more than one is in memory twice, while it is packed.
    /// Its inputs come cell by cell, see [`Dense::new`].
    pub(super) fn take(
        weights: &mut Weights,
        kernels: Kernels,
        layer: &str,
        cells: usize,
        bf16: Option<Bf16>,
    ) -> Result<Self, HeadError> {
        let (v, u) = (format!("{layer}_v"), format!("{layer}_u"));
        if !weights.has_layer(&v) && !weights.has_layer(&u) {
            return Ok(Self { first: None, last: Layer::take(weights, kernels, layer, cells, true, bf16)? });
        }
        let first = Layer::take(weights, kernels, &v, cells, false, bf16)?;
        let last = Layer::take(weights, kernels, &u, 1, true, bf16)?;
        if first.dense.outputs() != last.dense.inputs() {
            let want = format!("{} inputs, the rank of \"{}\"", first.dense.outputs(), first.name);
            return Err(HeadError::Shape { got: last.shape(), name: last.name, want });
        }
        Ok(Self { first: Some(first), last })
    }

    pub(super) fn inputs(&self) -> usize {
        self.first.as_ref().unwrap_or(&self.last).dense.inputs()
    }

    pub(super) fn outputs(&self) -> usize {
        self.last.dense.outputs()
    }

    pub(super) fn expect_inputs(&self, want: usize) -> Result<(), HeadError> {
        let first = self.first.as_ref().unwrap_or(&self.last);
        (first.dense.inputs() == want).then_some(()).ok_or_else(|| HeadError::Shape {
            name: first.name.clone(),
            got: first.shape(),
            want: format!("{want} inputs, the outputs of the layer before"),
        })
    }

    pub(super) fn expect_outputs(&self, want: usize) -> Result<(), HeadError> {
        (self.outputs() == want).then_some(()).ok_or_else(|| HeadError::Shape {
            name: self.last.name.clone(),
            got: self.last.shape(),
            want: format!("{want} outputs, four per output of cls_score"),
        })
    }

    /// What a pair made between its two layers in its last run.
    pub(super) fn middle<'a>(&self, work: &'a Work) -> Option<&'a Batch> {
        self.first.is_some().then_some(&work.middle)
    }

    /// `y` becomes the outputs for `n` inputs; `work` is memory.
    pub(super) fn run(&self, x: Inputs, n: usize, relu: bool, work: &mut Work, y: &mut Batch) {
        match &self.first {
            Some(first) => {
                first.dense.run(x, n, false, &mut work.block, &mut work.middle);
                self.last.dense.run(Inputs::Batch(&work.middle), n, relu, &mut work.block, y);
            }
            None => self.last.dense.run(x, n, relu, &mut work.block, y),
        }
    }
}

/// Memory to work in.
#[derive(Debug, Default)]
pub(super) struct Work {
    block: DenseScratch,
    /// Between the two layers of a pair.
    middle: Batch,
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
