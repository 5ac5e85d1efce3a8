//! `edge-rcnn schema`: the JSON Schema of the lines that `run` and `detect` write.

use std::io::{self, Write};

use edge_rcnn::sink::JSON_SCHEMA;

use super::Failure;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the verb.
pub fn run(_: Args) -> Result<(), Failure> {
    io::stdout().write_all(JSON_SCHEMA.as_bytes()).map_err(Failure::output)
}
