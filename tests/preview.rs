//! `run --preview`: the page as browsers and other clients ask for it, and clients that mean no good, with the real program.
#![allow(clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

#[path = "common/running.rs"]
mod running;

use running::{Running, run};

const DRAWN: [&str; 6] = ["--source", "synthetic", "--size", "320x240", "--fps", "30"];

/// A run with a preview on a port that was free.
struct Previewed {
    run: Running,
    address: String,
}

impl Previewed {
    fn start(args: &[&str]) -> Self {
        let mut run = Running::start(&[&DRAWN[..], &["--preview", "0"], args].concat());
        let hello = run.next();
        let url = hello["preview"].as_str().unwrap();
        let address = url.strip_prefix("http://").unwrap().strip_suffix('/').unwrap().to_owned();
        assert!(address.starts_with("127.0.0.1:"), "{url}");
        Self { run, address }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Status, head and content of the answer to a request.
    fn ask(&self, request: &str) -> (u16, String, Vec<u8>) {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // One connection too many is refused before its request is read: the answer may be lost with it.
        if stream.read_to_end(&mut answer).is_err() && answer.is_empty() {
            return (503, String::new(), answer);
        }
        let end = answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        let head = String::from_utf8(answer[..end].to_vec()).unwrap();
        let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)).and_then(|s| s.parse().ok());
        (status.unwrap_or_else(|| panic!("{head}")), head, answer[end..].to_vec())
    }

    fn get(&self, path: &str) -> (u16, String, Vec<u8>) {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nAccept: */*\r\n\r\n", self.address))
    }

    fn figures(&self) -> Value {
        let (status, head, content) = self.get("/figures.json");
        assert!(status == 200 && head.contains("Content-Type: application/json"), "{head}");
        serde_json::from_slice(&content).unwrap()
    }

    /// Waits for figures that fulfil a condition.
    fn until(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let started = Instant::now();
        loop {
            let figures = self.figures();
            if wanted(&figures) {
                return figures;
            }
            assert!(started.elapsed() < Duration::from_secs(180), "{figures}");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Opens the stream of pictures.
    fn watch(&self) -> BufReader<TcpStream> {
        let mut stream = self.connect();
        stream.write_all(format!("GET /stream HTTP/1.1\r\nHost: {}\r\n\r\n", self.address).as_bytes()).unwrap();
        BufReader::new(stream)
    }

    fn end(self) {
        self.run.signal("TERM");
        let Self { mut run, .. } = self;
        assert_eq!(run.until("bye")["reason"], "sigterm");
        let (code, log, took) = run.end();
        assert!(code == 0 && took < Duration::from_secs(2), "{code} after {took:?}: {log}");
        assert!(!log.contains("panicked"), "{log}");
    }
}

fn line(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line.trim_end().to_owned()
}

#[test]
fn the_page_its_parts_the_pictures_and_the_figures_are_served() {
    let preview = Previewed::start(&["--budget", "500ms", "--min-score", "0"]);
    let (status, head, page) = preview.get("/");
    let page = String::from_utf8(page).unwrap();
    assert!(status == 200 && head.contains("text/html") && page.starts_with("<!doctype html>"), "{head}");
    // Everything it names is here, and nothing is from elsewhere.
    assert!(!page.contains("//"), "{page}");
    for (path, kind) in [("/preview.css", "text/css"), ("/preview.js", "text/javascript"), ("/?x=1", "text/html")] {
        let (status, head, content) = preview.get(path);
        assert!(status == 200 && head.contains(kind) && head.contains("default-src 'none'"), "{path}: {head}");
        assert!(!content.is_empty() && !String::from_utf8(content).unwrap().contains("://"), "{path}");
    }

    let (status, head, jpeg) = preview.get("/picture.jpg");
    assert!(status == 200 && head.contains("image/jpeg") && head.contains("no-store"), "{head}");
    let picture = image::load_from_memory_with_format(&jpeg, image::ImageFormat::Jpeg).unwrap();
    assert_eq!((picture.width(), picture.height()), (320, 240));

    let mut stream = preview.watch();
    assert_eq!(line(&mut stream), "HTTP/1.1 200 OK");
    while line(&mut stream) != "--edge-rcnn" {}
    for _ in 0..3 {
        assert_eq!(line(&mut stream), "Content-Type: image/jpeg");
        let length: usize = line(&mut stream).strip_prefix("Content-Length: ").unwrap().parse().unwrap();
        assert_eq!(line(&mut stream), "");
        let mut jpeg = vec![0; length];
        stream.read_exact(&mut jpeg).unwrap();
        assert_eq!(image::load_from_memory(&jpeg).unwrap().width(), 320);
        assert_eq!((line(&mut stream), line(&mut stream)), (String::new(), "--edge-rcnn".into()));
    }

    let figures = preview.until(|f| f["fps"].as_f64() > Some(0.0) && f["viewers"] == 1);
    assert_eq!((&figures["camera"], &figures["source"]), (&"streaming".into(), &"synthetic".into()));
    assert_eq!((&figures["width"], &figures["height"]), (&320.into(), &240.into()));
    let percentile = |name: &str| figures["latency_ms"][name].as_f64().unwrap();
    assert!(0.0 < percentile("p50") && percentile("p50") <= percentile("p99"), "{figures}");
    assert_eq!(figures["budget"]["ms"], 500.0);
    assert!(figures["captured"].as_u64() > Some(0) && figures["dropped"]["busy"].is_u64(), "{figures}");
    let seen = figures["seen"].as_array().unwrap();
    assert!(seen.iter().all(|s| s["label"].is_string() && s["colour"].as_str().unwrap().len() == 7), "{figures}");
    drop(stream);
    preview.until(|f| f["viewers"] == 0);
    preview.end();
}

#[test]
fn what_is_not_there_or_not_meant_for_us_is_refused_and_head_has_no_content() {
    let preview = Previewed::start(&[]);
    let own = &preview.address;
    for (request, status) in [
        ("GET /../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n".to_owned(), 404),
        ("GET /favicon.ico HTTP/1.1\r\nHost: localhost:1\r\n\r\n".to_owned(), 404),
        ("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc".to_owned(), 405),
        ("GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n".to_owned(), 421),
        ("GET /stream HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n".to_owned(), 421),
        (format!("GET / HTTP/1.1\r\nHost: {own}\r\nHost: {own}\r\n\r\n"), 400),
        ("nonsense\r\n\r\n".to_owned(), 400),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(10_000)), 431),
        ("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n".to_owned(), 200),
    ] {
        let (said, head, content) = preview.ask(&request);
        assert_eq!(said, status, "{request}: {head}");
        assert!(status == 200 || content.starts_with(status.to_string().as_bytes()), "{head}");
    }
    let (status, head, content) = preview.ask("HEAD / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(status == 200 && content.is_empty() && !head.contains("Content-Length: 0"), "{head}");
    let (status, _, content) = preview.ask("HEAD /stream HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert!(status == 200 && content.is_empty());
    preview.end();
}

/// Seeded, so that a failure comes again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

#[test]
fn damaged_requests_and_clients_that_break_off_or_say_nothing_change_nothing() {
    let mut preview = Previewed::start(&[]);
    let whole = b"GET /picture.jpg?after=7 HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: x\r\nCookie: a=b\r\n\r\n";
    let mut dice = Dice(1);
    let mut silent = Vec::new();
    for round in 0..400 {
        let mut bytes = whole.to_vec();
        match round % 4 {
            0 => (0..1 + dice.below(6))
                .for_each(|_| *bytes.get_mut(dice.below(whole.len())).unwrap() = dice.below(256) as u8),
            1 => bytes.truncate(dice.below(whole.len())),
            2 => bytes = (0..dice.below(3000)).map(|_| dice.below(256) as u8).collect(),
            _ => bytes = bytes.repeat(1 + dice.below(200)),
        }
        let mut stream = preview.connect();
        // It may have been refused before everything was sent.
        let _ = stream.write_all(&bytes);
        match dice.below(3) {
            0 => drop(stream),
            1 => drop(stream.shutdown(Shutdown::Write)),
            _ if silent.len() < 10 => silent.push(stream),
            _ => drop(stream.shutdown(Shutdown::Both)),
        }
    }
    // The places of those that say nothing are free again after some seconds.
    let mut frame = preview.run.until("frame");
    let started = Instant::now();
    while preview.get("/").0 != 200 {
        assert!(started.elapsed() < Duration::from_secs(180));
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(preview.get("/picture.jpg").0, 200);
    for _ in 0..20 {
        let next = preview.run.until("frame");
        assert!(next["frame"].as_u64() > frame["frame"].as_u64());
        frame = next;
    }
    preview.end();
}

#[test]
fn one_viewer_too_many_is_told_so_and_has_a_place_when_another_leaves() {
    let preview = Previewed::start(&[]);
    let mut viewers: Vec<_> = (0..8).map(|_| preview.watch()).collect();
    assert!(viewers.iter_mut().all(|v| line(v) == "HTTP/1.1 200 OK"));
    let mut refused = preview.watch();
    assert_eq!(line(&mut refused), "HTTP/1.1 503 Service Unavailable");
    assert_eq!(preview.figures()["viewers"], 8);
    drop(viewers.pop());
    preview.until(|f| f["viewers"] == 7);
    assert_eq!(line(&mut preview.watch()), "HTTP/1.1 200 OK");

    // More connections than there may be, all of which say nothing.
    let silent: Vec<_> = (0..40).map(|_| preview.connect()).collect();
    let mut answer = String::new();
    let _ = silent.last().unwrap().read_to_string(&mut answer);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    // The end does not wait for any of them.
    preview.end();
    drop((viewers, silent));
}

#[test]
fn whoever_looks_sees_although_nobody_reads_the_lines() {
    let preview =
        Previewed::start(&["--fps", "500", "--size", "64x48", "--scale", "32", "--proposals", "5", "--min-score", "0"]);
    let figures = preview.until(|f| f["dropped"]["reader"].as_u64() > Some(0));
    let later = preview.until(|f| f["captured"].as_u64() > figures["captured"].as_u64());
    assert_eq!(later["camera"], "streaming");
    assert_eq!(preview.get("/picture.jpg").0, 200);
    preview.end();
}

#[test]
fn a_camera_that_is_not_there_is_said_on_the_page() {
    let mut run = Running::start(&["--source", "/dev/no-such-camera", "--preview", "127.0.0.1:0"]);
    let url = run.next()["preview"].as_str().unwrap().to_owned();
    let address = url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let preview = Previewed { run, address };
    let figures = preview.until(|f| f["camera"] == "waiting");
    assert!(figures["message"].as_str().unwrap().contains("/dev/no-such-camera"), "{figures}");
    assert!(figures.get("latency_ms").is_none() && figures["fps"] == 0.0, "{figures}");
    preview.end();
}

#[test]
fn an_address_that_cannot_be_had_ends_the_program_before_it_begins() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (address, code, words) in [
        (address.as_str(), 78, "another program has that port"),
        ("192.0.2.1:8080", 78, "no interface of this machine has that address"),
        ("nowhere:8080", 2, "give an address and a port like 127.0.0.1:8080"),
        ("127.0.0.1", 2, "--preview"),
    ] {
        let said = run(&["--source", "synthetic", "--preview", address], b"");
        assert_eq!((said.code, said.lines.len()), (code, 0), "{address}: {}", said.log);
        assert!(said.log.contains(words) && said.log.contains(address), "{address}: {}", said.log);
    }
}

#[test]
fn an_address_that_others_can_reach_is_warned_of_and_one_of_this_machine_is_not() {
    for (address, warned) in [("0.0.0.0:0", true), ("127.0.0.1:0", false)] {
        let mut run = Running::start(&[&DRAWN[..], &["--preview", address]].concat());
        run.until("frame");
        run.signal("TERM");
        run.until("bye");
        let (code, log, _) = run.end();
        assert_eq!((code, log.contains("warn: preview: ")), (0, warned), "{log}");
    }
}

#[test]
fn a_real_browser_shows_picture_and_figures() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/browser.py");
    let mut browser = Command::new("python3");
    browser.arg(script).arg(env!("CARGO_BIN_EXE_edge-rcnn")).env_remove("RUST_LOG").stdin(Stdio::null());
    let Ok(output) = browser.output() else {
        let _ = writeln!(std::io::stderr(), "preview: SKIPPED: there is no python3 (Debian package python3)");
        return;
    };
    let (said, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.code() == Some(77) {
        let _ = writeln!(std::io::stderr(), "preview: SKIPPED: {}", said.trim());
        return;
    }
    assert!(output.status.success(), "{said}{log}");
}
