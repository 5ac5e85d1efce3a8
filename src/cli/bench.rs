//! `edge-rcnn bench`: how fast this machine finds objects, stage by stage and layer by layer.
//!
//! Everything is measured on the detector as it is, with one made picture: frames first, then the layers of the trunk one by
//! one, then frames at smaller scales. The report says what was measured on what, so that two of them can be compared.

mod machine;
mod report;

use std::io::{self, Write};
use std::time::Duration;

use edge_rcnn::detector::{Detected, Detector, StageTimes};
use edge_rcnn::frame::{Picture, Scaling};
use edge_rcnn::model::Summary;

use super::detector_args::DetectorArgs;
use super::{Failure, model};
use report::{Layer, Rung, Speed, Spread, Stages};

/// Arguments of `bench`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Frames are taken after a warm-up. With --json standard output is one line:\n\
    {\"type\":\"bench\",\"frame_ms\":{\"p50\":…,\"p95\":…,\"p99\":…},\"stage_ms\":{\"trunk\":{…},…},\"layers\":[…],\
    \"scales\":[…],…}")]
pub struct Args {
    /// Columns and rows of the picture; 1000x600 is looked at as it is
    #[arg(long, value_name = "WxH", default_value = "1000x600", value_parser = size)]
    size: (usize, usize),
    /// Frames to measure
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..))]
    frames: u32,
    /// One JSON object instead of text
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    detector: DetectorArgs,
}

/// Frames that are run before any is measured.
const WARM_UP: usize = 3;
/// Shorter sides of the scale ladder.
const LADDER: [u32; 7] = [240, 300, 360, 420, 480, 540, 600];
/// Frames of a rung.
const RUNG: usize = 5;
/// The layers of the head.
const HEAD: [&str; 4] = ["fc6", "fc7", "cls_score", "bbox_pred"];
/// How long the machine's peak is looked for.
const PEAK: Duration = Duration::from_millis(300);

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    let bundle = model::open(args.detector.model.as_deref())?;
    let options = args.detector.options(bundle.manifest.thresholds.score);
    let threads = options.threads.filter(|n| *n > 0).unwrap_or_else(machine::cores);
    let summary = |scaling: Scaling| {
        let (width, height) = scaling.input_size(args.size.0, args.size.1);
        Summary::of(&bundle, height, width).map_err(model::bundle_failure)
    };
    let mut detector = Detector::new(bundle.clone(), options).map_err(model::detector_failure)?;
    let scaling = detector.scaling();
    let summary = summary(scaling)?;
    let picture = picture(args.size)?;
    log::info!("{} frames of {}×{} on {} kernels", args.frames, args.size.0, args.size.1, detector.kernels());
    let frames = frames(&mut detector, &picture, args.frames as usize)?;

    let peak = detector.peak(PEAK).map_err(model::detector_failure)?;
    let layers = layers(&mut detector, &picture, &summary)?;
    let layers = layers.into_iter().map(|layer| layer.timed(peak / 1e9)).collect();
    let speeds = speeds(&frames, &summary, peak / 1e9);
    let mut rungs = Vec::new();
    for short in LADDER.into_iter().filter(|s| *s <= scaling.short) {
        detector.set_scaling(Scaling { short, long_max: short * scaling.long_max / scaling.short });
        let frames = self::frames(&mut detector, &picture, RUNG)?;
        let p50 = Spread::of(frames.iter().map(|f| f.timings.total())).p50;
        rungs.push(Rung { scale: short, p50 });
    }
    let report = report::Report {
        kind: "bench",
        version: env!("CARGO_PKG_VERSION"),
        commit: machine::commit(),
        cpu: machine::cpu(),
        threads,
        kernels: detector.kernels(),
        gpu: detector.gpu().map(String::from),
        model: bundle.manifest.name.clone(),
        sha256: summary.sha256,
        input: frames[0].input.into(),
        proposals: frames[0].proposals,
        frames: frames.len(),
        frame_ms: Spread::of(frames.iter().map(|f| f.timings.total())),
        stage_ms: Stages::of(&frames),
        peak_gflops: peak / 1e9,
        speeds,
        layers,
        scales: rungs,
    };
    let text = if args.json {
        serde_json::to_string(&report).map_err(Failure::runtime)? + "\n"
    } else {
        report.describe().map_err(Failure::runtime)?
    };
    io::stdout().write_all(text.as_bytes()).map_err(Failure::output)
}

/// Looks at the picture so often, after a warm-up.
fn frames(detector: &mut Detector, picture: &Picture, count: usize) -> Result<Vec<Detected>, Failure> {
    let mut frames = Vec::with_capacity(count);
    for i in 0..WARM_UP + count {
        let seen = detector.detect(picture).map_err(model::detector_failure)?;
        if i >= WARM_UP {
            frames.push(seen);
        }
    }
    Ok(frames)
}

/// Waves of several lengths and a few hard edges: something for every layer to do, the same on every machine.
fn picture((width, height): (usize, usize)) -> Result<Picture, Failure> {
    let mut rgb = Vec::with_capacity(width * height * 3);
    for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
        let edge = if (x / 97 + y / 71) % 3 == 0 { 80 } else { 0 };
        rgb.extend([x * 255 / width, (x * y / 64) % 176, (x * 3 + y * 5) % 176].map(|v| (v % 176 + edge) as u8));
    }
    Picture::new(width, height, rgb).ok_or_else(|| Failure::usage(format!("--size {width}x{height}: no pixels")))
}

/// How fast trunk and head multiply in the frames.
fn speeds(frames: &[Detected], summary: &Summary, peak_gflops: f64) -> Vec<Speed> {
    let proposals = summary.manifest.proposals.post_nms.max(1) as u64;
    let cost = |head: bool| -> u64 {
        let layers = summary.layers.iter().filter(|l| HEAD.contains(&l.layer.as_str()) == head);
        layers.map(|l| l.multiply_adds).sum()
    };
    // The summary counts the head for as many boxes as the model proposes at most.
    let boxes = frames.iter().map(|f| f.proposals as u64).max().unwrap_or(0);
    let median = |of: fn(&StageTimes) -> f64| Spread::of(frames.iter().map(|f| of(&f.timings))).p50;
    vec![
        Speed::of("trunk", cost(false), median(|t| t.trunk), peak_gflops),
        Speed::of("head", cost(true) * boxes / proposals, median(|t| t.head), peak_gflops),
    ]
}

/// The layers of the trunk, each the median over some frames; nodes of a layer together.
fn layers(detector: &mut Detector, picture: &Picture, summary: &Summary) -> Result<Vec<Layer>, Failure> {
    let mut runs = Vec::new();
    for i in 0..WARM_UP + 2 * RUNG {
        let times = detector.layer_times(picture).map_err(model::detector_failure)?;
        if i >= WARM_UP {
            runs.push(times);
        }
    }
    let mut layers: Vec<Layer> = Vec::new();
    for (i, node) in runs[0].iter().enumerate() {
        let ms = Spread::of(runs.iter().map(|run| run[i].ms)).p50;
        let name = node.node.split('.').next().unwrap_or_default();
        let cost = summary.layers.iter().find(|l| l.layer == name).map_or(0, |l| l.multiply_adds);
        match layers.iter_mut().find(|l| l.layer == name) {
            Some(layer) => layer.ms += ms,
            None => layers.push(Layer { layer: name.into(), ms, gflop: 2e-9 * cost as f64, gflops: 0.0, of_peak: 0.0 }),
        }
    }
    // Constants and the like.
    layers.retain(|l| l.ms >= 0.01);
    Ok(layers)
}

fn size(text: &str) -> Result<(usize, usize), String> {
    let side = |t: &str| t.parse().ok().filter(|n| (16..=16384).contains(n));
    text.split_once('x')
        .and_then(|(w, h)| Some((side(w)?, side(h)?)))
        .ok_or_else(|| "must be columns x rows, 16 to 16384 each, such as 1000x600".into())
}
