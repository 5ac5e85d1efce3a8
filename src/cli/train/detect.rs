//! `train detect`: training a detector.

use std::path::PathBuf;
use std::str::FromStr;

use clap::ValueEnum;
use edge_rcnn::boxes::AnchorSpec;
use edge_rcnn::eval::Dataset;
use edge_rcnn::model::{Bundle, StorageType};
use edge_rcnn::train::detect::{Learn, Phase};
use edge_rcnn::train::feed::{FeedOptions, Stage};
use edge_rcnn::train::measure::Validation;
use edge_rcnn::train::methods::{self, Method, read_proposals};
use edge_rcnn::train::net::{Net, NetConfig};
use edge_rcnn::train::sgd::{Schedule, Sgd};
use edge_rcnn::train::targets::{HeadSampling, RpnSampling};
use edge_rcnn::train::{TrainError, checkpoint, export};
use tch::Device;

use super::network::NetArgs;
use crate::cli::data::Data;

/// Options of `train detect`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The marked pictures: `voc:DIR` or `coco:FILE`
    #[arg(long, value_name = "KIND:PATH")]
    data: Data,
    /// Split to learn from
    #[arg(long, default_value = "trainval", value_name = "NAME")]
    split: String,
    /// Folder of the pictures of COCO data [default: the folder of the JSON]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Split to measure on along the way (VOC data)
    #[arg(long, value_name = "NAME")]
    val_split: Option<String>,
    /// Pictures of it to measure on
    #[arg(long, default_value_t = 200, value_name = "N")]
    val_limit: usize,
    /// Iterations between measurements [default: only at the end]
    #[arg(long, value_name = "N")]
    eval_every: Option<u64>,
    /// How the papers' networks are trained together
    #[arg(long, value_enum, default_value = "joint")]
    method: MethodName,
    /// Pre-trained weights: a checkpoint of `train classify` or `train detect`, or a bundle
    #[arg(long, value_name = "PATH")]
    init: Option<PathBuf>,
    /// Proposals for --method fast-rcnn, JSON lines
    #[arg(long, value_name = "FILE")]
    proposals: Option<PathBuf>,
    /// Folder for checkpoints, logs and the bundle; a run found there is resumed
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Passes over the pictures (for each step of alternating training), unless --scales says them
    #[arg(long, default_value_t = 10.0, value_name = "N")]
    epochs: f64,
    /// Pictures per iteration
    #[arg(long, default_value_t = 2, value_name = "N")]
    pictures: u64,
    /// Learning rate
    #[arg(long, default_value_t = 1e-3)]
    lr: f64,
    /// Rate over time: one tenth after 70 % and 90 %, or half a cosine
    #[arg(long, value_enum, default_value = "steps")]
    schedule: ScheduleName,
    /// Gradients are limited to this norm; 0 for no limit
    #[arg(long, default_value_t = 35.0)]
    clip: f64,
    /// Shorter sides to train at; one is drawn for each picture. Given several times with passes over the pictures, as
    /// in `--scales 250,300:8 --scales 500,600:4`, training goes from the first sizes to the last
    #[arg(long, default_value = "600", value_name = "LIST[:EPOCHS]")]
    scales: Vec<StageArg>,
    /// Share of the pictures of which a random window is shown, at least half of each side: objects appear larger, and cut
    /// off. Not for methods that train on stored proposals
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    crop: f64,
    /// How much brighter or darker pictures become at the most, as a share; each colour a third as much by itself
    #[arg(long, default_value_t = 0.0, value_parser = share, value_name = "SHARE")]
    light: f64,
    /// RoIs per picture
    #[arg(long, default_value_t = 128)]
    rois: usize,
    /// Background RoIs overlap an object at least so much
    #[arg(long, default_value_t = 0.1)]
    background_low: f32,
    /// Layers that are not learned
    #[arg(long, value_delimiter = ',', default_value = "conv1")]
    freeze: Vec<String>,
    /// Iterations between lines of the log
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    log_every: u64,
    /// Iterations between checkpoints
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u64).range(1..), value_name = "N")]
    checkpoint_every: u64,
    /// Seed of everything random
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name of the exported model
    #[arg(long, default_value = "trained")]
    name: String,
    #[command(flatten)]
    net: NetArgs,
}

/// A part of a whole.
fn share(text: &str) -> Result<f64, String> {
    text.parse().ok().filter(|s| (0.0..=1.0).contains(s)).ok_or_else(|| "expected a number from 0 to 1".into())
}

/// Sizes, and for how long.
#[derive(Debug, Clone)]
struct StageArg {
    scales: Vec<u32>,
    epochs: Option<f64>,
}

impl FromStr for StageArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (list, epochs) = text.split_once(':').map_or((text, None), |(list, epochs)| (list, Some(epochs)));
        let scales: Option<Vec<u32>> = list.split(',').map(|s| s.trim().parse().ok().filter(|&s| s > 0)).collect();
        let epochs = epochs.map(|e| e.parse().ok().filter(|&e: &f64| e > 0.0 && e.is_finite()).ok_or(e)).transpose();
        match (scales, epochs) {
            (Some(scales), Ok(epochs)) => Ok(Self { scales, epochs }),
            _ => {
                Err("expected shorter sides in pixels and perhaps passes over the pictures, as in 400,600 or 400,600:5"
                    .into())
            }
        }
    }
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MethodName {
    /// RPN and head at once
    Joint,
    /// The four steps of the paper
    Alternating,
    /// The RPN alone
    Rpn,
    /// The head alone, on stored proposals
    FastRcnn,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ScheduleName {
    Steps,
    Cosine,
}

/// Trains and exports.
pub fn run(args: &Args) -> Result<(), TrainError> {
    let (config, device) = args.net.resolve()?;
    let read = |split: &str| {
        let set = args.data.read(split, args.images.as_deref());
        let checked = set.and_then(|set| set.check_pictures().map(|()| set));
        checked.map_err(|e| TrainError::Config(e.to_string()))
    };
    let data = read(&args.split)?;
    let mut validation = match &args.val_split {
        Some(split) => Some(Validation::new(read(split)?, args.val_limit)),
        None => None,
    };
    let anchors = AnchorSpec::default();
    let phase = phase(args, &data, &anchors)?;
    let stored = args.proposals.as_deref().map(|p| read_proposals(p, &data)).transpose()?;
    let fresh = || start(args, &config, device, data.classes.len(), &anchors);
    let provenance = format!(
        "edge-rcnn {} train detect, {:?}, split {}, {} pictures, {:.1} epochs, seed {}",
        env!("CARGO_PKG_VERSION"),
        args.method,
        args.split,
        data.images.len(),
        phase.iterations as f64 * phase.pictures as f64 / data.images.len() as f64,
        args.seed
    );
    let to_bundle =
        |net: &Net, storage| export::bundle(net, &args.name, &data.classes, &anchors, storage, provenance.clone());
    let mut measure = |net: &Net| match &mut validation {
        Some(v) => v.measure(to_bundle(net, StorageType::F32)?),
        None => Ok(serde_json::Value::Null),
    };
    let method = match args.method {
        MethodName::Joint => Method::Joint,
        MethodName::Alternating => Method::Alternating,
        MethodName::Rpn => Method::Rpn,
        MethodName::FastRcnn => Method::FastRcnn,
    };
    let net = methods::train(method, &fresh, &data, &phase, stored, &mut measure)?;
    let dir = args.out.join("bundle");
    to_bundle(&net, StorageType::F32)?.save(&dir)?;
    log::info!("exported to {}", dir.display());
    Ok(())
}

/// The stages of the run, in pictures.
fn stages(args: &Args, pictures: usize) -> Result<Vec<Stage>, TrainError> {
    let several = args.scales.len() > 1;
    let mut epochs = 0.0;
    args.scales
        .iter()
        .map(|stage| {
            epochs += match stage.epochs {
                Some(epochs) => epochs,
                None if !several => args.epochs,
                None => {
                    return Err(TrainError::Config(format!(
                        "--scales {:?} follows or precedes another --scales and does not say for how many passes; write \
                         it as LIST:EPOCHS",
                        stage.scales
                    )));
                }
            };
            Ok(Stage { scales: stage.scales.clone(), until: (pictures as f64 * epochs).ceil().max(1.0) as u64 })
        })
        .collect()
}

/// What all phases of the run share.
fn phase(args: &Args, data: &Dataset, anchors: &AnchorSpec) -> Result<Phase, TrainError> {
    if args.crop > 0.0 && matches!(args.method, MethodName::Alternating | MethodName::FastRcnn) {
        return Err(TrainError::Config(
            "--crop: stored proposals belong to whole pictures; leave it out, or train with --method joint or rpn"
                .into(),
        ));
    }
    let stages = stages(args, data.images.len())?;
    let iterations = stages.last().map_or(1, |s| s.until).div_ceil(args.pictures.max(1));
    let warmup = (iterations / 20).min(500);
    let schedule = match args.schedule {
        ScheduleName::Steps => Schedule::Steps { base: args.lr, warmup, drops: [0.7, 0.9] },
        ScheduleName::Cosine => Schedule::Cosine { base: args.lr, warmup },
    };
    Ok(Phase {
        name: String::new(),
        learn: Learn::Both,
        freeze: args.freeze.clone(),
        iterations,
        pictures: args.pictures.max(1),
        schedule,
        sgd: Sgd { clip_norm: args.clip, ..Sgd::default() },
        rpn: RpnSampling::default(),
        head: HeadSampling { batch: args.rois, background_low: args.background_low, ..HeadSampling::default() },
        anchors: anchors.clone(),
        feed: FeedOptions { stages, flip: true, crop: args.crop, light: args.light as f32, seed: args.seed },
        out: args.out.clone(),
        log_every: args.log_every,
        checkpoint_every: args.checkpoint_every,
        eval_every: args.eval_every.unwrap_or(iterations),
    })
}

/// A network with its pre-trained weights.
fn start(
    args: &Args,
    config: &NetConfig,
    device: Device,
    classes: usize,
    anchors: &AnchorSpec,
) -> Result<Net, TrainError> {
    tch::manual_seed(args.seed as i64);
    let mut net = Net::new(config.clone(), device);
    net.add_detector(classes, anchors);
    match &args.init {
        None => log::warn!("no --init: the trunk starts from random weights"),
        Some(path) if path.is_dir() => {
            let unused = net.import(&Bundle::load(path)?.weights()?);
            if config.batch_norm || !unused.is_empty() {
                return Err(TrainError::Config(format!(
                    "{}: does not fit the network (its batch normalisation is folded in: leave out --batch-norm and give \
                     the same --architecture and --ranks); unused: {}",
                    path.display(),
                    unused.join(", ")
                )));
            }
        }
        Some(path) => {
            checkpoint::initialise(path, &mut net.params)?;
        }
    }
    Ok(net)
}
