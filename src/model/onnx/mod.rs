//! The two ONNX files of a bundle, written and read without any other program.
//!
//! Plain standard operators of opset 17, so that onnxruntime and Netron open the files. Weights are initialisers under
//! their own names (`conv1.weight`), stored as FLOAT, as FLOAT16 followed by a `Cast`, or as INT8 followed by a
//! `DequantizeLinear` (QDQ; then biases are INT32, and maps pass through `QuantizeLinear`). What each file takes and gives:
//!
//! - `trunk.onnx`: `image` 1×3×H×W (BGR, mean subtracted; H and W symbolic) → `conv5`, and with an RPN `rpn_cls_score`
//!   (raw scores, A background then A object) and `rpn_bbox_pred` (4·A);
//! - `head.onnx`: `pooled` N×(C·P·P) → `cls_prob` (softmax, background first) and `bbox_pred`.

mod graph;
mod head;
pub(crate) mod messages;
mod quantized;
mod reader;
mod trunk;

pub use head::{head_onnx, head_qdq};
pub use quantized::{read_quantized, same_graph, with_outputs};
pub use reader::{TensorShapes, read_weights, tensor_shapes};
pub(crate) use reader::{floats, graph, shape};
pub use trunk::{trunk_onnx, trunk_qdq};

/// How weights are stored. Arithmetic is f32 in both cases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StorageType {
    /// 4 bytes a weight, exact.
    #[default]
    F32,
    /// 2 bytes a weight, 11 significant bits.
    F16,
}

/// Names of the trunk's outputs, in order; the last two are absent without an RPN.
pub const TRUNK_OUTPUTS: [&str; 3] = ["conv5", "rpn_cls_score", "rpn_bbox_pred"];

#[cfg(test)]
mod tests;
