//! Kernels, boxes, proposals, and what of the head has no weights: the files of the program, without its graph engine.
#![allow(missing_docs, dead_code, unused_imports, reason = "parts of the program that others of it use")]

#[path = "../../src/boxes/mod.rs"]
pub mod boxes;

#[path = "../../src/proposals/mod.rs"]
pub mod proposals;

#[path = "../../src/kernels/mod.rs"]
pub mod kernels;

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
