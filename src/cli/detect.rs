//! `edge-rcnn detect`: pictures in, one JSON line each out.

use std::path::PathBuf;

use super::Failure;

/// Arguments of `detect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Picture files and folders of pictures
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    Err(Failure::runtime(format!("{} paths: the detector is not built in yet", args.paths.len())))
}
