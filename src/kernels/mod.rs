//! Ground floor: heavy arithmetic on plain slices, with any `unsafe` fenced in here.

mod matmul;
mod product;

pub use matmul::matmul_transposed;
pub use product::{Element, Matrix, product};
