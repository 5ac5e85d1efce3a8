//! Where detections go: JSON lines for programs, marked pictures for people.

pub mod annotate;
mod canvas;
pub mod json;
mod palette;
pub mod percentiles;
pub mod preview;
mod schema;
pub mod snapshots;
pub mod stream;

pub use schema::JSON_SCHEMA;
