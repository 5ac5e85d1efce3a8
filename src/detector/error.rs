//! What can be wrong with a model, its options or a picture.

use crate::{head::HeadError, model::BundleError, proposals::ProposalError, trunk::TrunkError};

/// Why a detector cannot be built or failed on a picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DetectorError {
    /// The bundle is not right.
    #[error(transparent)]
    Bundle(#[from] BundleError),
    /// The trunk.
    #[error(transparent)]
    Trunk(#[from] TrunkError),
    /// The head.
    #[error(transparent)]
    Head(#[from] HeadError),
    /// The GPU.
    #[cfg(feature = "cuda")]
    #[error(transparent)]
    Cuda(#[from] crate::cuda::CudaError),
    /// The proposals.
    #[error(transparent)]
    Proposals(#[from] ProposalError),
    /// A class filter names a class the model does not know.
    #[error("class \"{name}\" is unknown to the model{hint}; it knows: {known}")]
    UnknownClass {
        /// The name asked for.
        name: String,
        /// Empty, or the nearest valid name.
        hint: String,
        /// All names.
        known: String,
    },
    /// Integers were asked for, of a model that has none.
    #[error(
        "{model} is a model of real numbers and cannot be computed in 8 bits; make one that can with `edge-rcnn calibrate`"
    )]
    Precision {
        /// Its name.
        model: String,
    },
    /// An option is out of range.
    #[error("{name} = {value}: {reason}")]
    Option {
        /// The option.
        name: &'static str,
        /// What it was set to.
        value: String,
        /// What it must be.
        reason: &'static str,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} threads: {reason}; ask for fewer threads")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system said.
        reason: String,
    },
    /// The pixels do not fit the picture's size.
    #[error(
        "a picture of {width}×{height} with {bytes} bytes of RGB cannot be looked at; it needs 3·width·height, and one pixel at least"
    )]
    Picture {
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes given.
        bytes: usize,
    },
}
