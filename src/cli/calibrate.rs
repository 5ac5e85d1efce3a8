//! `edge-rcnn calibrate`: a model in 8 bits, made of a real one and of pictures, measured before it is written.
//!
//! See the ranges of all maps on the pictures, make a candidate with each method, let the real model and all candidates look
//! at the same marked pictures in turns, write the best candidate unless it lost too much. What is measured is what is
//! written: the candidates are the bytes of the bundle.

use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use edge_rcnn::calibrate::{CalibrateError, Calibrator, Method};
use edge_rcnn::frame::Picture;
use edge_rcnn::model::Bundle;

use super::ahead::ahead;
use super::data::Data;
use super::progress::Progress;
use super::scoring::Scoring;
use super::{Failure, model};

mod images;
mod measure;

use images::{Images, Listed};
use measure::{Measured, measure};

/// Arguments of `calibrate`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Ranges should be seen on other pictures than the score is measured on. Give several methods to measure them \
                        all; the best is written. With --json the last line of standard output is one object: `mAP_before` and \
                        `mAP_after` in 0…1, `drop` in points of 100, sizes in bytes, times in milliseconds."
)]
pub struct Args {
    /// Folder of the model to calibrate, one of real numbers
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// Folder to write the model in 8 bits to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Pictures that ranges are seen on: `voc:DIR`, `coco:FILE`, or a list, one path a line, each with its sha256 before it
    /// if it is to be checked
    #[arg(long, value_name = "KIND:PATH")]
    images: Images,
    /// Split of VOC pictures
    #[arg(long, default_value = "train", value_name = "NAME")]
    split: String,
    /// Folder that paths of a list begin in [default: that of the list]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Use so many of the pictures, evenly spread; a list is used whole
    #[arg(long, value_name = "N", default_value = "200")]
    limit: NonZeroUsize,
    /// Write the list of the pictures that were used, with their sha256
    #[arg(long, value_name = "FILE")]
    write_list: Option<PathBuf>,
    /// Write the ranges that were chosen, as JSON
    #[arg(long, value_name = "FILE")]
    write_ranges: Option<PathBuf>,
    /// Marked pictures to measure the accuracy on [default: the pictures of --images, if they are marked]
    #[arg(long, value_name = "KIND:PATH")]
    score_on: Option<Data>,
    /// Split of those
    #[arg(long, default_value = "val", value_name = "NAME", requires = "score_on")]
    score_split: String,
    /// Measure on the first N of them, as `eval --limit` does
    #[arg(long, value_name = "N", default_value = "200")]
    score_limit: NonZeroUsize,
    /// How to choose ranges: min-max, percentile:P, or mse (least squared error); several with commas between them
    #[arg(long, value_name = "METHOD", value_delimiter = ',', default_value = "mse")]
    method: Vec<Method>,
    /// Correct biases by what rounding the weights changes in the mean: no, yes, or both to measure with and without
    #[arg(long, value_name = "WHETHER", num_args = 0..=1, default_value = "no", default_missing_value = "yes")]
    bias_correction: Whether,
    /// Write nothing and fail if more mAP is lost than this, in points of 100
    #[arg(long, value_name = "POINTS", default_value_t = 0.5)]
    max_drop: f64,
    /// Threads to compute with [default: as many as there are cores]
    #[arg(long, value_name = "N")]
    threads: Option<NonZeroUsize>,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
}

/// What to do about biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Whether {
    /// Leave them
    No,
    /// Correct them
    Yes,
    /// Measure both
    Both,
}

impl Whether {
    fn choices(self) -> &'static [bool] {
        match self {
            Self::No => &[false],
            Self::Yes => &[true],
            Self::Both => &[false, true],
        }
    }
}

/// A model in 8 bits, and how it was made.
struct Candidate {
    method: Method,
    bias_correction: bool,
    bundle: Bundle,
}

impl Candidate {
    /// How it was made, in words.
    fn how(&self) -> String {
        let corrected = if self.bias_correction { ", biases corrected" } else { "" };
        format!("{}{corrected}", self.method)
    }
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    if !(0.0..=100.0).contains(&args.max_drop) {
        return Err(Failure::usage(format!("--max-drop {}: must be 0 to 100 points", args.max_drop)));
    }
    let bundle = model::open(Some(&args.model))?;
    // All that can be wrong with what was asked for is found out before the first picture.
    let list = args.images.list(&args.split, args.root.as_deref(), args.limit.get())?;
    let scoring = scoring(&args, &bundle)?;
    let threads = args.threads.map_or_else(cores, NonZeroUsize::get);

    let calibrator = see(&bundle, &list, threads)?;
    let list_sha256 = images::sha256(&list);
    if let Some(file) = &args.write_list {
        images::write(&list, file)?;
    }
    let mut candidates = Vec::new();
    for method in &args.method {
        for bias_correction in args.bias_correction.choices().iter().copied() {
            let made = calibrator.quantized(&bundle, *method, bias_correction, &list_sha256);
            candidates.push(Candidate { method: *method, bias_correction, bundle: made.map_err(calibrate_failure)? });
        }
    }
    let measured = match &scoring {
        Some(scoring) => Some(measure(&bundle, &candidates, scoring, threads)?),
        None => {
            log::warn!(
                "the pictures are not marked: nothing is known about the accuracy; name marked ones with --score-on"
            );
            None
        }
    };
    let best = measured.as_ref().map_or(0, Measured::best);
    let candidate = &candidates[best];
    let (how, chosen) = (candidate.how(), &candidate.bundle);

    let mut out = io::stdout().lock();
    if let Some(measured) = &measured {
        write!(out, "{measured}").map_err(Failure::output)?;
    }
    let drop = measured.as_ref().map(|m| m.drop_points(best));
    let within = drop.is_none_or(|drop| drop <= args.max_drop);
    if within {
        if let Some(file) = &args.write_ranges {
            let text = serde_json::to_string_pretty(&calibrator.ranges(candidate.method)).map_err(Failure::runtime)?;
            std::fs::write(file, text + "\n").map_err(|e| Failure::runtime(format!("{}: {e}", file.display())))?;
        }
        chosen.save(&args.out).map_err(Failure::runtime)?;
        writeln!(
            out,
            "{}: {:.1} MB, was {:.1} MB; ranges by {how}",
            args.out.display(),
            bytes(chosen) as f64 / 1e6,
            bytes(&bundle) as f64 / 1e6
        )
        .map_err(Failure::output)?;
    }
    if args.json {
        let line = Line {
            out: within.then(|| args.out.display().to_string()),
            method: candidate.method.to_string(),
            bias_correction: candidate.bias_correction,
            images: list.len(),
            images_sha256: list_sha256,
            sha256_before: bundle.sha256().map_err(model::bundle_failure)?,
            sha256_after: chosen.sha256().map_err(model::bundle_failure)?,
            bytes_before: bytes(&bundle),
            bytes_after: bytes(chosen),
            drop,
            max_drop: args.max_drop,
            measured: measured.as_ref().map(|m| m.line(best)),
        };
        writeln!(out, "{}", serde_json::to_string(&line).map_err(Failure::runtime)?).map_err(Failure::output)?;
    }
    out.flush().map_err(Failure::output)?;
    match drop {
        Some(drop) if !within => Err(Failure::runtime(format!(
            "{how} loses {drop:.2} points of mAP, more than --max-drop {}; {} was not written: try other methods or more \
             pictures",
            args.max_drop,
            args.out.display()
        ))),
        _ => Ok(()),
    }
}

/// The last line of `--json`.
#[derive(serde::Serialize)]
struct Line {
    /// Folder of the model; absent if it was not written.
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<String>,
    method: String,
    bias_correction: bool,
    images: usize,
    images_sha256: String,
    /// Of the whole models.
    sha256_before: String,
    sha256_after: String,
    bytes_before: usize,
    bytes_after: usize,
    /// Points of mAP, of 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    drop: Option<f64>,
    max_drop: f64,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    measured: Option<measure::Line>,
}

/// Where to measure, if anywhere.
fn scoring(args: &Args, bundle: &Bundle) -> Result<Option<Scoring>, Failure> {
    let (data, split) = match (&args.score_on, &args.images) {
        (Some(data), _) => (data, &args.score_split),
        (None, Images::Marked(data)) => {
            log::warn!("the accuracy is measured on the pictures that the ranges are seen on; --score-on names others");
            (data, &args.split)
        }
        (None, Images::List(_)) => return Ok(None),
    };
    Scoring::new(data, split, args.score_limit.get(), bundle).map(Some)
}

/// Watches the real network look at all pictures.
fn see(bundle: &Bundle, list: &[Listed], threads: usize) -> Result<Calibrator, Failure> {
    let mut calibrator = Calibrator::new(bundle, threads).map_err(calibrate_failure)?;
    let mut progress = Progress::new("seeing ranges", list.len());
    ahead(
        list.iter(),
        |listed| (listed, Picture::open(&listed.path)),
        |(listed, picture)| {
            let named = |e| match e {
                CalibrateError::TooSmall { .. } => Failure::runtime(format!("{}: {e}", listed.path.display())),
                e => calibrate_failure(e),
            };
            calibrator.see(&picture.map_err(Failure::runtime)?).map_err(named)?;
            progress.step();
            Ok(())
        },
    )?;
    Ok(calibrator)
}

fn calibrate_failure(error: CalibrateError) -> Failure {
    match error {
        CalibrateError::Bundle(e) => model::bundle_failure(e),
        CalibrateError::NoPictures => Failure::usage(error),
        CalibrateError::Threads { .. } => Failure::runtime(error),
        _ => Failure::config(error),
    }
}

fn bytes(bundle: &Bundle) -> usize {
    bundle.trunk_onnx.len() + bundle.head_onnx.len()
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
