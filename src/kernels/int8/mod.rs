//! The integer arithmetic of a quantised layer: unsigned activations, signed weights, sums exact in i32.
//!
//! A value is `scale · (q − zero)`: activations are u8 with one scale for a map and a zero point (one for each channel in
//! the picture, one for the whole map elsewhere), weights are i8 with one scale for each output and zero point 0, biases
//! are i32 at the scale of the sums. What a layer computes, for every output `o`:
//!
//! ```text
//! sum  = bias[o] + Σ_k weight[o, k] · (x[k] − zero[k])       exact in i32; what lies outside of the map counts nothing
//! u8:    q = clamp(round(f32(sum) · rescale[o]) + zero_out, 0, 255)
//! f32:   y = f32(sum) · rescale[o]                           negative becomes 0 if a ReLU follows
//! ```
//!
//! `round` goes to the nearest, halves to the even; `f32(sum)` and the product each round once, so the result is the same
//! on every processor, bit for bit. A ReLU needs nothing of its own in u8: with `zero_out` = 0 it is the lower clamp.
//!
//! [`Rescale`] and [`QuantConv`] are that definition. A fully connected layer is a convolution as large as its
//! input, one for each RoI.
//! Maps are channels-last. Multiplying `zero` into the bias and padding with it leaves only `Σ weight · x` for the inner
//! loop (`dot`).

mod conv;
pub(super) mod dot;
mod pool;
mod round;

pub use super::conv::ConvShape;
pub use super::pool::PoolShape;
pub use conv::{Between, Out, QuantConv, QuantScratch, Rescale};
pub use dot::Dot;
pub use pool::max_pool;
pub use round::{quantize, to_u8};

#[cfg(test)]
mod tests;
