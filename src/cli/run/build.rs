//! From settings to a detector with everything around it: at the start, and again at each reload.

use std::hash::{BuildHasher, RandomState};
use std::thread::available_parallelism;
use std::time::Duration;

use edge_rcnn::clock::SystemClock;
use edge_rcnn::detector::{Detector, DetectorOptions};
use edge_rcnn::frame::{Picture, to_picture};
use edge_rcnn::model::Bundle;
use edge_rcnn::pipeline::{Face, Fresh};
use edge_rcnn::service::Notifier;
use edge_rcnn::sink::stream::{Hello, Model, Names};
use edge_rcnn::source::{Context, Frame, Source, Stop, Synthetic};
use edge_rcnn::watch::ladder::{measure, steps};
use edge_rcnn::watch::{Budget, Look, MotionGate, RuleBook, Rules, Step, Tracker, Watcher};

use super::super::{Failure, model};
use super::from;
use super::layers::Layers;
use super::watching::{BudgetArg, PAPER_BUDGET};

/// Asked of the service manager before each thing that may take long.
const MORE_TIME: Duration = Duration::from_secs(60);

/// Pixels of the side of a drawn frame, at least.
const SMALLEST_DRAWN: usize = 16;

/// What does not depend on settings.
pub struct Builder {
    /// Whether the source is live: those have a budget unless told otherwise.
    pub live: bool,
    /// Is asked for more time.
    pub notifier: Notifier,
}

impl Builder {
    /// Opens the model, warms it up, and puts everything around it.
    pub fn build(&self, layers: &Layers) -> Result<Fresh, Failure> {
        let args = &layers.args;
        self.notifier.loading("opening the model", MORE_TIME);
        let bundle = model::open(args.detector.model.as_deref())?;
        let model = describe(&bundle)?;
        let (labels, own_proposals) = (bundle.manifest.classes.clone(), bundle.manifest.proposals.post_nms);
        let watching = &args.watching;
        let book =
            RuleBook { min_score: watching.min_score, classes: layers.classes.clone(), zones: layers.zones.clone() };
        let rules = Rules::new(&book, &labels).map_err(Failure::config)?;
        let options = DetectorOptions {
            classes: watching.classes.as_ref().map(|names| names.iter().map(|n| n.trim().to_owned()).collect()),
            ..args.detector.options(book.lowest_score())
        };
        let mut detector = Detector::new(bundle, options).map_err(model::detector_failure)?;
        let full =
            Step { short_side: detector.scaling().short, proposals: args.detector.proposals.unwrap_or(own_proposals) };
        let budget = self.warm_up(&mut detector, full, layers)?;
        let names = Names { labels, zones: rules.zone_names().map(str::to_owned).collect() };
        let kernels = detector.kernels();
        let mut watcher = Watcher::new(Box::new(detector));
        watcher.rules = Some(rules);
        watcher.gate = watching.motion_gate.map(MotionGate::new);
        watcher.tracker = watching.track.then(Tracker::default);
        watcher.budget = budget;
        Ok(Fresh { watcher, face: Face { model, kernels, names, settings: watching.settings() } })
    }

    /// Has the detector look at drawn frames, so that the first real one does not pay for plans and memory; with a budget,
    /// at all steps that may be used.
    fn warm_up(&self, detector: &mut Detector, full: Step, layers: &Layers) -> Result<Option<Budget>, Failure> {
        let args = &layers.args;
        let picture = drawn(args.from.frame_size())?;
        let mut look = |step: Step| {
            self.notifier.loading(&format!("warming up at scale {}", step.short_side), MORE_TIME);
            detector.set_step(step);
            detector.detect(&picture).map(drop).map_err(model::detector_failure)
        };
        let limit = match args.watching.budget {
            Some(BudgetArg::Off) => None,
            Some(BudgetArg::Time(time)) => Some(time),
            None => self.live.then_some(PAPER_BUDGET),
        };
        let steps = steps(full, args.detector.scale.is_some(), args.detector.proposals.is_some());
        let Some(limit) = limit else { return look(full).map(|()| None) };
        let rungs = measure(&steps, limit, &SystemClock, &mut look)?;
        for rung in &rungs {
            log::debug!("scale {}, {} proposals: {:.1} ms", rung.step.short_side, rung.step.proposals, rung.cost_ms);
        }
        let budget = Budget::new(limit.as_secs_f64() * 1e3, rungs);
        if let Some(step) = budget.step() {
            detector.set_step(step);
            let (state, Step { short_side, proposals }) = (budget.state(), step);
            let chosen = format!("scale {short_side}, {proposals} proposals (step {} of {})", state.step, state.of);
            log::info!("budget {} ms a frame: {}, {chosen}", state.limit_ms, state.reason.name());
        }
        Ok(Some(budget))
    }
}

/// The first line of a run.
pub fn hello(layers: &Layers, face: &Face, source: &dyn Source) -> Hello {
    let cores = available_parallelism().map_or(1, usize::from);
    Hello {
        version: env!("CARGO_PKG_VERSION"),
        // The standard library's hash keys are random at each start.
        run: format!("{:08x}", RandomState::new().hash_one(std::process::id()) as u32),
        model: face.model.clone(),
        labels: face.names.labels.clone(),
        source: source.name().to_owned(),
        live: source.live(),
        kernels: face.kernels,
        threads: layers.args.detector.threads.filter(|n| *n > 0).unwrap_or(cores),
        preview: None,
    }
}

fn describe(bundle: &Bundle) -> Result<Model, Failure> {
    let manifest = &bundle.manifest;
    let sha256 = bundle.sha256().map_err(model::bundle_failure)?;
    Ok(Model { name: manifest.name.clone(), architecture: manifest.architecture.clone(), sha256 })
}

/// A frame with something on it: how much there is to decide depends on the picture.
fn drawn((width, height): (usize, usize)) -> Result<Picture, Failure> {
    let context = Context { clock: std::sync::Arc::new(SystemClock), stop: Stop::default() };
    let (mut frame, mut picture) = (Frame::default(), Picture { width: 0, height: 0, rgb: Vec::new() });
    // Frames of a pipe may be smaller than what can be drawn.
    let source = Synthetic::new(width.max(SMALLEST_DRAWN), height.max(SMALLEST_DRAWN), 30.0, context);
    source.and_then(|mut source| source.next(&mut frame)).map_err(from::failure)?;
    to_picture(frame.layout, &frame.bytes, &mut picture).map_err(Failure::runtime)?;
    Ok(picture)
}
