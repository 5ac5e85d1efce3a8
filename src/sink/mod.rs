//! Where detections go: JSON lines for programs, marked pictures for people.

pub mod annotate;
mod canvas;
pub mod json;
mod palette;
pub mod stream;
