//! What verbs that look at pictures share: the options of the detector, and opening it.

use std::path::PathBuf;

use edge_rcnn::detector::{Detector, DetectorError, DetectorOptions};
use edge_rcnn::model::Bundle;

use super::{Failure, model};

/// Which model, and what to do otherwise than it says.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Detector")]
pub struct DetectorArgs {
    /// The model: a bundle directory [default: the built-in one]
    #[arg(long, value_name = "DIR")]
    model: Option<PathBuf>,
    /// Shorter side of the network input in pixels [default: the model's]
    #[arg(long, value_name = "PIXELS")]
    scale: Option<u32>,
    /// Most boxes per picture the head looks at [default: the model's]
    #[arg(long, value_name = "N")]
    pub proposals: Option<usize>,
    /// Detections score more than this [default: the model's]
    #[arg(long, value_name = "SCORE")]
    pub min_score: Option<f32>,
    /// Of two detections of a class that overlap more than this the worse goes [default: the model's]
    #[arg(long, value_name = "IOU")]
    nms: Option<f32>,
    /// Most detections per picture [default: the model's]
    #[arg(long, value_name = "N")]
    max_detections: Option<usize>,
    /// Threads inside each stage [default: one per core]
    #[arg(long, value_name = "N")]
    threads: Option<usize>,
}

impl DetectorArgs {
    /// Opens the model.
    pub fn bundle(&self) -> Result<Bundle, Failure> {
        model::open(self.model.as_deref())
    }

    /// The options as the library takes them.
    pub fn options(&self) -> DetectorOptions {
        DetectorOptions {
            short_side: self.scale,
            proposals: self.proposals,
            nms: self.nms,
            min_score: self.min_score,
            max_detections: self.max_detections,
            threads: self.threads,
            ..DetectorOptions::default()
        }
    }
}

/// Builds a detector; what cannot be built is the fault of an option or of the model.
pub fn build(bundle: Bundle, options: DetectorOptions) -> Result<Detector, Failure> {
    Detector::new(bundle, options).map_err(|error| match error {
        DetectorError::Option { .. } | DetectorError::UnknownClass { .. } => Failure::usage(error),
        DetectorError::Threads { .. } => Failure::runtime(error),
        _ => Failure::config(error),
    })
}
