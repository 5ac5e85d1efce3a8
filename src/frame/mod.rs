//! Pictures on their way to the network: decoding to upright RGB, then resizing and mean subtraction.

mod error;
mod picture;
mod preprocess;

pub use error::{DecodeError, PictureError};
pub use picture::{MAX_PIXELS, Picture};
pub use preprocess::{Blob, Scaling, preprocess};
