//! What can be wrong with a GPU.

use cudarc::cublas::result::CublasError;
use cudarc::cudnn::result::CudnnError;
use cudarc::driver::{DriverError, sys::cudaError_enum};
use cudarc::nvrtc::result::NvrtcError;

use crate::head::HeadError;
use crate::model::{BundleError, TRUNK_FILE, WeightsError};

/// Why a GPU cannot be used, or failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CudaError {
    /// Libraries are missing.
    #[error("no GPU can be used: {libraries} cannot be loaded; {advice}")]
    Library {
        /// Their file names.
        libraries: String,
        /// Where to get them.
        advice: String,
    },
    /// The driver finds no GPU.
    #[error("no GPU can be used: {reason}; `nvidia-smi` must list one, and a container must be given it")]
    NoGpu {
        /// What the driver said.
        reason: String,
    },
    /// There is no GPU of that number.
    #[error("cuda:{asked}: this machine has {count} GPUs, which are counted from 0")]
    Card {
        /// The number asked for.
        asked: usize,
        /// How many there are.
        count: usize,
    },
    /// A kernel cannot be compiled for this GPU.
    #[error("the GPU's kernels cannot be compiled: {log}")]
    Compile {
        /// What the compiler said.
        log: String,
    },
    /// The graph is not that of its network.
    #[error(
        "{TRUNK_FILE}: node \"{node}\" is not one of {network}'s, and a GPU computes the networks only as they are described; \
         export the model again, or compute it without --kernels cuda"
    )]
    Graph {
        /// The first node that differs.
        node: String,
        /// The network the manifest names.
        network: &'static str,
    },
    /// cuDNN does not do a convolution.
    #[error("{layer}: cuDNN cannot compute it on a map of {rows}×{cols}: {reason}; try a smaller --scale")]
    Convolution {
        /// The layer.
        layer: &'static str,
        /// Rows of its input.
        rows: usize,
        /// Columns of its input.
        cols: usize,
        /// What it said last.
        reason: String,
    },
    /// The GPU's memory is used up.
    #[error(
        "the GPU's memory is used up ({action}); take a smaller --scale, or see with `nvidia-smi` who else uses it"
    )]
    Memory {
        /// What it was wanted for.
        action: &'static str,
    },
    /// A number is larger than the GPU's libraries take.
    #[error("{number} is more than a GPU can count; try a smaller --scale")]
    Large {
        /// The number.
        number: usize,
    },
    /// A call failed.
    #[error("the GPU failed ({action}): {reason}")]
    Call {
        /// What was to be done.
        action: &'static str,
        /// What the library said.
        reason: String,
    },
    /// The weights cannot be read.
    #[error(transparent)]
    Bundle(Box<BundleError>),
    /// The weights do not make a network.
    #[error(transparent)]
    Weights(#[from] WeightsError),
    /// The weights do not make a head.
    #[error(transparent)]
    Head(#[from] HeadError),
}

/// Boxed, because it is larger than all others.
impl From<BundleError> for CudaError {
    fn from(error: BundleError) -> Self {
        Self::Bundle(Box::new(error))
    }
}

/// Says what was being done when a library's call failed.
pub trait While<T> {
    /// The result, or the error with what was being done.
    fn while_(self, action: &'static str) -> Result<T, CudaError>;
}

impl<T> While<T> for Result<T, DriverError> {
    fn while_(self, action: &'static str) -> Result<T, CudaError> {
        self.map_err(|error| match error.0 {
            cudaError_enum::CUDA_ERROR_OUT_OF_MEMORY => CudaError::Memory { action },
            _ => CudaError::Call { action, reason: driver_said(error) },
        })
    }
}

/// The driver's own words, with the name of the error.
pub fn driver_said(error: DriverError) -> String {
    match (error.error_name(), error.error_string()) {
        (Ok(name), Ok(text)) => format!("{} ({})", text.to_string_lossy(), name.to_string_lossy()),
        _ => format!("{:?}", error.0),
    }
}

macro_rules! while_library {
    ($($error:ty),*) => {$(
        impl<T> While<T> for Result<T, $error> {
            fn while_(self, action: &'static str) -> Result<T, CudaError> {
                self.map_err(|error| CudaError::Call { action, reason: format!("{:?}", error.0) })
            }
        }
    )*};
}

while_library!(CublasError, CudnnError, NvrtcError);

/// A count as the libraries and kernels take it.
pub fn int(number: usize) -> Result<i32, CudaError> {
    i32::try_from(number).map_err(|_| CudaError::Large { number })
}
