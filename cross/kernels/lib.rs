//! Kernels, boxes, proposals, and what of the head has no weights: the files of the program, without its graph engine.
#![allow(missing_docs, dead_code, unused_imports, reason = "parts of the program that others of it use")]

#[path = "../../src/boxes/mod.rs"]
pub mod boxes;

#[path = "../../src/proposals/mod.rs"]
pub mod proposals;

/// All but `product`, which is a crate of others.
#[path = "../../src/kernels"]
pub mod kernels {
    mod bf16;
    mod buffer;
    mod choice;
    mod conv;
    mod dense;
    pub mod int8;
    mod largest;
    mod layout;
    mod lrn;
    mod normalised;
    mod peak;
    mod pool;
    mod real;
    mod simd;
    pub mod team;
    mod tile;

    pub use bf16::Bf16;
    pub use buffer::Buffer;
    pub use choice::Kernels;
    pub use conv::{Conv, ConvShape, Scratch};
    pub use dense::{Batch, Dense, DenseScratch, Inputs};
    pub use largest::{CellMap, Cells, Rectangles};
    pub use layout::{to_channel_major, to_channels_last};
    pub use lrn::{LrnParams, LrnWindow, lrn};
    pub use peak::{peak_flops, peak_ops};
    pub use pool::{MapShape, PoolShape, max_pool};
    pub use simd::{Simd, Work};
    pub use team::Team;
}

/// What networks look like.
#[path = "../../src/model"]
mod model {
    pub mod arch;
}

#[path = "../../src/head"]
pub mod head {
    mod postprocess;
    mod roi_pool;

    pub use postprocess::*;
    pub use roi_pool::*;
}
