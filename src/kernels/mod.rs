//! Ground floor: heavy arithmetic on plain slices, with any `unsafe` fenced in here.
//!
//! ```text
//! choice     which instruction set; the one place that asks the processor and sends work to the code compiled for it
//! simd/      a vector of f32, once for each instruction set
//! tile       the innermost loop of all products, and panels, the form weights are packed into
//! conv/      convolution: direct and Winograd
//! int8/      the arithmetic of quantised layers
//! pool, lrn, layout    the other layers of a trunk, on channels-last maps
//! largest    the largest of several pixels, which pooling is made of
//! dense      fully connected layers
//! fetch      weights that are needed next, brought near
//! real       what convolutions and fully connected layers are multiplied in: f32, or
//! bf16       rounded numbers, twice as many at a time
//! amx        tiles of both kinds of products, on processors that have them
//! team       the threads that all of it runs on
//! peak       the speed that the others are compared with
//! product    products of `compress`, by the `gemm` crate; left out where only kernels are tested (cross/kernels)
//! ```
//!
//! A kernel is written once, over vectors of any width; `scalar` is the same code on plain numbers. All of it runs on the
//! [team](Team) it is called from.

#[cfg(target_arch = "x86_64")]
mod amx;
mod bf16;
mod buffer;
mod choice;
mod conv;
mod dense;
mod fetch;
pub mod int8;
mod largest;
mod layout;
mod lrn;
mod normalised;
mod peak;
mod pool;
#[cfg(not(without_gemm))]
mod product;
mod real;
mod simd;
pub mod team;
mod tile;

pub use bf16::Bf16;
pub use buffer::Buffer;
pub use choice::Kernels;
pub use conv::{Conv, ConvShape, Scratch};
pub use dense::{Batch, Dense, DenseScratch, Inputs};
pub use largest::{Bins, CellMap, Comparable, Levels, Rectangles};
pub use layout::{to_channel_major, to_channels_last};
pub use lrn::{LrnParams, LrnWindow, lrn};
pub use peak::{peak_flops, peak_ops};
pub use pool::{MapShape, PoolShape, max_pool};
#[cfg(not(without_gemm))]
pub use product::{Element, Matrix, product};
pub use simd::{Simd, Work};
pub use team::Team;
