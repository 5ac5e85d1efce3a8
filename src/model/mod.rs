//! Models: network descriptions, weights, bundles on disk, import and compression.

pub mod arch;
mod weights;

pub use arch::Architecture;
pub use weights::{Tensor, Weights};
