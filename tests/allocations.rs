//! After the warm-up nothing of ours takes memory per frame, from the source's buffer to the written line: ring, decoder,
//! motion gate, rules, tracker, budget, channels, JSON. What is counted is every allocation of the process.
#![allow(clippy::unwrap_used)]

use std::alloc::System;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::Duration;

use edge_rcnn::boxes::Rect;
use edge_rcnn::clock::SystemClock;
use edge_rcnn::detector::{Detected, Detection, DetectorError};
use edge_rcnn::frame::{Layout, Picture, PixelFormat};
use edge_rcnn::pipeline::{Extras, Parts, Settings, run};
use edge_rcnn::sink::preview::Listener;
use edge_rcnn::sink::stream::{Hello, Model};
use edge_rcnn::source::{Frame, Next, Source, SourceError, Stop};
use edge_rcnn::watch::ladder::steps;
use edge_rcnn::watch::{Budget, Look, MotionGate, RuleBook, Rules, Rung, Step, Tracker, Watcher, Zone};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static MEMORY: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const WARM_UP: u64 = 300;
const COUNTED: u64 = 2000;

/// Frames of YUYV, in which something moves.
struct Moving(u64);

impl Source for Moving {
    fn name(&self) -> &str {
        "moving"
    }
    fn live(&self) -> bool {
        false
    }
    fn next(&mut self, frame: &mut Frame) -> Result<Next, SourceError> {
        if self.0 == WARM_UP + COUNTED + 10 {
            return Ok(Next::End);
        }
        frame.layout = Layout::new(PixelFormat::Yuyv, 64, 48);
        // Without colour.
        frame.bytes.resize(64 * 48 * 2, 128);
        let luma = (self.0 % 7 * 30 + 16) as u8;
        frame.bytes.chunks_exact_mut(2).for_each(|pixel| pixel[0] = luma);
        (frame.seq, self.0) = (self.0, self.0 + 1);
        Ok(Next::Frame)
    }
}

/// Finds something in every frame, and counts between two of them.
struct Counting {
    looks: u64,
    region: Option<Region<'static, System>>,
    /// Allocations of everybody.
    counted: Arc<std::sync::Mutex<Option<usize>>>,
}

impl Look for Counting {
    fn look(&mut self, _: &Picture, found: &mut Detected) -> Result<(), DetectorError> {
        self.looks += 1;
        if self.looks == WARM_UP {
            self.region = Some(Region::new(MEMORY));
        }
        if self.looks == WARM_UP + COUNTED {
            let change = self.region.as_ref().unwrap().change();
            *self.counted.lock().unwrap() = Some(change.allocations + change.reallocations);
        }
        let x = (self.looks % 20) as f32;
        let at = |class_id, x1: f32| {
            let rect = Rect { x1, y1: 8.0, x2: x1 + 16.5, y2: 40.25 };
            Detection { class_id, score: 0.875, rect }
        };
        found.clear();
        found.detections.extend([at(1, x), at(2, 40.0 - x)]);
        found.input = (48, 64);
        Ok(())
    }
}

#[test]
fn after_the_warm_up_a_frame_takes_no_memory() {
    let labels = vec!["cat".to_owned(), "dog \"é\"".to_owned()];
    let counted = Arc::default();
    let look = Counting { looks: 0, region: None, counted: Arc::clone(&counted) };
    let polygon = vec![[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    let zones = vec![Zone { name: "all".to_owned(), polygon, ..Zone::default() }];
    let rungs = steps(Step { short_side: 600, proposals: 300 }, false, false);
    let mut watcher = Watcher::new(Box::new(look));
    watcher.rules = Some(Rules::new(&RuleBook { zones, ..RuleBook::default() }, &labels).unwrap());
    watcher.tracker = Some(Tracker::default());
    watcher.gate = Some(MotionGate::new(0.001));
    watcher.budget = Some(Budget::new(59.0, rungs.into_iter().map(|step| Rung { step, cost_ms: 1.0 }).collect()));

    let model = Model { name: String::new(), architecture: String::new(), sha256: String::new() };
    let (source, run_id) = (String::new(), String::new());
    let hello =
        Hello { version: "0", run: run_id, model, labels, source, live: false, kernels: "", threads: 1, preview: None };
    let lines = Arc::new(std::sync::Mutex::new(0u64));
    let parts = Parts {
        source: Box::new(Moving(0)),
        watcher,
        out: Box::new(Lines(Arc::clone(&lines))),
        clock: Arc::new(SystemClock),
        stop: Stop::default(),
        // At which nobody looks.
        extras: Extras { preview: Some(Listener::bind(([127, 0, 0, 1], 0).into()).unwrap()), ..Extras::default() },
    };
    let settings = Settings { stats_every: Duration::from_secs(3600), only_detections: false };
    let summary = run(parts, hello, settings).unwrap();
    assert!(summary.frames > COUNTED && *lines.lock().unwrap() > COUNTED, "{summary:?}");
    // Of the few buffers that go round, one may join late, when a thread is held up.
    let counted = counted.lock().unwrap().unwrap();
    assert!(counted < 20, "{counted} allocations in {COUNTED} frames");
}

/// Counts lines with detections in them.
struct Lines(Arc<std::sync::Mutex<u64>>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let whole = line.windows(7).any(|w| w == b"\"zones\"") && line.windows(7).any(|w| w == b"\"track\"");
        *self.0.lock().unwrap() += u64::from(whole);
        Ok(line.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
