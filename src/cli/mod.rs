//! The command line: one file per verb, and what the verbs share.
//!
//! A verb is a module with `pub struct Args` (clap derive) and `pub fn run(args: Args) -> Result<(), Failure>`.
//! To add one: declare the module, add a variant to [`Command`], add its line to [`run`].
//!
//! Standard output carries data only; everything said to people goes to standard error through `log`.

mod ahead;
mod bench;
mod calibrate;
#[cfg(feature = "camera")]
mod cameras;
mod compress;
mod config;
mod data;
mod detect;
mod detector_args;
mod duration;
mod eval;
mod failure;
mod import;
mod info;
mod inputs;
mod logging;
mod manual;
mod model;
mod progress;
mod run;
mod schema;
mod scoring;
#[cfg(feature = "train")]
mod train;

use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

pub use failure::Failure;

/// Faster R-CNN for devices: pictures in, one JSON line each out.
#[derive(Debug, Parser)]
#[command(
    version,
    max_term_width = 100,
    // Of an option given twice the last counts, so that an alias can be overridden.
    args_override_self = true,
    after_help = "Exit codes: 0 done (also when the reader of the output goes away), 1 failure while running, \
                  2 wrong usage, 66 input or model missing, 69 no camera, 78 unusable model or configuration."
)]
struct Cli {
    #[command(flatten)]
    logging: logging::Args,
    #[command(subcommand)]
    command: Command,
}

/// The verbs.
#[derive(Debug, Subcommand)]
enum Command {
    /// Measure how fast this machine is, stage by stage and layer by layer
    Bench(bench::Args),
    /// List the cameras of this system, what they offer, and what is wrong with them
    #[cfg(feature = "camera")]
    Cameras(cameras::Args),
    /// Make a model in 8 bits: ranges seen on pictures, accuracy and speed measured before it is written
    Calibrate(calibrate::Args),
    /// Make a model smaller and faster: truncated SVD of its fully connected layers
    Compress(compress::Args),
    /// Print the settings that `run` would use with the same arguments, and where each comes from
    Config(run::Args),
    /// Find objects in pictures
    Detect(detect::Args),
    /// Measure average precision on a marked data set
    Eval(eval::Args),
    /// Make a model of the authors' Caffe files
    Import(import::Args),
    /// Say what a model is: classes, layers, costs, origin, checksums
    Info(info::Args),
    /// Write manual pages and shell completions into a folder
    #[command(hide = true)]
    Manual(manual::Args),
    /// Find objects in a stream of frames
    Run(run::Args),
    /// Print the JSON Schema of the lines that run and detect write
    Schema(schema::Args),
    /// Train a network
    #[cfg(feature = "train")]
    Train(train::Args),
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Bench(args) => bench::run(args),
        #[cfg(feature = "camera")]
        Command::Cameras(args) => cameras::run(args),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Compress(args) => compress::run(args),
        Command::Config(args) => config::run(args),
        Command::Detect(args) => detect::run(args),
        Command::Eval(args) => eval::run(args),
        Command::Import(args) => import::run(args),
        Command::Info(args) => info::run(args),
        Command::Manual(args) => manual::run(args),
        Command::Run(args) => run::run(args),
        Command::Schema(args) => schema::run(args),
        #[cfg(feature = "train")]
        Command::Train(args) => train::run(args),
    }
}

/// Parses the arguments, runs the verb and turns its result into the exit code.
pub fn main() -> ExitCode {
    // clap itself exits with 2 on wrong usage and with 0 after --help and --version.
    let matches = command().get_matches();
    let cli = Cli::from_arg_matches(&matches).unwrap_or_else(|e| e.exit());
    logging::start(&cli.logging);
    match run(cli.command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

/// The command line as clap knows it.
fn command() -> clap::Command {
    let verbs = ["run", "config"];
    verbs.iter().fold(Cli::command(), |all, verb| all.mut_subcommand(verb, run::layers::switchable))
}

/// "1 picture", "2 pictures".
fn count(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
