//! Box arithmetic: corners, overlap, delta coding, anchors, suppression. Pure; imports nothing else of the crate.

mod anchors;
mod bbox;
pub mod delta;
mod nms;

pub use anchors::AnchorSpec;
pub use bbox::{BBox, Rect};
pub use nms::{Suppressor, nms, nms_sorted, order_by_score};
