//! `train classify`: pre-training.

use std::path::PathBuf;

use edge_rcnn::train::TrainError;
use edge_rcnn::train::classify::{self, ClassifyOptions};

use super::network::NetArgs;

/// Options of `train classify`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder or zip of class folders.
    #[arg(long)]
    data: PathBuf,
    /// The same for measuring.
    #[arg(long)]
    val: Option<PathBuf>,
    /// Folder for checkpoint and log; a checkpoint found there is resumed.
    #[arg(long)]
    out: PathBuf,
    /// Phases as SIDE:EPOCHS, small pictures first.
    #[arg(long, value_delimiter = ',', default_value = "64:8,96:4,128:2")]
    phases: Vec<String>,
    /// Pictures per iteration.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Peak learning rate.
    #[arg(long, default_value_t = 0.1)]
    lr: f64,
    /// Label smoothing.
    #[arg(long, default_value_t = 0.1)]
    smoothing: f64,
    /// Start from the weights of this checkpoint of another run, or of this bundle.
    #[arg(long, value_name = "PATH")]
    init: Option<PathBuf>,
    /// Iterations between checkpoints.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    checkpoint_every: u64,
    /// Seed of everything random.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    net: NetArgs,
}

/// Pre-trains.
pub fn run(args: &Args) -> Result<(), TrainError> {
    let (config, device) = args.net.resolve()?;
    let phases = args.phases.iter().map(|p| parse_phase(p)).collect::<Result<_, _>>()?;
    let options = ClassifyOptions {
        train: args.data.clone(),
        val: args.val.clone(),
        phases,
        batch: args.batch,
        lr: args.lr,
        smoothing: args.smoothing,
        init: args.init.clone(),
        seed: args.seed,
        out: args.out.clone(),
        checkpoint_every: args.checkpoint_every,
    };
    classify::run(&options, config, device)
}

fn parse_phase(text: &str) -> Result<(usize, f64), TrainError> {
    let parsed = text.split_once(':').and_then(|(s, e)| Some((s.parse().ok()?, e.parse().ok()?)));
    parsed
        .filter(|&(side, epochs): &(usize, f64)| side >= 32 && epochs > 0.0)
        .ok_or_else(|| TrainError::Config(format!("--phases {text:?}: expected SIDE:EPOCHS with SIDE ≥ 32, e.g. 64:8")))
}
