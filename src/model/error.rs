//! What can be wrong with a bundle. Every message names the file, the field or tensor, the reason and the next step.

use std::path::PathBuf;

use super::quantize::QuantizeError;

/// What can be wrong inside `model.toml`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ManifestError {
    /// Not TOML, or a value of the wrong kind.
    #[error("cannot be understood: {}", .0.trim())]
    Syntax(String),
    /// Written for a later program.
    #[error("`format` is {found}, this program reads up to {}; use a newer edge-rcnn", super::manifest::FORMAT)]
    NewerFormat {
        /// The version in the file.
        found: i64,
    },
    /// A key that means nothing.
    #[error("unknown key `{key}`{}", if nearest.is_empty() { "; remove it".into() } else { format!("; did you mean `{nearest}`?") })]
    UnknownKey {
        /// The key with its tables.
        key: String,
        /// The valid key nearest to it; empty if none is near.
        nearest: String,
    },
    /// No such network.
    #[error("`architecture` is `{name}`, which is none of {known}")]
    UnknownArchitecture {
        /// What the file says.
        name: String,
        /// What it could say.
        known: String,
    },
    /// A value out of range.
    #[error("`{field}` {reason}")]
    Value {
        /// The key with its tables.
        field: String,
        /// Why not.
        reason: String,
    },
}

impl ManifestError {
    pub(super) fn value(field: &str, reason: &str) -> Self {
        Self::Value { field: field.into(), reason: reason.into() }
    }
}

/// What can be wrong with a set of weights.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// A layer of the network has no weights.
    #[error("tensor `{tensor}` is missing; {network} needs it{}", hint.as_ref().map(|h| format!(" (there is a `{h}`)")).unwrap_or_default())]
    Missing {
        /// The tensor.
        tensor: String,
        /// The network.
        network: String,
        /// A tensor of a similar name that is left over.
        hint: Option<String>,
    },
    /// A tensor of the wrong shape.
    #[error("tensor `{tensor}` is {found:?}, {network} needs {expected:?}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// The network.
        network: String,
        /// Its shape.
        found: Vec<usize>,
        /// The shape the network needs.
        expected: Vec<usize>,
    },
    /// The head was trained for another number of classes.
    #[error(
        "`{layer}` has {found} outputs but `classes` in model.toml lists {classes} names, which with the background \
         needs {expected}; list the classes that the head was trained for"
    )]
    HeadWidth {
        /// `cls_score` or `bbox_pred`.
        layer: String,
        /// Its outputs.
        found: usize,
        /// Outputs that fit the class list.
        expected: usize,
        /// Number of class names.
        classes: usize,
    },
    /// Not a number, or infinite.
    #[error("tensor `{tensor}` holds NaN or infinity; train or export it again")]
    NonFinite {
        /// The tensor.
        tensor: String,
    },
    /// A tensor that belongs to no layer.
    #[error("tensor `{tensor}` belongs to no layer of {network}; remove or rename it")]
    Unexpected {
        /// The tensor.
        tensor: String,
        /// The network.
        network: String,
    },
}

/// What can be wrong with the bytes of an ONNX file.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OnnxError {
    /// Not ONNX, or cut off.
    #[error("is not a complete ONNX file ({0}); copy or export it again")]
    Decode(#[from] prost::DecodeError),
    /// A model without a graph.
    #[error("holds no graph; it is empty or cut off")]
    NoGraph,
    /// An element type we do not read.
    #[error(
        "tensor `{tensor}` has element type {data_type}; read are FLOAT, FLOAT16, and INT8 and INT32 with their scales"
    )]
    ElementType {
        /// The tensor.
        tensor: String,
        /// ONNX's number of the type.
        data_type: i32,
    },
    /// A quantised tensor without scales.
    #[error("tensor `{tensor}` is quantised, but there is no `{tensor}.scale` with a number for each of its outputs")]
    NoScale {
        /// The tensor.
        tensor: String,
    },
    /// Shape and data disagree.
    #[error(
        "tensor `{tensor}` has shape {shape:?} but {found} bytes of data; the file is damaged or keeps its data elsewhere"
    )]
    Length {
        /// The tensor.
        tensor: String,
        /// Its dimensions.
        shape: Vec<i64>,
        /// Bytes of data.
        found: usize,
    },
}

/// Why a bundle cannot be read, built or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// A file that should be there is not.
    #[error("{}: missing; a bundle is a directory with model.toml, trunk.onnx and head.onnx", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// The file system said no.
    #[error("{}: cannot {action}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// "read", "write", …
        action: &'static str,
        /// The operating system's reason.
        source: std::io::Error,
    },
    /// `model.toml` is wrong.
    #[error("{}: {source}", path.display())]
    Manifest {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// A file is not the one the manifest was written for.
    #[error(
        "{}: sha256 is {found} but `files.{field}` in model.toml says {expected}; the file was changed or cut off: \
         copy the bundle again", path.display()
    )]
    Checksum {
        /// The file.
        path: PathBuf,
        /// The key in the manifest.
        field: &'static str,
        /// The manifest's sum.
        expected: String,
        /// The file's sum.
        found: String,
    },
    /// An ONNX file cannot be decoded.
    #[error("{}: {source}", path.display())]
    Onnx {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: OnnxError,
    },
    /// The weights do not fit the network.
    #[error("{}: {source}", path.display())]
    Weights {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: WeightsError,
    },
    /// The numbers of a quantised model are wrong.
    #[error("{}: {source}", path.display())]
    Quantize {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong.
        source: QuantizeError,
    },
    /// The files are quantised and the manifest does not say so, or the other way round.
    #[error(
        "{}: {}; copy the bundle again or calibrate anew", path.display(),
        if *said { "[quantization] in model.toml says 8 bits, but the weights are real numbers" }
        else { "the weights are in 8 bits, but model.toml has no [quantization]" }
    )]
    Quantization {
        /// The file.
        path: PathBuf,
        /// Whether the manifest says that it is quantised.
        said: bool,
    },
    /// The target of a save exists and is something else.
    #[error("{}: exists and is not a bundle; choose another name or remove it first", path.display())]
    NotABundle {
        /// The directory.
        path: PathBuf,
    },
}
