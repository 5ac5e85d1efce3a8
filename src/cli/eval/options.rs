//! The detector's options on the command line of `eval`.

use std::path::PathBuf;

use edge_rcnn::detector::DetectorOptions;

/// Score above which detections enter the precision–recall curve; the reference code's, whatever the bundle says.
const MIN_SCORE: f32 = 0.05;

/// Which model, and what to do otherwise than it says.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Detector")]
pub struct DetectorArgs {
    /// The model: a bundle directory [default: the built-in one]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Shorter side of the network input in pixels [default: the model's]
    #[arg(long, value_name = "PIXELS")]
    scale: Option<u32>,
    /// Most boxes per picture the head looks at [default: the model's]
    #[arg(long, value_name = "N")]
    pub proposals: Option<usize>,
    /// Score only detections above this, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = MIN_SCORE)]
    min_score: f32,
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
    /// The options as the library takes them.
    pub fn options(&self) -> DetectorOptions {
        DetectorOptions {
            short_side: self.scale,
            proposals: self.proposals,
            nms: self.nms,
            min_score: Some(self.min_score),
            max_detections: self.max_detections,
            threads: self.threads,
            ..DetectorOptions::default()
        }
    }
}
