//! Ground floor: heavy arithmetic on plain slices, with any `unsafe` fenced in here.

pub mod int8;
mod lrn;
mod matmul;
mod product;

pub use lrn::{LrnParams, LrnWindow, lrn};
pub use matmul::{Order, weights_times_batch};
pub use product::{Element, Matrix, product};
