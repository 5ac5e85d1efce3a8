//! `train export`: a checkpoint as a bundle.

use std::path::PathBuf;

use edge_rcnn::boxes::AnchorSpec;
use edge_rcnn::eval::{VOC_CLASSES, names_in};
use edge_rcnn::model::StorageType;
use edge_rcnn::train::net::Net;
use edge_rcnn::train::{TrainError, average, export};

use super::network::NetArgs;

/// Options of `train export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A checkpoint of `train detect`; of several, which must have started from the same weights, the mean is exported
    #[arg(long, required = true, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// How much each checkpoint counts [default: all the same]
    #[arg(long, value_delimiter = ',', value_name = "NUMBERS")]
    shares: Vec<f64>,
    /// The bundle to write
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Class names, one a line [default: the 20 of VOC]
    #[arg(long, value_name = "FILE")]
    classes: Option<PathBuf>,
    /// Store the weights as 16-bit floats
    #[arg(long)]
    f16: bool,
    /// Name of the model
    #[arg(long, default_value = "trained")]
    name: String,
    /// Where the weights come from, for the manifest
    #[arg(long, default_value = "")]
    provenance: String,
    #[command(flatten)]
    net: NetArgs,
}

/// Exports.
pub fn run(args: &Args) -> Result<(), TrainError> {
    let (config, device) = args.net.resolve()?;
    let classes: Vec<String> = match &args.classes {
        None => VOC_CLASSES.iter().map(|&c| c.to_owned()).collect(),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|source| TrainError::Io { path: path.clone(), source })?;
            names_in(&text)
        }
    };
    let anchors = AnchorSpec::default();
    let mut net = Net::new(config, device);
    net.add_detector(classes.len(), &anchors);
    let shares = if args.shares.is_empty() { vec![1.0; args.checkpoint.len()] } else { args.shares.clone() };
    if shares.len() != args.checkpoint.len() {
        return Err(TrainError::Config(format!(
            "--shares has {} numbers for {} checkpoints",
            shares.len(),
            args.checkpoint.len()
        )));
    }
    let checkpoints: Vec<(PathBuf, f64)> = args.checkpoint.iter().cloned().zip(shares).collect();
    average::average(&mut net, &checkpoints)?;
    let storage = if args.f16 { StorageType::F16 } else { StorageType::F32 };
    export::bundle(&net, &args.name, &classes, &anchors, storage, args.provenance.clone())?.save(&args.out)?;
    log::info!("exported to {}", args.out.display());
    Ok(())
}
