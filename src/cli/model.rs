//! What verbs that take a model share: opening it, naming storage types, the exit codes of what can go wrong.

use std::path::Path;

use edge_rcnn::detector::DetectorError;
use edge_rcnn::model::{Bundle, BundleError, StorageType};

use super::Failure;

/// Opens the bundle in a directory, or the built-in one.
pub fn open(dir: Option<&Path>) -> Result<Bundle, Failure> {
    match dir {
        Some(file) if file.is_file() => {
            let what = "is a file; a model is a folder with model.toml, trunk.onnx and head.onnx in it";
            return Err(Failure::config(format!("{}: {what}", file.display())));
        }
        Some(dir) => Bundle::load(dir),
        None => Bundle::builtin(),
    }
    .map_err(bundle_failure)
}

/// A model that is not there has another exit code than one that cannot be used.
pub fn bundle_failure(error: BundleError) -> Failure {
    match error {
        BundleError::MissingFile { .. } => Failure::missing(error),
        _ => Failure::config(error),
    }
}

/// For a detector that could not be built: wrong options are wrong usage, the rest is the model's fault.
pub fn detector_failure(error: DetectorError) -> Failure {
    match error {
        DetectorError::Bundle(e) => bundle_failure(e),
        DetectorError::UnknownClass { .. } | DetectorError::Precision { .. } => Failure::usage(error),
        DetectorError::Option { name, value, reason } => Failure::usage(format!("{} {value}: {reason}", flag(name))),
        DetectorError::Threads { .. } => Failure::runtime(error),
        _ => Failure::config(error),
    }
}

/// How an option of the library is called on the command line.
fn flag(name: &str) -> String {
    match name {
        "short side" => "--scale".into(),
        _ => format!("--{}", name.replace(' ', "-")),
    }
}

/// [`StorageType`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Storage {
    /// 4 bytes a weight, exact
    F32,
    /// 2 bytes a weight, 11 significant bits
    F16,
}

impl From<Storage> for StorageType {
    fn from(storage: Storage) -> Self {
        match storage {
            Storage::F32 => Self::F32,
            Storage::F16 => Self::F16,
        }
    }
}
