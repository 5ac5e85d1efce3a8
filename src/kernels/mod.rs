//! Ground floor: heavy arithmetic on plain slices, with any `unsafe` fenced in here.

mod matmul;

pub use matmul::matmul_transposed;
