//! Case 12: a detector that hangs. The service manager hears no more of us, so that it starts us again, and the log says
//! where it hangs. A test program of its own, because the log of a program is one.
#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use edge_rcnn::clock::SystemClock;
use edge_rcnn::detector::{Detected, DetectorError};
use edge_rcnn::frame::Picture;
use edge_rcnn::pipeline::{Extras, Parts, Settings, run};
use edge_rcnn::service::Notifier;
use edge_rcnn::sink::stream::{Hello, Model};
use edge_rcnn::source::{Context, Stop, Synthetic};
use edge_rcnn::watch::{Look, Watcher};

/// Finds nothing, quickly, until the picture at which it hangs.
struct Hangs {
    after: usize,
    until: Receiver<()>,
}

impl Look for Hangs {
    fn look(&mut self, _: &Picture) -> Result<Detected, DetectorError> {
        match self.after.checked_sub(1) {
            Some(left) => self.after = left,
            None => drop(self.until.recv()),
        }
        Ok(Detected::default())
    }
}

struct Log(Mutex<Vec<String>>);

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &log::Record<'_>) {
        self.0.lock().unwrap().push(record.args().to_string());
    }
    fn flush(&self) {}
}

static LOG: Log = Log(Mutex::new(Vec::new()));

struct Nowhere;

impl Write for Nowhere {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn case_12_a_detector_that_hangs_ends_the_pings_and_is_named_in_the_log() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Error);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    let patience = Duration::from_secs(2);
    socket.set_read_timeout(Some(patience)).unwrap();

    let (clock, stop, labels) = (Arc::new(SystemClock), Stop::default(), Vec::new());
    let context = Context { clock: Arc::clone(&clock) as _, stop: stop.clone() };
    let source = Box::new(Synthetic::new(32, 32, 50.0, context).unwrap());
    let (release, until) = channel();
    let watcher = Watcher::new(Box::new(Hangs { after: 100, until }));
    let notifier = Notifier::to(path.as_os_str(), Some(patience));
    let extras = Extras { notifier, ..Extras::default() };
    let parts = Parts { source, watcher, out: Box::new(Nowhere), clock, stop: stop.clone(), extras };
    let model = Model { name: String::new(), architecture: String::new(), sha256: String::new() };
    let (run_id, source) = (String::new(), String::new());
    let hello =
        Hello { version: "0", run: run_id, model, labels, source, live: true, kernels: "", threads: 1, preview: None };
    let settings = Settings { stats_every: Duration::from_secs(600), only_detections: false };
    let running = thread::spawn(move || run(parts, hello, settings));

    // Pings while it goes on; then none for as long as the service manager would wait.
    let (mut pings, mut buffer, started) = (0, [0; 256], Instant::now());
    while let Ok(length) = socket.recv(&mut buffer) {
        pings += usize::from(&buffer[..length] == b"WATCHDOG=1");
        assert!(started.elapsed() < Duration::from_secs(60), "{pings} pings, and no end of them");
    }
    assert!(pings > 0);
    let log = LOG.0.lock().unwrap().clone();
    let said: Vec<&String> = log.iter().filter(|line| line.contains("no sign of life")).collect();
    assert!(said.len() == 1 && said[0].contains("hangs while detecting (frame "), "{log:?}");

    release.send(()).unwrap();
    stop.set(15);
    running.join().unwrap().unwrap();
}
