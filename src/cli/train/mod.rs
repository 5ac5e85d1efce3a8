//! `edge-rcnn train`: pre-training, detector training, export (feature `train`).

mod classify;
mod detect;
mod export;
mod network;

use edge_rcnn::train::TrainError;

use super::Failure;

/// Options of the verb.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Pre-train trunk and hidden fc layers as an image classifier
    Classify(classify::Args),
    /// Train a detector on VOC or COCO data and export it as a bundle
    Detect(Box<detect::Args>),
    /// Export a checkpoint as a bundle
    Export(export::Args),
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let result = match args.what {
        What::Classify(args) => classify::run(&args),
        What::Detect(args) => detect::run(&args),
        What::Export(args) => export::run(&args),
    };
    result.map_err(|e| match e {
        TrainError::Config(_) => Failure::usage(e),
        _ => Failure::runtime(e),
    })
}
