//! `edge-rcnn detect`: pictures in, one JSON line each out.
//!
//! A second thread decodes ahead, so that the detector never waits for a file. A picture that cannot be looked at
//! becomes an `error` line, and the work goes on; the exit code tells at the end.

mod annotated;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Instant;

use edge_rcnn::detector::{Detected, Detector, DetectorOptions};
use edge_rcnn::frame::{Picture, PictureError};
use edge_rcnn::sink::annotate;
use edge_rcnn::sink::json::{Found, Image, JsonLines};

use super::ahead::ahead;
use super::detector_args::DetectorArgs;
use super::inputs::{Input, gather};
use super::model;
use super::progress::Progress;
use super::{Failure, count};

/// Score below which `detect` keeps quiet. `eval` needs the model's own, lower threshold: it measures the whole curve.
const MIN_SCORE: f32 = 0.5;

/// Arguments of `detect`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Each picture becomes one line of JSON on standard output, in the order of the command line:\n\
    {\"type\":\"image\", \"path\":…, \"width\":…, \"height\":…, \"detections\":[{\"label\":…, \"class_id\":…, \"score\":…, \
    \"box\":[x1, y1, x2, y2]}], \"stage_ms\":{…}}\n\
    Boxes are half-open pixel coordinates of the upright picture. A picture that cannot be looked at becomes\n\
    {\"type\":\"error\", \"path\":…, \"message\":…}, and the exit code is 1 at the end.")]
pub struct Args {
    /// JPEG, PNG and WebP files, and folders of them
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Also open the folders inside of folders
    #[arg(short, long)]
    recursive: bool,
    /// Write the pictures with what was found drawn in: a .jpg or .png file for one picture, a folder for several
    #[arg(long, value_name = "OUT")]
    annotate: Option<PathBuf>,
    /// Report only objects that score more than this, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = MIN_SCORE)]
    min_score: f32,
    /// Report only these classes, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    #[command(flatten)]
    detector: DetectorArgs,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let inputs = gather(&args.paths, args.recursive);
    let targets = match &args.annotate {
        Some(out) => annotated::targets(out, &args.paths, &inputs)?,
        None => vec![None; inputs.len()],
    };
    let bundle = model::open(args.detector.model.as_deref())?;
    log::debug!("model {}, {}", bundle.manifest.name, bundle.manifest.architecture);
    let detector = Detector::new(bundle, options(&args)).map_err(model::detector_failure)?;
    log::debug!("kernels: {}", detector.kernels());
    let mut work = Work::new(detector, inputs.len());
    let started = Instant::now();
    ahead(
        inputs.iter().zip(&targets),
        |(input, target)| match input {
            Input::Picture { path, .. } => Ok((path, decode(path), target)),
            Input::Problem { path, message, missing } => Err((path, message, *missing)),
        },
        |ready| match ready {
            Ok((path, decoded, target)) => work.look(path, decoded, target.as_deref()),
            Err((path, message, missing)) => work.fail(path, message, missing),
        },
    )?;
    let (seen, objects) = (count(work.seen, "picture"), count(work.objects, "object"));
    log::info!("{seen}, {objects}, {:.1} s", started.elapsed().as_secs_f64());
    work.verdict()
}

fn options(args: &Args) -> DetectorOptions {
    DetectorOptions {
        classes: args.classes.as_ref().map(|names| names.iter().map(|n| n.trim().to_owned()).collect()),
        ..args.detector.options(args.min_score)
    }
}

/// A picture or why there is none, and how long that took in milliseconds.
type Decoded = (Result<Picture, PictureError>, f64);

fn decode(path: &Path) -> Decoded {
    let started = Instant::now();
    let picture = Picture::open(path);
    (picture, started.elapsed().as_secs_f64() * 1e3)
}

/// The detector at work, and what has become of the pictures so far.
struct Work {
    detector: Detector,
    out: JsonLines<io::Stdout>,
    progress: Option<Progress>,
    seen: usize,
    objects: usize,
    failed: usize,
    missing: usize,
}

impl Work {
    fn new(detector: Detector, total: usize) -> Self {
        // On a terminal the lines themselves show the progress.
        let progress = (total > 1 && !io::stdout().is_terminal()).then(|| Progress::new("detecting", total));
        Self { detector, out: JsonLines::new(io::stdout()), progress, seen: 0, objects: 0, failed: 0, missing: 0 }
    }

    /// Looks at one picture and writes its line, then the annotated picture.
    fn look(&mut self, path: &Path, (picture, decode_ms): Decoded, target: Option<&Path>) -> Result<(), Failure> {
        let mut picture = match picture {
            Ok(picture) => picture,
            Err(e) => return self.fail(path, &e.to_string(), false),
        };
        let detected = match self.detector.detect(&picture) {
            Ok(detected) => detected,
            Err(e) => return self.fail(path, &format!("{}: {e}", path.display()), false),
        };
        let found = found(&self.detector, &detected);
        let mut stage_ms = vec![("decode", decode_ms)];
        stage_ms.extend(detected.timings.named());
        let image = Image {
            path,
            width: picture.width,
            height: picture.height,
            scale: self.detector.scaling().factor(picture.width, picture.height) as f32,
            proposals: Some(detected.proposals),
            found: &found,
            dropped: detected.non_finite,
            stage_ms: &stage_ms,
        };
        self.out.image(&image).map_err(Failure::output)?;
        self.seen += 1;
        self.objects += found.len();
        if let Some(target) = target {
            annotate::draw(&mut picture, &found);
            drop(found);
            if let Err(e) = save(&picture, target) {
                return self.fail(path, &e, false);
            }
        }
        self.step();
        Ok(())
    }

    /// Says what went wrong, on both streams.
    fn fail(&mut self, path: &Path, message: &str, missing: bool) -> Result<(), Failure> {
        log::error!("{message}");
        self.failed += 1;
        self.missing += usize::from(missing);
        self.step();
        self.out.error(path, message).map_err(Failure::output)
    }

    fn step(&mut self) {
        if let Some(progress) = &mut self.progress {
            progress.step();
        }
    }

    /// Missing inputs have their own exit code if they are all that went wrong.
    fn verdict(self) -> Result<(), Failure> {
        let summary = format!("{} failed, {} looked at", count(self.failed, "input"), count(self.seen, "picture"));
        match self.failed {
            0 => Ok(()),
            n if n == self.missing => Err(Failure::missing(summary)),
            _ => Err(Failure::runtime(summary)),
        }
    }
}

fn found<'a>(detector: &'a Detector, detected: &Detected) -> Vec<Found<'a>> {
    let named = |d: &edge_rcnn::detector::Detection| Found {
        label: detector.label(d.class_id),
        class_id: d.class_id,
        score: d.score,
        rect: d.rect,
    };
    detected.detections.iter().map(named).collect()
}

fn save(picture: &Picture, target: &Path) -> Result<(), String> {
    if let Some(folder) = target.parent() {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: cannot be made: {e}", folder.display()))?;
    }
    annotate::save(picture, target).map_err(|e| e.to_string())
}
