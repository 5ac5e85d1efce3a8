//! `edge-rcnn run`: frames in, a stream of JSON lines out, until the source ends or somebody asks to stop.

mod from;

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use edge_rcnn::clock::SystemClock;
use edge_rcnn::detector::{Detector, DetectorOptions};
use edge_rcnn::model::Bundle;
use edge_rcnn::pipeline::{self, Parts, RunError, Settings};
use edge_rcnn::sink::stream::{Hello, Model};
use edge_rcnn::source::{Context, Source, Stop};
use signal_hook::consts::{SIGINT, SIGTERM};

use super::Failure;
use super::detector_args::DetectorArgs;
use super::model;

/// Score below which `run` keeps quiet, as `detect` does.
const MIN_SCORE: f32 = 0.5;

/// Arguments of `run`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Standard output is NDJSON, schema edge-rcnn/1: a hello line, a status line, a frame line per frame\n\
    looked at, a stats line now and then, error lines, and a bye line at the end. The documentation of the\n\
    module sink::stream has every field.\n\n\
    Anything ffmpeg can read, RTSP and H.264 too:\n  \
    ffmpeg -i rtsp://… -pix_fmt yuv420p -f yuv4mpegpipe - | edge-rcnn run --source -\n\n\
    SIGTERM and SIGINT end the run with exit code 0 after the frame that is being looked at."
)]
pub struct Args {
    #[command(flatten)]
    from: from::Args,
    #[command(flatten)]
    detector: DetectorArgs,
    /// Report only objects that score more than this, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = MIN_SCORE)]
    min_score: f32,
    /// Report only these classes, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    classes: Option<Vec<String>>,
    /// Leave out the lines of frames in which nothing was found
    #[arg(long)]
    only_detections: bool,
    /// Seconds between two stats lines
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    stats_every: f64,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let stats_every = Duration::try_from_secs_f64(args.stats_every).ok().filter(|d| !d.is_zero());
    let stats_every = stats_every
        .ok_or_else(|| Failure::usage(format!("--stats-every {}: must be more than 0 seconds", args.stats_every)))?;
    let context = Context { clock: Arc::new(SystemClock), stop: Stop::default() };
    let source = from::open(&args.from, &context)?;
    let bundle = model::open(args.detector.model.as_deref())?;
    let hello = hello(&bundle, source.as_ref())?;
    let detector = Detector::new(bundle, options(&args)).map_err(model::detector_failure)?;
    listen(&context.stop)?;
    log::info!(
        "{}: looking with {} on {} kernels; {}",
        hello.source,
        hello.model.name,
        detector.kernels(),
        policy(hello.live)
    );

    let out = Box::new(io::stdout());
    let parts = Parts { source, look: Box::new(detector), out, clock: context.clock, stop: context.stop.clone() };
    let settings = Settings { stats_every, only_detections: args.only_detections };
    let summary = match pipeline::run(parts, hello, settings) {
        Ok(summary) => summary,
        Err(RunError::Output(e)) => return Err(Failure::output(e)),
        Err(e @ RunError::Stuck) => {
            log::warn!("{e}");
            return Ok(());
        }
        Err(e @ RunError::Unavailable(_)) => return Err(Failure::unavailable(e)),
        Err(e) => return Err(Failure::runtime(e)),
    };
    let (captured, frames) = (summary.captured, summary.frames);
    log::info!("{captured} frames came, {frames} looked at, {} dropped", summary.dropped.total());
    match frames == 0 && captured > 0 && !context.stop.is_set() {
        true => Err(Failure::runtime(format!("not one of {captured} frames could be looked at"))),
        false => Ok(()),
    }
}

fn options(args: &Args) -> DetectorOptions {
    DetectorOptions {
        classes: args.classes.as_ref().map(|names| names.iter().map(|n| n.trim().to_owned()).collect()),
        ..args.detector.options(args.min_score)
    }
}

fn hello(bundle: &Bundle, source: &dyn Source) -> Result<Hello, Failure> {
    let manifest = &bundle.manifest;
    let sha256 = bundle.sha256().map_err(model::bundle_failure)?;
    Ok(Hello {
        version: env!("CARGO_PKG_VERSION"),
        // The standard library's hash keys are random at each start.
        run: format!("{:08x}", RandomState::new().hash_one(std::process::id()) as u32),
        model: Model { name: manifest.name.clone(), architecture: manifest.architecture.clone(), sha256 },
        labels: manifest.classes.clone(),
        source: source.name().to_owned(),
        live: source.live(),
    })
}

fn policy(live: bool) -> &'static str {
    if live { "frames there is no time for are dropped" } else { "each frame is looked at" }
}

/// Lets the signals ask to stop; a second one ends the program at once.
fn listen(stop: &Stop) -> Result<(), Failure> {
    for signal in [SIGTERM, SIGINT] {
        let flag = stop.flag();
        signal_hook::flag::register_conditional_default(signal, stop.again())
            .and_then(|_| signal_hook::flag::register(signal, stop.again()))
            .and_then(|_| signal_hook::flag::register_usize(signal, flag, signal as usize))
            .map_err(|e| Failure::runtime(format!("cannot listen to signal {signal}: {e}")))?;
    }
    Ok(())
}
