//! USERS case 11: what 200 reconnects leave behind. Alone in its program, so that memory and files are its own.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::Ordering;

use edge_rcnn::clock::Clock;
use edge_rcnn::source::camera::{Camera, CameraOptions, Wanted};
use edge_rcnn::source::{Context, Frame, Next, Source, Stop};

#[path = "common/simulated_camera.rs"]
mod simulated_camera;

use simulated_camera::{SimulatedClock, SimulatedDriver, Step};

const ENODEV: i32 = 19;

fn rss_kib() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn case_11_after_200_reconnects_memory_and_open_files_are_what_they_were() {
    let clock = SimulatedClock::new();
    let driver = SimulatedDriver::new(&clock, |_| {
        Ok(Box::new(|asked| if asked < 50 { Step::Frame } else { Step::Error(ENODEV) }))
    });
    let attempts = Arc::clone(&driver.attempts);
    let context = Context { clock: clock as Arc<dyn Clock>, stop: Stop::default() };
    let mut camera = Camera::new(Wanted::new("x"), Box::new(driver), CameraOptions::default(), context);
    let (mut frame, mut frames) = (Frame::default(), 0);
    let mut reconnect = |times: usize| {
        let mut lost = 0;
        while lost < times {
            match camera.next(&mut frame).unwrap() {
                Next::Frame => frames += 1,
                Next::Away(away) => lost += usize::from(away.lost),
                other => panic!("{other:?}"),
            }
        }
    };
    reconnect(20);
    let (memory, files) = (rss_kib(), open_files());
    reconnect(200);
    assert_eq!((frames, attempts.load(Ordering::Relaxed)), (220 * 50, 220));
    assert_eq!(open_files(), files);
    let grown = rss_kib() - memory;
    assert!(grown < 1024, "{grown} KiB more than before");
}
