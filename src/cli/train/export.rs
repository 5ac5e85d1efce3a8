//! `train export`: a checkpoint as a bundle.

use std::path::PathBuf;

use edge_rcnn::boxes::AnchorSpec;
use edge_rcnn::eval::{VOC_CLASSES, names_in};
use edge_rcnn::model::StorageType;
use edge_rcnn::train::net::Net;
use edge_rcnn::train::{TrainError, checkpoint, export};

use super::network::NetArgs;

/// Options of `train export`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A checkpoint of `train detect`
    #[arg(long, value_name = "FILE")]
    checkpoint: PathBuf,
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
    checkpoint::initialise(&args.checkpoint, &mut net.params)?;
    let storage = if args.f16 { StorageType::F16 } else { StorageType::F32 };
    export::bundle(&net, &args.name, &classes, &anchors, storage, args.provenance.clone())?.save(&args.out)?;
    log::info!("exported to {}", args.out.display());
    Ok(())
}
