//! Ground floor: heavy arithmetic on plain slices, with any `unsafe` fenced in here.

mod matmul;
mod product;

pub use matmul::{Order, weights_times_batch};
pub use product::{Element, Matrix, product};
