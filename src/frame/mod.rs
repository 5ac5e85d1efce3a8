//! Pictures on their way to the network: decoding and conversion to upright RGB, then resizing and mean subtraction.

mod error;
mod picture;
mod preprocess;
mod raw;
mod resize;

pub use error::{DecodeError, PictureError};
pub use picture::{MAX_PIXELS, Picture};
pub use preprocess::{Blob, Pixels, Preprocessor, Scaling, Steps, preprocess};
pub use raw::{Layout, PixelFormat, to_picture};
