//! Faster R-CNN for devices. See `ARCHITECTURE.md` for the data flow and where to start reading.

pub mod boxes;
pub mod calibrate;
pub mod clock;
#[cfg(feature = "cuda")]
pub mod cuda;
pub mod detector;
pub mod eval;
pub mod frame;
pub mod head;
pub mod kernels;
pub mod model;
pub mod pipeline;
pub mod proposals;
pub mod service;
pub mod sink;
pub mod source;
#[cfg(feature = "train")]
pub mod train;
pub mod trunk;
pub mod watch;
