#![allow(clippy::unwrap_used)]

use serde_json::Value;

use super::*;
use crate::clock::SystemClock;
use crate::frame::{Layout, PixelFormat};
use crate::sink::stream::Model;
use crate::source::{Context, Flaw, Frame, Next, SourceError, Synthetic};

/// A detector that takes its time.
struct Slow(Duration);

impl Look for Slow {
    fn look(&mut self, _: &Picture) -> Result<Detected, DetectorError> {
        thread::sleep(self.0);
        Ok(Detected::default())
    }
}

/// Lines, to be read while they are written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn of(&self, kind: &str) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        let lines = text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap());
        lines.filter(|l| l["type"] == kind).collect()
    }
}

fn context() -> Context {
    Context { clock: Arc::new(SystemClock), stop: Stop::default() }
}

fn hello() -> Hello {
    let model = Model { name: String::new(), architecture: String::new(), sha256: String::new() };
    Hello { version: "0", run: String::new(), model, labels: vec![], source: String::new(), live: true }
}

const SETTINGS: Settings = Settings { stats_every: Duration::from_secs(60), only_detections: false };

fn start(
    source: Box<dyn Source>,
    look: impl Look + 'static,
    context: &Context,
) -> (Lines, thread::JoinHandle<Summary>) {
    let lines = Lines::default();
    let (clock, stop) = (Arc::clone(&context.clock), context.stop.clone());
    let parts = Parts { source, look: Box::new(look), out: Box::new(lines.clone()), clock, stop };
    (lines, thread::spawn(|| run(parts, hello(), SETTINGS).unwrap()))
}

fn all_accounted_for(summary: &Summary) {
    assert_eq!(summary.captured, summary.frames + summary.dropped.total(), "{summary:?}");
}

#[test]
fn with_inference_five_times_slower_than_the_camera_frames_are_fresh_and_drops_are_counted() {
    let (context, period) = (context(), Duration::from_millis(100));
    let source = Synthetic::new(32, 32, 1.0 / period.as_secs_f64(), context.clone()).unwrap();
    let (lines, running) = start(Box::new(source), Slow(5 * period), &context);
    thread::sleep(Duration::from_millis(2600));
    context.stop.set(15);
    let summary = running.join().unwrap();
    all_accounted_for(&summary);
    assert!(summary.dropped.of(Cause::Busy) > summary.frames, "{summary:?}");

    let frames = lines.of("frame");
    let waits = frames.iter().map(|f| f["stage_ms"]["wait"].as_f64().unwrap());
    let oldest = waits.fold(0.0, f64::max);
    assert!(oldest < 2.0 * period.as_secs_f64() * 1e3, "a frame was {oldest} ms old");
    // What is missing in the numbers of the frames is what they say was dropped.
    for pair in frames.windows(2) {
        let gap = pair[1]["seq"].as_u64().unwrap() - pair[0]["seq"].as_u64().unwrap() - 1;
        assert_eq!(gap, pair[1]["dropped"]["busy"].as_u64().unwrap_or(0));
    }
    assert_eq!(lines.of("bye")[0]["reason"], "sigterm");
}

#[test]
fn a_stopped_run_says_bye_although_the_detector_is_stuck() {
    let context = context();
    let source = Synthetic::new(32, 32, 100.0, context.clone()).unwrap();
    let (lines, running) = start(Box::new(source), Slow(Duration::from_secs(3600)), &context);
    thread::sleep(Duration::from_millis(300));
    let started = Instant::now();
    context.stop.set(15);
    let summary = running.join().unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    all_accounted_for(&summary);
    assert_eq!((summary.frames, &lines.of("bye")[0]["reason"]), (0, &"sigterm".into()));
}

/// Numbered frames that do not wait; some of them bad.
struct Numbers {
    left: u64,
    live: bool,
}

impl Source for Numbers {
    fn name(&self) -> &str {
        "numbers"
    }
    fn live(&self) -> bool {
        self.live
    }
    fn next(&mut self, frame: &mut Frame) -> Result<Next, SourceError> {
        if self.left == 0 {
            return Ok(Next::End);
        }
        self.left -= 1;
        frame.layout = Layout::new(PixelFormat::Gray, 4, 2);
        frame.bytes.resize(if self.left % 10 == 3 { 5 } else { 8 }, 0);
        Ok(if self.left % 10 == 7 { Next::Skipped(Flaw::Unreadable, "bad".into()) } else { Next::Frame })
    }
}

#[test]
fn a_source_that_waits_has_every_good_frame_looked_at_and_every_bad_one_told() {
    let context = context();
    let (lines, running) = start(Box::new(Numbers { left: 100, live: false }), Slow(Duration::ZERO), &context);
    let summary = running.join().unwrap();
    all_accounted_for(&summary);
    assert_eq!((summary.captured, summary.frames, summary.dropped.of(Cause::Corrupt)), (100, 80, 20));
    assert_eq!((lines.of("frame").len(), lines.of("error").len(), lines.of("status").len()), (80, 20, 1));
    assert_eq!(lines.of("bye")[0]["reason"], "end");
}

#[test]
fn a_reader_that_does_not_read_costs_frames_and_not_the_detectors_time() {
    /// Blocks on the second frame's line, for a while.
    struct Sluggish(u32);
    impl Write for Sluggish {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0 += 1;
            if self.0 == 4 {
                thread::sleep(Duration::from_millis(300));
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let context = context();
    let source = Synthetic::new(32, 32, 500.0, context.clone()).unwrap();
    let (clock, stop) = (Arc::clone(&context.clock), context.stop.clone());
    let (look, out) = (Box::new(Slow(Duration::ZERO)), Box::new(Sluggish(0)));
    let parts = Parts { source: Box::new(source), look, out, clock, stop };
    let running = thread::spawn(|| run(parts, hello(), SETTINGS).unwrap());
    thread::sleep(Duration::from_millis(500));
    context.stop.set(2);
    let summary = running.join().unwrap();
    all_accounted_for(&summary);
    assert!(summary.dropped.of(Cause::Reader) > 5, "{summary:?}");
}

#[test]
fn a_detector_that_breaks_down_ends_the_run_with_a_message() {
    struct Broken;
    impl Look for Broken {
        fn look(&mut self, _: &Picture) -> Result<Detected, DetectorError> {
            panic!("for the test");
        }
    }
    let context = context();
    let lines = Lines::default();
    let (clock, stop) = (Arc::clone(&context.clock), context.stop.clone());
    let source = Box::new(Numbers { left: 9, live: false });
    let parts = Parts { source, look: Box::new(Broken), out: Box::new(lines.clone()), clock, stop };
    let error = run(parts, hello(), SETTINGS).unwrap_err().to_string();
    assert!(error.contains("inference"), "{error}");
    assert_eq!(lines.of("bye")[0]["reason"], "error");
}

#[test]
fn an_output_that_blocks_for_ever_does_not_keep_a_stopped_run() {
    struct Blocked(bool);
    impl Write for Blocked {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if std::mem::replace(&mut self.0, true) {
                thread::sleep(Duration::from_secs(3600));
            }
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let context = context();
    let (clock, stop) = (Arc::clone(&context.clock), context.stop.clone());
    let source = Box::new(Numbers { left: 1000, live: false });
    let parts = Parts { source, look: Box::new(Slow(Duration::ZERO)), out: Box::new(Blocked(false)), clock, stop };
    context.stop.set(15);
    let started = Instant::now();
    let end = run(parts, hello(), SETTINGS);
    assert!(matches!(end, Err(RunError::Stuck)), "{end:?}");
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
}
