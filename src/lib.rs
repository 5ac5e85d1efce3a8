//! Faster R-CNN for devices. See `ARCHITECTURE.md` for the data flow and where to start reading.

pub mod boxes;
pub mod eval;
pub mod model;
