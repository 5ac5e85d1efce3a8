//! Named weight tensors, the common currency of import, training, compression and bundles.
//!
//! Names are `<layer>.weight` and `<layer>.bias` with the layer names of [`arch`](super::arch); RPN layers are
//! `rpn_conv`, `rpn_cls_score` (2·A channels: A background, then A object), `rpn_bbox_pred` (4·A); head layers are
//! `fc6`, `fc7`, `cls_score` (K+1 rows, background first), `bbox_pred` (4·(K+1) rows). A layer replaced by a
//! truncated SVD pair is stored as `<layer>_v` (no bias, applied first) and `<layer>_u` (with the bias).
//! Convolutions are `[out, in/groups, kh, kw]`, fully connected layers `[out, in]`, both row-major.

use std::collections::BTreeMap;

/// One dense tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Length of each dimension, outermost first.
    pub shape: Vec<usize>,
    /// The elements.
    pub data: Vec<f32>,
}

impl Tensor {
    /// A tensor from shape and elements; `None` if their counts differ.
    pub fn new(shape: Vec<usize>, data: Vec<f32>) -> Option<Self> {
        (shape.iter().product::<usize>() == data.len()).then_some(Self { shape, data })
    }
}

/// A set of named tensors, in name order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Weights(pub BTreeMap<String, Tensor>);

impl Weights {
    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.0.get(name)
    }

    /// Adds or replaces a tensor.
    pub fn insert(&mut self, name: impl Into<String>, tensor: Tensor) {
        self.0.insert(name.into(), tensor);
    }

    /// True if the layer has a weight tensor.
    pub fn has_layer(&self, layer: &str) -> bool {
        self.0.contains_key(&format!("{layer}.weight"))
    }

    /// Number of elements over all tensors.
    pub fn parameters(&self) -> usize {
        self.0.values().map(|t| t.data.len()).sum()
    }

    /// Name of the first tensor that holds a NaN or an infinity.
    pub fn first_non_finite(&self) -> Option<&str> {
        self.0.iter().find(|(_, t)| t.data.iter().any(|v| !v.is_finite())).map(|(n, _)| n.as_str())
    }
}
