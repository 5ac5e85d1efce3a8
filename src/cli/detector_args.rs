//! The detector's options on the command line, the same for every verb that runs it.
//!
//! `--min-score` is not among them: each verb has a default of its own for it, and a reason.

use std::path::PathBuf;

use edge_rcnn::detector::{DetectorOptions, Precision};

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
    /// What to compute with: auto (the best this processor has), scalar, avx2, avx512, neon, in 8 bits also avx-vnni, vnni, amx,
    /// neon-dot, tract (the graph engine's own, on one thread, for the trunk), or in builds for GPUs cuda (cuda:1 for the
    /// second one) [default: auto]
    #[arg(long, value_name = "NAME")]
    kernels: Option<String>,
    /// What to compute in: integers (int8, of a model in 8 bits: the same bits on every processor), real numbers (f32), those
    /// rounded to 8 significant bits (bf16, on processors that have it) or to 11 (tf32, on GPUs), or, of a model in 8 bits,
    /// whatever is faster here (auto)
    #[arg(long, value_name = "KIND", value_enum, default_value_t = Computed::Auto)]
    precision: Computed,
}

/// [`Precision`] on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Computed {
    Auto,
    Int8,
    F32,
    Bf16,
    #[cfg(feature = "cuda")]
    Tf32,
}

impl From<Computed> for Precision {
    fn from(computed: Computed) -> Self {
        match computed {
            Computed::Auto => Self::Auto,
            Computed::Int8 => Self::Int8,
            Computed::F32 => Self::F32,
            Computed::Bf16 => Self::Bf16,
            #[cfg(feature = "cuda")]
            Computed::Tf32 => Self::Tf32,
        }
    }
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
            precision: self.precision.into(),
            ..DetectorOptions::default()
        }
    }
}
