//! Data sets and the numbers measured on them: readers for VOC and COCO annotations, average precision, recall.
//!
//! ```text
//! VOC folder ──┐                     detections per picture ──┐
//!              ├─► Dataset ───────────────────────────────────┴─► evaluate ──► Report (table, JSON)
//! COCO file ───┘                                                 RecallCounter ──► RecallReport
//! ```
//!
//! The measures are pure functions of a data set and of detections. Result files (VOC and COCO format) hold
//! detections in between, so that a long run can be scored again.

mod coco;
mod coco_ap;
mod coco_classes;
mod coco_match;
mod dataset;
mod recall;
mod report;
mod results;
mod scored;
mod voc;
mod voc_ap;

pub use coco_ap::{CocoResult, CocoSummary, coco_ap};
pub use coco_classes::COCO_CLASSES;
pub use dataset::{Dataset, DatasetError, DatasetKind, GroundTruth, ImageRecord, names_in};
pub use recall::{RECALL_COUNTS, RecallCounter, RecallReport, RecallRow};
pub use report::{ClassReport, Metric, Report, evaluate};
pub use results::{COCO_RESULTS, ResultsError, read_saved, write_coco, write_voc};
pub use scored::Scored;
pub use voc::VOC_CLASSES;
pub use voc_ap::{Curve, VOC_IOU, curve as voc_curve};
