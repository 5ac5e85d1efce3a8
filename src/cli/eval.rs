//! `edge-rcnn eval`: how good the detections on a marked data set are.
//!
//! Detect on every picture (or read saved detections), write them if asked to, score them, print the table. The order
//! matters: a run takes hours and scoring a second, so what was detected is on disk before anything can go wrong.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use edge_rcnn::eval::{
    COCO_RESULTS, Dataset, DatasetError, Metric, RecallReport, Report, ResultsError, Scored, evaluate, read_saved,
    write_coco, write_voc,
};

use super::data::Data;
use super::detector_args::DetectorArgs;
use super::{Failure, count};

pub(super) mod detect;

use detect::{Run, detect_all};

/// Score above which detections enter the precision–recall curve; the reference code's, whatever the bundle says.
pub(super) const MIN_SCORE: f32 = 0.05;

/// Arguments of `eval`.
#[derive(Debug, clap::Args)]
#[command(after_help = "With --json the last line of standard output is one object: `mAP` and per-class `ap` in 0…1, \
                        and for the COCO metric its twelve numbers.")]
pub struct Args {
    /// The marked pictures: `voc:DIR`, a VOC devkit folder, or `coco:FILE`, a COCO instances JSON
    #[arg(long, value_name = "KIND:PATH")]
    data: Data,
    /// Split to use: `ImageSets/Main/NAME.txt` of a VOC folder; part of the file names of saved detections
    #[arg(long, default_value = "test", value_name = "NAME")]
    split: String,
    /// How to score [default: voc07 for VOC data, coco for COCO data]
    #[arg(long, value_name = "METRIC")]
    metric: Option<MetricName>,
    /// Folder of the pictures of COCO data [default: the folder of the JSON]
    #[arg(long, value_name = "DIR")]
    images: Option<PathBuf>,
    /// Use only the first N pictures
    #[arg(long, value_name = "N")]
    limit: Option<NonZeroUsize>,
    /// Write the detections here, as VOC files and as COCO JSON, before they are scored
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Score these saved detections instead of detecting: a COCO JSON or a folder of VOC files
    #[arg(long, value_name = "PATH")]
    rescore: Option<PathBuf>,
    /// Also measure the recall of the proposals: how many objects the first N boxes cover
    #[arg(long, conflicts_with = "rescore")]
    recall: bool,
    /// End with one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Score only detections above this, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = MIN_SCORE, help_heading = "Detector")]
    min_score: f32,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum MetricName {
    /// 11 recall levels, IoU above 0.5
    Voc07,
    /// Area under the curve, IoU above 0.5
    Voc,
    /// IoU .50:.05:.95, 101 recall levels
    Coco,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let metric = match (args.metric, &args.data) {
        (Some(MetricName::Voc07), _) | (None, Data::Voc(_)) => Metric::Voc07,
        (Some(MetricName::Voc), _) => Metric::Voc,
        (Some(MetricName::Coco), _) | (None, Data::Coco(_)) => Metric::Coco,
    };
    let set = args.data.read(&args.split, args.images.as_deref());
    let mut set = set.map_err(data_failure)?;
    let limit = args.limit.map_or(usize::MAX, NonZeroUsize::get);
    let run = match &args.rescore {
        Some(saved) => {
            let mut detections = read_saved(saved, &args.split, &set).map_err(results_failure)?;
            detections.truncate(limit);
            set.truncate(limit);
            Run { detections, ..Run::default() }
        }
        None => {
            set.truncate(limit);
            set.check_pictures().map_err(data_failure)?;
            if let Some(dir) = &args.out {
                // Better now than after hours.
                fs::create_dir_all(dir).map_err(|e| match e.kind() {
                    io::ErrorKind::AlreadyExists => {
                        Failure::runtime(format!("--out {}: is a file; name a folder", dir.display()))
                    }
                    _ => Failure::runtime(format!("--out {}: the folder cannot be made: {e}", dir.display())),
                })?;
            }
            detect_all(&set, &args.detector, args.min_score, args.recall)?
        }
    };
    if let Some(dir) = &args.out {
        save(dir, &args.split, &set, &run.detections)?;
    }
    print(&evaluate(&set, &run.detections, metric), &run, args.json).map_err(Failure::output)
}

pub(super) fn data_failure(error: DatasetError) -> Failure {
    match &error {
        DatasetError::MissingPictures { .. } => Failure::missing(error),
        DatasetError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Failure::missing(error),
        _ => Failure::runtime(error),
    }
}

fn save(dir: &Path, split: &str, set: &Dataset, detections: &[Vec<Scored>]) -> Result<(), Failure> {
    write_voc(dir, split, set, detections).map_err(Failure::runtime)?;
    write_coco(&dir.join(COCO_RESULTS), set, detections).map_err(Failure::runtime)?;
    log::info!("detections are in {}; score them again with --rescore", dir.display());
    Ok(())
}

fn results_failure(error: ResultsError) -> Failure {
    match &error {
        ResultsError::Io { source, .. } if source.kind() == io::ErrorKind::NotFound => Failure::missing(error),
        ResultsError::Empty { .. } => Failure::missing(error),
        _ => Failure::runtime(error),
    }
}

/// The last line of `--json`.
#[derive(serde::Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    report: &'a Report,
    #[serde(skip_serializing_if = "Option::is_none")]
    recall: Option<&'a RecallReport>,
    /// Mean time of each stage per picture; absent for saved detections.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    stage_ms: BTreeMap<&'static str, f64>,
}

fn print(report: &Report, run: &Run, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{report}")?;
    if let Some(recall) = &run.recall {
        writeln!(out, "\n{}", RecallTable(recall))?;
    }
    if json {
        let line = Line { report, recall: run.recall.as_ref(), stage_ms: run.stage_ms.iter().copied().collect() };
        writeln!(out, "{}", serde_json::to_string(&line)?)?;
    }
    out.flush()
}

struct RecallTable<'a>(&'a RecallReport);

impl fmt::Display for RecallTable<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>9}  {:>10}  {:>10}", "proposals", "IoU >= 0.5", "IoU >= 0.7")?;
        for row in &self.0.rows {
            write!(f, "\n{:>9}  {:>10.4}  {:>10.4}", row.proposals, row.at_50, row.at_70)?;
        }
        write!(f, "\n{}, {:.1} proposals a picture", count(self.0.objects, "object"), self.0.mean_proposals)
    }
}
