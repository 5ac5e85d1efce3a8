//! Case 12: a detector that hangs. The service manager hears no more of us, so that it starts us again, and the log says
//! where it hangs. A test program of its own, because the log of a program is one.
#![allow(clippy::unwrap_used)]

use std::io::{self, Write};
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

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
    hung: Arc<AtomicBool>,
    until: Receiver<()>,
}

impl Look for Hangs {
    fn look(&mut self, _: &Picture, _: &mut Detected) -> Result<(), DetectorError> {
        match self.after.checked_sub(1) {
            Some(left) => self.after = left,
            None => {
                self.hung.store(true, Ordering::SeqCst);
                let _ = self.until.recv();
            }
        }
        Ok(())
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
    socket.set_read_timeout(Some(patience / 20)).unwrap();

    let (clock, stop, labels) = (Arc::new(SystemClock), Stop::default(), Vec::new());
    let context = Context { clock: Arc::clone(&clock) as _, stop: stop.clone() };
    let source = Box::new(Synthetic::new(32, 32, 50.0, context).unwrap());
    let ((release, until), hung) = (channel(), Arc::new(AtomicBool::new(false)));
    let watcher = Watcher::new(Box::new(Hangs { after: 100, hung: Arc::clone(&hung), until }));
    let notifier = Notifier::to(path.as_os_str(), Some(patience));
    let extras = Extras { notifier, ..Extras::default() };
    let parts = Parts { source, watcher, out: Box::new(Nowhere), clock, stop: stop.clone(), extras };
    let model = Model { name: String::new(), architecture: String::new(), sha256: String::new() };
    let (run_id, source) = (String::new(), String::new());
    let hello =
        Hello { version: "0", run: run_id, model, labels, source, live: true, kernels: "", threads: 1, preview: None };
    let settings = Settings { stats_every: Duration::from_secs(600), only_detections: false };
    let running = thread::spawn(move || run(parts, hello, settings));

    // Pings until the log says where it hangs; then none for as long as the service manager would wait, and no more words.
    // A machine that is very busy may have stopped us before, which the log says as well.
    let (mut pings, mut buffer) = (0, [0; 256]);
    let said = || -> Vec<String> {
        let log = LOG.0.lock().unwrap();
        log.iter().filter(|line| line.contains("no sign of life")).cloned().collect()
    };
    let hangs = || hung.load(Ordering::SeqCst) && said().last().is_some_and(|line| line.contains("while detecting"));
    let mut heard = || socket.recv(&mut buffer).map(|length| &buffer[..length] == b"WATCHDOG=1");
    for _ in 0..600 {
        pings += usize::from(heard().unwrap_or(false));
        if hangs() {
            break;
        }
    }
    assert!(
        pings > 0 && said().last().unwrap().contains("hangs while detecting (frame "),
        "{pings} pings, {:?}",
        said()
    );
    let words = said().len();
    socket.set_read_timeout(Some(patience)).unwrap();
    assert!(heard().is_err(), "a ping, although it hangs");
    assert_eq!(said().len(), words, "{:?}", said());

    release.send(()).unwrap();
    stop.set(15);
    running.join().unwrap().unwrap();
}
