//! The trainer (feature `train`): pre-training of a trunk, and of detectors on VOC or COCO data.
//!
//! [`net`] builds the network of a [description](crate::model::arch) on libtorch, [`pass`] computes it, [`sgd`] is
//! Caffe's optimiser, [`classify`] pre-trains on class folders ([`images`]). A detector is trained by [`methods`], which
//! are made of the phases of [`detect`]: pictures from [`feed`], [`targets`] for them, [`losses`] over RPN maps and RoIs
//! pooled with gradients ([`roi`]). [`checkpoint`] makes every run resumable, [`average`] joins several, [`export`] makes
//! a bundle of the result.
//!
//! Everything random is derived from (seed, iteration): a resumed run repeats the uninterrupted one.

mod ahead;
pub mod average;
mod batch_norm;
pub mod checkpoint;
pub mod classify;
mod crop;
pub mod detect;
pub mod export;
pub mod feed;
pub mod images;
mod iteration;
mod lesson;
pub mod losses;
pub mod measure;
pub mod methods;
pub mod net;
mod order;
pub mod params;
pub mod pass;
pub mod roi;
pub mod sgd;
pub mod targets;

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// Why training stopped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TrainError {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: std::io::Error,
    },
    /// A checkpoint could not be read or written by libtorch.
    #[error("{}: {source}; delete it to start again", path.display())]
    Checkpoint {
        /// The file.
        path: PathBuf,
        /// The reason.
        source: tch::TchError,
    },
    /// Options or data do not fit.
    #[error("{0}")]
    Config(String),
    /// The trained weights do not make a bundle.
    #[error(transparent)]
    Bundle(#[from] crate::model::BundleError),
    /// The loss is no longer a number.
    #[error("the loss became infinite before iteration {iteration} at rate {lr}; start again with a smaller --lr")]
    Diverged {
        /// Where.
        iteration: u64,
        /// The rate then.
        lr: f64,
    },
}

/// A number that identifies the options of a run; a checkpoint carries it.
pub fn fingerprint(options: &impl std::fmt::Debug) -> u64 {
    let digest = Sha256::digest(format!("{options:?}"));
    digest.iter().take(8).fold(0, |n, &b| n << 8 | u64::from(b))
}

/// The JSON-lines log of a run, one object per report.
#[derive(Debug)]
pub struct RunLog {
    file: File,
    path: PathBuf,
}

impl RunLog {
    /// Opens the log for appending, after dropping lines of iterations past `resume_at` (they will be run again).
    pub fn open(path: &Path, resume_at: u64) -> Result<Self, TrainError> {
        let io = |source| TrainError::Io { path: path.to_owned(), source };
        if let Some(dir) = path.parent() {
            std::fs::create_dir_all(dir).map_err(io)?;
        }
        let mut kept = Vec::new();
        if let Ok(old) = File::open(path) {
            for line in BufReader::new(old).lines() {
                let line = line.map_err(io)?;
                let iter = serde_json::from_str::<serde_json::Value>(&line).ok().and_then(|v| v["iter"].as_u64());
                if iter.is_some_and(|i| i <= resume_at) {
                    kept.push(line + "\n");
                }
            }
        }
        std::fs::write(path, kept.concat()).map_err(io)?;
        let file = OpenOptions::new().append(true).open(path).map_err(io)?;
        Ok(Self { file, path: path.to_owned() })
    }

    /// Appends one object, and shows it in the program's log.
    pub fn write(&mut self, record: &serde_json::Value) -> Result<(), TrainError> {
        log::info!("{record}");
        writeln!(self.file, "{record}").map_err(|source| TrainError::Io { path: self.path.clone(), source })
    }
}
