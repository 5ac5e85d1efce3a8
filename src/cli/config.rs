//! `edge-rcnn config`: the settings that `run` would use, and where each comes from.

use std::io::{self, Write};

use super::Failure;
use super::run::{Args, layers::Layers};

/// Runs the verb.
pub fn run(_: Args) -> Result<(), Failure> {
    let layers = Layers::read(&std::env::args_os().collect::<Vec<_>>())?;
    write!(io::stdout(), "{layers}").map_err(Failure::output)
}
