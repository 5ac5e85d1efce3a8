//! Models: network descriptions, weights, bundles on disk, import, compression and quantisation.
//!
//! [`arch`] describes the networks, [`layers`] lists their tensors, [`onnx`] writes and reads the two graphs,
//! [`Manifest`] is `model.toml`, [`Bundle`] puts them together.

pub mod arch;
mod builtin;
mod bundle;
mod compress;
mod error;
pub mod import;
pub mod layers;
mod manifest;
pub mod nearest;
pub mod onnx;
pub mod quantize;
mod seeded;
mod summary;
pub mod svd;
mod weights;

pub use arch::Architecture;
pub use bundle::{Bundle, HEAD_FILE, MANIFEST_FILE, TRUNK_FILE, sha256};
pub use compress::{CompressError, CompressOptions, CompressedLayer, Factors, compress, join_pairs};
pub use error::{BundleError, ManifestError, OnnxError, WeightsError};
pub use manifest::{BoxSpec, FORMAT, FileHashes, InputSpec, Manifest, ProposalSpec, Quantization, Thresholds};
pub use onnx::StorageType;
pub use seeded::normals;
pub use summary::{LayerRow, Summary};
pub use weights::{Tensor, Weights};

/// The mean picture of the released models, blue, green, red, subtracted from 8-bit values.
pub const MEAN_BGR: [f32; 3] = [102.9801, 115.9465, 122.7717];
