//! Data sets and the numbers measured on them: readers for VOC and COCO annotations, average precision, recall.

mod coco;
mod dataset;
mod voc;

pub use dataset::{Dataset, DatasetError, DatasetKind, GroundTruth, ImageRecord};
pub use voc::VOC_CLASSES;
