//! The detector's options on the command line, the same for every verb that runs it.
//!
//! `--min-score` is not among them: each verb has a default of its own for it, and a reason.

use std::path::PathBuf;

use edge_rcnn::detector::DetectorOptions;

/// Which model, and what to do otherwise than it says.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Detector")]
pub struct DetectorArgs {
    /// Folder of the model [default: the one compiled into the program]
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// Scale pictures so that their shorter side has this many pixels; smaller is faster, finds fewer small objects
    /// [default: the model's, usually 600]
    #[arg(long, value_name = "PIXELS")]
    pub scale: Option<u32>,
    /// Regions to look at in each picture; fewer is faster [default: the model's, usually 300]
    #[arg(long, value_name = "N")]
    pub proposals: Option<usize>,
    /// Of two objects of a class that overlap more than this (IoU, 0 to 1), keep the better one [default: the model's,
    /// usually 0.3]
    #[arg(long, value_name = "IOU")]
    nms: Option<f32>,
    /// Most objects per picture [default: the model's, usually 100]
    #[arg(long, value_name = "N")]
    max_detections: Option<usize>,
    /// Threads to compute with [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
    /// Keep each thread on a core of its own
    #[arg(long)]
    pin: bool,
    /// What to compute the trunk with: auto (the best this processor has), scalar, avx2, avx512, neon, or tract (the graph
    /// engine's own) [default: auto]
    #[arg(long, value_name = "NAME")]
    kernels: Option<String>,
    /// What to compute the fully connected layers of a model of real numbers in: f32, or bf16, which is faster on processors
    /// that have it, with 8 significant bits [default: f32]
    #[arg(long, value_name = "NAME")]
    precision: Option<String>,
}

impl DetectorArgs {
    /// The options as the library takes them.
    pub fn options(&self, min_score: f32) -> DetectorOptions {
        DetectorOptions {
            short_side: self.scale,
            proposals: self.proposals,
            nms: self.nms,
            min_score: Some(min_score),
            max_detections: self.max_detections,
            threads: self.threads,
            pin: self.pin,
            kernels: self.kernels.clone(),
            precision: self.precision.clone(),
            ..DetectorOptions::default()
        }
    }
}
