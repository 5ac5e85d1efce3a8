#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::{Duration, Instant};

use super::*;
use crate::boxes::Rect;
use crate::clock::{Moment, SystemClock};
use crate::detector::Detection;
use crate::sink::stream::Model;

/// Of a client. Drawing has low priority, so a busy machine may keep it waiting.
const PATIENCE: Duration = Duration::from_secs(120);

fn start() -> Preview {
    let model = Model { name: "zf".into(), architecture: "zf".into(), sha256: String::new() };
    let (run, source, labels) = (String::new(), "a test".into(), vec!["cat".to_owned()]);
    let names = Names { labels: labels.clone(), zones: vec![] };
    let hello = Hello { version: "1", run, model, labels, source, live: true, kernels: "", threads: 1, preview: None };
    let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    Preview::start(listener, &hello, names, Arc::new(SystemClock)).unwrap()
}

/// Hard to compress, and of a brightness that tells the number.
fn noise(number: u8) -> Picture {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        number.saturating_add((state >> 24) as u8 % 48)
    };
    Picture { width: 320, height: 240, rgb: (0..320 * 240 * 3).map(|_| next()).collect() }
}

fn give(preview: &Preview, picture: &Picture) -> Duration {
    let started = Instant::now();
    let now = Moment::default();
    let rect = Rect { x1: 10.0, y1: 10.0, x2: 60.0, y2: 60.0 };
    let objects = [Object { detection: Detection { class_id: 1, score: 0.9, rect }, zones: 0, track: None }];
    let (size, dropped) = ((picture.width, picture.height), &[("busy", 1)]);
    let frame = Frame {
        captured: now,
        finished: now,
        size,
        scale: 1.0,
        proposals: 1,
        budget: None,
        gated: false,
        total: 1,
        dropped,
    };
    preview.frame(picture, &objects, &frame);
    started.elapsed()
}

/// A viewer of the stream that has read the head of the answer.
fn viewer(preview: &Preview) -> BufReader<TcpStream> {
    let mut stream = TcpStream::connect(preview.address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut stream = BufReader::new(stream);
    assert!(field(&mut stream, "HTTP/1.1 ").starts_with("200"));
    stream
}

/// The rest of the next line that starts so.
fn field(stream: &mut impl BufRead, name: &str) -> String {
    loop {
        let mut line = String::new();
        assert!(stream.read_line(&mut line).unwrap() > 0, "the stream ends before {name}");
        if let Some(rest) = line.strip_prefix(name) {
            return rest.trim().to_owned();
        }
    }
}

/// Mean brightness of the next picture.
fn picture(stream: &mut impl BufRead) -> u8 {
    let length: usize = field(stream, "Content-Length: ").parse().unwrap();
    field(stream, "\r\n");
    let mut jpeg = vec![0; length];
    stream.read_exact(&mut jpeg).unwrap();
    let picture = Picture::decode(&jpeg).unwrap();
    assert_eq!((picture.width, picture.height), (320, 240));
    let corner: Vec<u64> = (160..240).flat_map(|y| picture.pixel(300, y).unwrap()).map(u64::from).collect();
    (corner.iter().sum::<u64>() / corner.len() as u64) as u8
}

/// Gives frames until the end of the scope's work.
fn while_frames_come<T>(preview: &Preview, work: impl FnOnce() -> T) -> (T, Vec<Duration>) {
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let frames = scope.spawn(|| {
            let pictures: Vec<Picture> = (0..8).map(|i| noise(i * 24)).collect();
            let mut took = Vec::new();
            // In no regular order: the time of drawing may be a multiple of any period.
            for turn in 0u32.. {
                let mixed = turn.wrapping_mul(2_654_435_761);
                took.push(give(preview, &pictures[((mixed ^ mixed >> 15) >> 8) as usize % pictures.len()]));
                std::thread::sleep(Duration::from_millis(5));
                if done.load(std::sync::atomic::Ordering::Relaxed) {
                    break;
                }
            }
            took
        });
        let result = work();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        (result, frames.join().unwrap())
    })
}

#[test]
fn without_viewers_no_frame_is_copied_or_drawn() {
    let preview = start();
    let picture = noise(1);
    for _ in 0..50 {
        give(&preview, &picture);
    }
    assert_eq!(preview.shown.desk.newest().number, 0);
    let (_, frames) = while_frames_come(&preview, || picture_of(&preview));
    assert!(!frames.is_empty() && preview.shown.desk.newest().number > 0);
}

fn picture_of(preview: &Preview) -> u8 {
    picture(&mut viewer(preview))
}

#[test]
fn viewers_that_hang_cost_the_detector_nothing_and_no_other_viewer_its_pictures() {
    let preview = start();
    let hanging: Vec<_> = (0..7).map(|_| viewer(&preview)).collect();
    let (seen, mut took) = while_frames_come(&preview, || {
        let mut viewer = viewer(&preview);
        (0..25).map(|_| picture(&mut viewer)).collect::<std::collections::HashSet<_>>()
    });
    drop(hanging);
    assert!(seen.len() > 3, "always the same picture: {seen:?}");
    // Most frames are not even copied; the machine may have been busy with something else for some.
    took.sort();
    let typical = took[took.len() / 2];
    assert!(took.len() > 30 && typical < Duration::from_millis(20), "{} frames, {typical:?}", took.len());
}

#[test]
fn a_slow_viewer_gets_the_newest_picture_and_not_those_it_missed() {
    let preview = start();
    let mut slow = viewer(&preview);
    while_frames_come(&preview, || picture(&mut slow));
    // It does not read while more pictures are made than there is place for on the way.
    while_frames_come(&preview, || {
        let before = preview.shown.desk.newest().number;
        let mut other = viewer(&preview);
        while preview.shown.desk.newest().number < before + 30 {
            picture(&mut other);
        }
    });
    // From here on, all frames are bright.
    let bright = noise(190);
    let read = std::thread::scope(|scope| {
        let reader = scope.spawn(|| (1..30).find(|_| picture(&mut slow) > 195));
        while !reader.is_finished() {
            give(&preview, &bright);
            std::thread::sleep(Duration::from_millis(5));
        }
        reader.join().unwrap()
    });
    assert!(read.is_some_and(|n| n < 16), "{read:?} pictures were waiting");
}

#[test]
fn the_end_of_the_run_ends_every_connection() {
    let preview = start();
    let mut watching = viewer(&preview);
    let mut silent = TcpStream::connect(preview.address).unwrap();
    silent.set_read_timeout(Some(PATIENCE)).unwrap();
    let address = preview.address;
    drop(preview);
    let started = Instant::now();
    let mut rest = Vec::new();
    watching.read_to_end(&mut rest).unwrap();
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    // The socket is free again as soon as the thread that held it has looked.
    while Listener::bind(address).is_err() {
        assert!(started.elapsed() < Duration::from_secs(2));
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = silent.read(&mut [0; 16]);
}

#[test]
fn an_address_that_cannot_be_had_is_said_with_the_reason_and_the_way_out() {
    let first = Listener::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let said = Listener::bind(first.address()).err().unwrap().to_string();
    assert!(said.contains(&first.address().to_string()) && said.contains("another program has that port"), "{said}");
    // From the range that documents may use: no interface has it.
    let said = Listener::bind("192.0.2.1:0".parse().unwrap()).err().unwrap().to_string();
    assert!(said.contains("no interface"), "{said}");
}
