//! What cameras do to programs that run for months, one test for each of the cases in the users' list: unplugged,
//! replugged, stalled, busy, broken frames, clocks that jump.
#![allow(clippy::unwrap_used)]

use std::cell::RefCell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Once};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use edge_rcnn::clock::Clock;
use edge_rcnn::detector::{Detected, DetectorError};
use edge_rcnn::frame::{Layout, Picture};
use edge_rcnn::pipeline::{self, Cause, Extras, Parts, RunError, Settings, Summary};
use edge_rcnn::sink::stream::{Hello, Model};
use edge_rcnn::source::camera::{Away, Camera, CameraOptions, Wanted};
use edge_rcnn::source::{Context, Flaw, Frame, Next, Source, SourceError, Stamp, Stop};
use edge_rcnn::watch::{Look, Watcher};
use serde_json::Value;

#[path = "common/simulated_camera.rs"]
mod simulated_camera;

use simulated_camera::{Behaviour, PERIOD, SimulatedClock, SimulatedDriver, Step};

const ENOENT: i32 = 2;
const EINTR: i32 = 4;
const EIO: i32 = 5;
const EAGAIN: i32 = 11;
const EACCES: i32 = 13;
const EBUSY: i32 = 16;
const ENODEV: i32 = 19;
const ENOTTY: i32 = 25;
const ENOSPC: i32 = 28;

/// What a behaviour is made of: a function of the number of the question.
fn does(step: impl FnMut(u64) -> Step + Send + 'static) -> Result<Behaviour, i32> {
    Ok(Box::new(step))
}

/// A camera with its clock and the counts of its driver.
struct Stage {
    camera: Camera,
    clock: Arc<SimulatedClock>,
    stop: Stop,
    attempts: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
}

impl Stage {
    fn new(act: impl FnMut(usize) -> Result<Behaviour, i32> + Send + 'static) -> Self {
        Self::with(CameraOptions::default(), None, act)
    }

    fn with(
        options: CameraOptions,
        layout: Option<Layout>,
        act: impl FnMut(usize) -> Result<Behaviour, i32> + Send + 'static,
    ) -> Self {
        let (clock, stop) = (SimulatedClock::new(), Stop::default());
        let mut driver = SimulatedDriver::new(&clock, act);
        driver.layout = layout.unwrap_or(driver.layout);
        let (attempts, open) = (Arc::clone(&driver.attempts), Arc::clone(&driver.open));
        let context = Context { clock: Arc::clone(&clock) as Arc<dyn Clock>, stop: stop.clone() };
        let camera = Camera::new(Wanted::new("/dev/video7"), Box::new(driver), options, context);
        Self { camera, clock, stop, attempts, open }
    }

    fn now(&self) -> Duration {
        self.clock.now().mono
    }

    fn next(&mut self) -> (Next, Frame) {
        let mut frame = Frame::default();
        (self.camera.next(&mut frame).unwrap(), frame)
    }

    fn frame(&mut self) -> Frame {
        match self.next() {
            (Next::Frame, frame) => frame,
            (other, _) => panic!("{other:?} instead of a frame"),
        }
    }

    fn away(&mut self) -> Away {
        match self.next().0 {
            Next::Away(away) => away,
            other => panic!("{other:?} instead of a loss"),
        }
    }
}

#[test]
fn case_01_an_unplugged_camera_is_told_and_everything_of_it_is_closed() {
    for (errors, reason) in [(Some(ENODEV), "ENODEV"), (Some(EIO), "EIO"), (None, "TIMEOUT")] {
        let mut stage = Stage::new(move |attempt| match (attempt, errors) {
            (0, Some(code)) => does(move |asked| if asked < 5 { Step::Frame } else { Step::Error(code) }),
            // Some drivers never say that the camera is gone.
            (0, None) => does(|asked| if asked < 5 { Step::Frame } else { Step::Silence }),
            _ => Err(ENOENT),
        });
        for _ in 0..5 {
            stage.frame();
        }
        assert_eq!(stage.open.load(Ordering::Relaxed), 1);
        let before = stage.now();
        let away = stage.away();
        assert_eq!((away.lost, away.trouble.reason.as_str(), away.retry), (true, reason, Duration::from_secs(1)));
        let took = stage.now() - before;
        assert!(took <= CameraOptions::default().timeout + Duration::from_millis(200), "{took:?}");
        assert_eq!(stage.open.load(Ordering::Relaxed), 0, "it is still open");
    }
}

#[test]
fn case_02_a_replugged_camera_is_opened_anew_and_streams_again() {
    let mut stage = Stage::new(|attempt| match attempt {
        0 => does(|asked| if asked < 3 { Step::Frame } else { Step::Error(ENODEV) }),
        1 | 2 => Err(ENOENT),
        _ => does(|_| Step::Frame),
    });
    let first = stage.frame();
    assert_eq!((first.seq, first.camera.unwrap().card.as_str()), (0, "simulated 0"));
    stage.frame();
    let before = stage.frame();
    assert!(stage.away().lost);
    let lost_at = stage.now();
    let away = stage.away();
    assert_eq!((away.lost, away.trouble.reason.as_str(), away.retry), (false, "ENOENT", Duration::from_secs(2)));
    let after = stage.frame();
    // Waits of 1, 2 and 4 seconds, then frames at once.
    let took = stage.now() - lost_at;
    assert!((7..9).contains(&took.as_secs()), "{took:?}");
    assert_eq!((stage.attempts.load(Ordering::Relaxed), stage.open.load(Ordering::Relaxed)), (4, 1));
    assert_eq!((after.seq, after.camera.unwrap().card.as_str()), (0, "simulated 3"));
    assert!(after.captured.mono > before.captured.mono);
}

#[cfg(feature = "camera")]
#[test]
fn case_03_a_link_is_followed_anew_at_each_opening() {
    use edge_rcnn::source::camera::{Driver, v4l2::V4l2};
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join("usb-camera-index0");
    let open = || V4l2.open(&Wanted::new(&link)).err().unwrap();
    assert_eq!(open().reason, "ENOENT");
    assert!(open().message.contains("/dev/v4l/by-id"), "{}", open());
    // There is a device behind the name now, though no camera.
    std::os::unix::fs::symlink("/dev/null", &link).unwrap();
    assert_eq!(open().reason, "ENOTTY");
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink("/dev/video4711", &link).unwrap();
    assert_eq!(open().reason, "ENOENT");
}

#[test]
fn case_04_signals_and_false_alarms_lose_no_frame_and_are_no_error() {
    let mut stage = Stage::new(|_| {
        does(|asked| match asked % 5 {
            1 | 2 => Step::Error(EINTR),
            3 => Step::Error(EAGAIN),
            _ => Step::Frame,
        })
    });
    for seq in 0..500 {
        assert_eq!(stage.frame().seq, seq);
    }
    assert_eq!(stage.attempts.load(Ordering::Relaxed), 1);
}

#[test]
fn case_04_a_driver_that_only_gives_false_alarms_is_taken_for_dead() {
    let mut stage = Stage::new(|_| does(|asked| if asked == 0 { Step::Frame } else { Step::Error(EAGAIN) }));
    stage.frame();
    let before = stage.now();
    assert_eq!(stage.away().trouble.reason, "TIMEOUT");
    assert!(stage.now() - before < Duration::from_secs(6));
}

thread_local! {
    static LOGGED: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

/// Collects what the calling thread logs.
fn listen_to_the_log() {
    struct Collector;
    impl log::Log for Collector {
        fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
            metadata.level() <= log::Level::Info
        }
        fn log(&self, record: &log::Record<'_>) {
            if self.enabled(record.metadata()) {
                LOGGED.with_borrow_mut(|lines| lines.push(record.args().to_string()));
            }
        }
        fn flush(&self) {}
    }
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_boxed_logger(Box::new(Collector)).unwrap();
        log::set_max_level(log::LevelFilter::Info);
    });
    LOGGED.with_borrow_mut(Vec::clear);
}

/// Runs the camera for so long and counts what it tells.
fn live_through(stage: &mut Stage, time: Duration) -> (usize, usize) {
    let (end, mut told, mut frames) = (stage.now() + time, 0, 0);
    while stage.now() < end {
        // Nobody waits for a camera that says nothing for ever: it is asked to stop at the end.
        match stage.next().0 {
            Next::Away(_) => told += 1,
            Next::Frame => frames += 1,
            other => panic!("{other:?}"),
        }
    }
    (told, frames)
}

#[test]
fn case_05_a_camera_that_fails_at_every_opening_for_ten_minutes_is_quiet_and_costs_nothing() {
    listen_to_the_log();
    let ten_minutes = Duration::from_secs(600);
    let stop = Stop::default();
    let (ends, stopper) = (Arc::new(Mutex::new(None)), stop.clone());
    let (clock, end) = (SimulatedClock::new(), Arc::clone(&ends));
    let at = Arc::clone(&clock);
    let driver = SimulatedDriver::new(&clock, move |attempt| {
        let now = at.now().mono;
        if now > *end.lock().unwrap().get_or_insert(now + ten_minutes) {
            stopper.set(15);
        }
        // The reason changes twice.
        Err(match attempt {
            0 | 1 => EBUSY,
            2 => EACCES,
            _ => ENOENT,
        })
    });
    let attempts = Arc::clone(&driver.attempts);
    let context = Context { clock: Arc::clone(&clock) as Arc<dyn Clock>, stop };
    let mut camera = Camera::new(Wanted::new("x"), Box::new(driver), CameraOptions::default(), context);
    let (mut told, mut frame) = (Vec::new(), Frame::default());
    let started = Instant::now();
    loop {
        match camera.next(&mut frame).unwrap() {
            Next::Away(away) => told.push(away.trouble.reason),
            Next::End => break,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told, ["EBUSY", "EACCES", "ENOENT"]);
    let logged = LOGGED.with_borrow(Vec::len);
    assert!((3..=60).contains(&logged), "{logged} log lines");
    // After 0, 1, 3, 7, 15 and 31 seconds, then every 30: the last after 601.
    assert_eq!(attempts.load(Ordering::Relaxed), 25);
    // One hundredth of ten minutes; in truth it is a few milliseconds.
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
}

#[test]
fn case_05_a_camera_that_breaks_down_after_each_opening_is_tried_less_and_less_often() {
    listen_to_the_log();
    let mut stage = Stage::new(|_| does(|asked| if asked == 0 { Step::Frame } else { Step::Error(EIO) }));
    let (told, frames) = live_through(&mut stage, Duration::from_secs(600));
    assert!(told.abs_diff(frames) <= 1 && (20..=26).contains(&told), "{told} losses, {frames} frames");
    let logged = LOGGED.with_borrow(Vec::len);
    assert!(logged <= 60, "{logged} log lines");
}

#[test]
fn case_05_after_a_long_good_time_the_first_wait_is_short_again() {
    let mut stage = Stage::new(|attempt| match attempt {
        0..=5 => Err(EBUSY),
        6 => does(|asked| if asked < 1000 { Step::Frame } else { Step::Error(EIO) }),
        _ => does(|_| Step::Frame),
    });
    stage.away();
    for _ in 0..1000 {
        stage.frame();
    }
    assert_eq!(stage.away().retry, Duration::from_secs(1));
}

#[test]
fn case_07_broken_buffers_are_dropped_and_counted_by_cause_and_the_stream_goes_on() {
    let jpeg = b"\xFF\xD8\xFF\xC4\0\x03t\xFF\xDA\0\x03xdata\xFF\xD9".to_vec();
    let bad = [vec![], b"no picture".to_vec(), jpeg[..14].to_vec()];
    let good = jpeg.clone();
    let mut stage = Stage::with(CameraOptions::default(), Some(Layout::ENCODED), move |_| {
        let (bad, good) = (bad.clone(), good.clone());
        does(move |asked| Step::Bytes(bad.get(asked as usize).unwrap_or(&good).clone()))
    });
    for wanted in [Flaw::Empty, Flaw::NotJpeg, Flaw::CutOff] {
        match stage.next().0 {
            Next::Skipped(flaw, why) => assert!(flaw == wanted && why.contains("/dev/video7"), "{flaw:?}: {why}"),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(stage.frame().bytes, jpeg);

    let mut stage = Stage::new(|_| does(|asked| if asked == 0 { Step::Bytes(vec![7; 100]) } else { Step::Frame }));
    assert!(matches!(stage.next().0, Next::Skipped(Flaw::Size, why) if why.contains("100 of the 6144 bytes")));
    stage.frame();
}

#[test]
fn case_07_a_camera_that_gives_nothing_but_broken_frames_is_started_anew() {
    let mut stage = Stage::new(|attempt| match attempt {
        0 => does(|_| Step::Bytes(vec![])),
        _ => does(|_| Step::Frame),
    });
    let away = (0..1000).find_map(|_| match stage.next().0 {
        Next::Away(away) => Some(away),
        _ => None,
    });
    assert_eq!(away.unwrap().trouble.reason, "TIMEOUT");
    stage.frame();
}

#[test]
fn case_08_each_reason_has_a_message_of_its_own_and_the_run_goes_on_when_it_is_gone() {
    let codes = [ENOSPC, EBUSY, EACCES, ENODEV, ENOTTY, ENOENT];
    let mut stage =
        Stage::new(move |attempt| codes.get(attempt).map_or_else(|| does(|_| Step::Frame), |&code| Err(code)));
    let mut messages: Vec<String> = codes.iter().map(|_| stage.away().trouble.message).collect();
    for (message, remedy) in messages.iter().zip(["mjpeg", "fuser", "video", "by-id", "edge-rcnn cameras", "by-id"]) {
        assert!(message.starts_with("/dev/video7: ") && message.contains(remedy), "{message}");
    }
    stage.frame();
    messages.sort();
    messages.dedup();
    assert_eq!(messages.len(), codes.len());
}

#[test]
fn case_10_steps_of_the_wall_clock_and_bad_driver_times_change_no_duration() {
    let bad = |asked: u64| match asked {
        10 => Step::Stamped(Some(Duration::from_secs(5))),
        20 => Step::Stamped(Some(Duration::from_secs(90_000))),
        30 => Step::Stamped(None),
        _ => Step::Frame,
    };
    let mut stage = Stage::new(move |_| does(bad));
    let mut frames = Vec::new();
    for n in 0..50 {
        let hour = Duration::from_secs(3600);
        match n {
            15 => stage.clock.set_wall(|t| t + hour),
            25 => stage.clock.set_wall(|t| t - 2 * hour),
            _ => {}
        }
        frames.push(stage.frame());
    }
    for (n, pair) in frames.windows(2).enumerate() {
        let step = pair[1].captured.mono.checked_sub(pair[0].captured.mono).unwrap();
        // A corrected time is that of dequeuing, 3 ms later.
        assert!(step.abs_diff(PERIOD) <= Duration::from_millis(3), "frame {n}: {step:?}");
    }
    let stamps = |wanted: Stamp| frames.iter().filter(|f| f.stamp == wanted).count();
    assert_eq!((stamps(Stamp::Driver), stamps(Stamp::Corrected), stamps(Stamp::Dequeue)), (47, 2, 1));
    let jump = frames[15].captured.wall.duration_since(frames[14].captured.wall).unwrap();
    assert!(jump.as_secs() == 3600, "the time of day follows the clock of the wall: {jump:?}");
    assert!(frames[25].captured.wall < frames[24].captured.wall);
    assert!(frames[49].captured.wall > SystemTime::UNIX_EPOCH);
}

#[test]
fn frames_that_the_driver_lost_are_gaps_in_the_numbers() {
    let mut stage = Stage::new(|_| does(|asked| if asked == 2 { Step::After(3) } else { Step::Frame }));
    let numbers: Vec<(u64, u64)> = (0..4).map(|_| stage.frame()).map(|f| (f.seq, f.lost_before)).collect();
    assert_eq!(numbers, [(0, 0), (1, 0), (5, 3), (6, 0)]);
}

#[test]
fn a_required_camera_that_is_not_there_is_an_error_at_once() {
    let mut stage = Stage::new(|_| Err(EACCES));
    let error = stage.camera.require().unwrap_err();
    assert!(error.is_unavailable() && error.to_string().contains("SupplementaryGroups"), "{error}");
}

#[test]
fn with_exit_on_lost_the_first_loss_is_the_end_and_a_late_start_is_not() {
    let options = CameraOptions { exit_on_lost: true, ..CameraOptions::default() };
    let mut stage = Stage::with(options, None, |attempt| match attempt {
        0 => Err(ENOENT),
        _ => does(|asked| if asked < 2 { Step::Frame } else { Step::Error(ENODEV) }),
    });
    assert!(!stage.away().lost);
    stage.frame();
    stage.frame();
    let error = stage.camera.next(&mut Frame::default()).unwrap_err();
    assert!(matches!(&error, SourceError::Camera(trouble) if trouble.reason == "ENODEV"), "{error}");
    assert_eq!(stage.open.load(Ordering::Relaxed), 0);
}

#[test]
fn a_wish_to_stop_ends_every_wait() {
    let mut stage = Stage::new(|_| Err(ENOENT));
    stage.away();
    stage.stop.set(15);
    let before = stage.now();
    assert_eq!(stage.next().0, Next::End);
    assert!(stage.now() - before < Duration::from_millis(60));
}

/// A detector that finds nothing, and whatever else a test wants it to do meanwhile.
struct Eye<F>(F);

impl<F: FnMut() + Send> Look for Eye<F> {
    fn look(&mut self, _: &Picture, _: &mut Detected) -> Result<(), DetectorError> {
        (self.0)();
        Ok(())
    }
}

/// Lines, to be read while they are written.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn all(&self) -> Vec<Value> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Waits until so many frames have been written, so that none of them is dropped however busy the machine is.
    fn wait_for_frames(&self, count: usize) {
        wait_until(|| self.all().iter().filter(|line| line["type"] == "frame").count() >= count);
    }
}

/// Waits for another thread; a test that waits in vain fails at what it asserts next.
fn wait_until(mut there: impl FnMut() -> bool) {
    let started = Instant::now();
    while !there() && started.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(1));
    }
}

/// The whole way from a camera to lines.
fn run(
    camera: Camera,
    clock: Arc<dyn Clock>,
    stop: Stop,
    look: impl Look + 'static,
    lines: &Lines,
) -> (Result<Summary, RunError>, Vec<Value>) {
    let out = Box::new(lines.clone());
    let (watcher, extras) = (Watcher::new(Box::new(look)), Extras::default());
    let parts = Parts { source: Box::new(camera), watcher, out, clock, stop, extras };
    let model = Model { name: String::new(), architecture: String::new(), sha256: String::new() };
    let (run, source) = (String::new(), "camera".to_owned());
    let hello =
        Hello { version: "0", run, model, labels: vec![], source, live: true, kernels: "", threads: 1, preview: None };
    let settings = Settings { stats_every: Duration::from_secs(3600), only_detections: false };
    let end = pipeline::run(parts, hello, settings);
    (end, lines.all())
}

#[test]
fn the_stream_tells_each_change_once_and_each_opening_before_its_first_frame() {
    let (stop, lines) = (Stop::default(), Lines::default());
    let (clock, stopper, written) = (SimulatedClock::new(), stop.clone(), lines.clone());
    let driver = SimulatedDriver::new(&clock, move |attempt| {
        let written = written.clone();
        match attempt {
            0 => Err(EBUSY),
            1 | 3 => {
                // The refusal before has been written, so that there is a place for a frame on the way to the output.
                let refusal = if attempt == 1 { "EBUSY" } else { "ENOENT" };
                wait_until(|| written.all().iter().any(|line| line["reason"] == refusal));
                does(move |asked| match asked {
                    0..3 => Step::Frame,
                    3 => {
                        // The first opening has written something before it is over, and so has the second.
                        let told = || written.all().iter().filter(|line| line["camera"] == "streaming").count();
                        wait_until(|| told() * 2 > attempt);
                        Step::Bytes(vec![])
                    }
                    _ => Step::Error(ENODEV),
                })
            }
            2 => Err(ENOENT),
            _ => {
                // The second loss is told before the end.
                wait_until(|| written.all().iter().filter(|line| line["camera"] == "lost").count() == 2);
                stopper.set(15);
                Err(ENOENT)
            }
        }
    });
    let context = Context { clock: Arc::clone(&clock) as Arc<dyn Clock>, stop: stop.clone() };
    let camera = Camera::new(Wanted::new("x"), Box::new(driver), CameraOptions::default(), context);
    let (end, lines) = run(camera, clock, stop, Eye(|| ()), &lines);
    let summary = end.unwrap();
    assert_eq!(summary.captured, summary.frames + summary.dropped.total(), "{summary:?}");
    assert_eq!(summary.dropped.of(Cause::Empty), 2);

    let status = lines.iter().filter(|line| line["type"] == "status");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let story: Vec<String> = status.map(|line| text(&line["camera"]) + " " + &text(&line["reason"])).collect();
    let told = ["waiting EBUSY", "streaming ", "lost ENODEV", "waiting ENOENT", "streaming ", "lost ENODEV"];
    assert_eq!(story, told);
    // Right before its first frame; a frame that was being looked at may follow the loss.
    let openings = lines.windows(2).filter(|pair| pair[0]["camera"] == "streaming");
    assert!(openings.clone().count() == 2 && openings.clone().all(|pair| pair[1]["type"] == "frame"), "{lines:?}");

    let streaming: Vec<&Value> = lines.iter().filter(|line| line["camera"] == "streaming").collect();
    assert_eq!((&streaming[0]["fourcc"], &streaming[0]["fps"]), (&"YUYV".into(), &25.0.into()));
    assert_eq!((&streaming[0]["card"], &streaming[1]["card"]), (&"simulated 1".into(), &"simulated 3".into()));
    assert_eq!((&streaming[0]["stride"], &streaming[0]["device"]), (&128.into(), &"x".into()));
    let lost = lines.iter().find(|line| line["camera"] == "lost").unwrap();
    assert!(lost["retry_ms"].as_u64() == Some(2000) && lost["message"].as_str().unwrap().contains("by-id"), "{lost}");
}

#[test]
fn frames_lost_by_the_driver_are_drops_of_the_frame_after_them() {
    let (stop, lines) = (Stop::default(), Lines::default());
    let (clock, stopper, written) = (SimulatedClock::new(), stop.clone(), lines.clone());
    let driver = SimulatedDriver::new(&clock, move |_| {
        let (stopper, written) = (stopper.clone(), written.clone());
        does(move |asked| {
            // The fifth is of no use.
            written.wait_for_frames(asked as usize - usize::from(asked > 4));
            match asked {
                3 => Step::After(4),
                4 => Step::Bytes(vec![1, 2, 3]),
                5 => Step::Stamped(Some(Duration::ZERO)),
                8 => {
                    stopper.set(15);
                    Step::Silence
                }
                _ => Step::Frame,
            }
        })
    });
    let context = Context { clock: Arc::clone(&clock) as Arc<dyn Clock>, stop: stop.clone() };
    let camera = Camera::new(Wanted::new("x"), Box::new(driver), CameraOptions::default(), context);
    let (end, lines) = run(camera, clock, stop, Eye(|| ()), &lines);
    let summary = end.unwrap();
    assert_eq!((summary.captured, summary.frames), (12, 7), "{summary:?}");
    assert_eq!((summary.dropped.of(Cause::Driver), summary.dropped.of(Cause::Size)), (4, 1));
    let frames: Vec<&Value> = lines.iter().filter(|line| line["type"] == "frame").collect();
    let dropped: Vec<String> = frames.iter().map(|f| f["dropped"].to_string()).collect();
    assert_eq!(dropped, ["null", "null", "null", "{\"driver\":4}", "{\"size\":1}", "null", "null"]);
    assert_eq!((&frames[4]["ts_src"], &frames[3]["ts_src"]), (&"dequeue".into(), &Value::Null));
    let bye = lines.last().unwrap();
    assert_eq!((&bye["type"], &bye["times_corrected"]), (&"bye".into(), &1.into()));
}

#[test]
fn a_loss_with_exit_on_lost_ends_the_run_as_unavailable() {
    let clock = SimulatedClock::new();
    let driver =
        SimulatedDriver::new(&clock, |_| does(|asked| if asked < 3 { Step::Frame } else { Step::Error(ENODEV) }));
    let stop = Stop::default();
    let context = Context { clock: Arc::clone(&clock) as Arc<dyn Clock>, stop: stop.clone() };
    let options = CameraOptions { exit_on_lost: true, ..CameraOptions::default() };
    let camera = Camera::new(Wanted::new("x"), Box::new(driver), options, context);
    let (end, lines) = run(camera, clock, stop, Eye(|| ()), &Lines::default());
    assert!(matches!(end, Err(RunError::Unavailable(_))), "{end:?}");
    assert_eq!(lines.last().unwrap()["reason"], "error");
}

#[test]
fn case_09_with_inference_five_times_slower_than_the_camera_frames_are_fresh() {
    const LOOKS: usize = 20;
    // Looks begun, frames asked for: the camera and the detector go by each other's pace instead of that of the machine.
    let (begun, asked_for) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stop = Stop::default();
    let (clock, stopper) = (SimulatedClock::new(), stop.clone());
    let (looks, frames) = (Arc::clone(&begun), Arc::clone(&asked_for));
    let driver = SimulatedDriver::new(&clock, move |_| {
        let (looks, frames) = (Arc::clone(&looks), Arc::clone(&frames));
        does(move |asked| {
            frames.store(asked as usize + 1, Ordering::SeqCst);
            // Five frames while a look lasts; then the detector takes one before the next comes.
            wait_until(|| 5 * looks.load(Ordering::SeqCst) >= asked as usize);
            Step::Frame
        })
    });
    let lines = Lines::default();
    let written = lines.clone();
    let eye = Eye(move || {
        // The results before have been written: none of them finds the way to the output full.
        written.wait_for_frames(begun.load(Ordering::SeqCst));
        let look = begun.fetch_add(1, Ordering::SeqCst) + 1;
        // The camera asks for the one after the fifth when that has been handed on.
        wait_until(|| asked_for.load(Ordering::SeqCst) > 5 * look + 1);
        if look == LOOKS {
            stopper.set(15);
        }
    });
    let context = Context { clock: Arc::clone(&clock) as Arc<dyn Clock>, stop: stop.clone() };
    let camera = Camera::new(Wanted::new("x"), Box::new(driver), CameraOptions::default(), context);
    let (end, lines) = run(camera, clock, stop, eye, &lines);
    let summary = end.unwrap();
    assert_eq!(summary.captured, summary.frames + summary.dropped.total());
    assert!(summary.dropped.of(Cause::Busy) >= 4 * (LOOKS as u64 - 2), "{summary:?}");
    let waits: Vec<f64> = lines.iter().filter_map(|line| line["stage_ms"]["wait"].as_f64()).collect();
    let oldest = waits.iter().copied().fold(0.0, f64::max);
    assert!(waits.len() >= LOOKS - 2 && oldest < 2.0 * PERIOD.as_secs_f64() * 1e3, "a frame was {oldest} ms old");
}
