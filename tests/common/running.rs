//! Runs `edge-rcnn run` as users run it, and reads its lines.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Small inputs and few regions: these tests are about everything but the network.
pub const FAST: [&str; 6] = ["--scale", "64", "--proposals", "20", "--threads", "1"];

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    command.env_remove("RUST_LOG").arg("run").args(FAST).args(args);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// What a run that ended has said.
pub struct Said {
    pub lines: Vec<Value>,
    pub code: i32,
    pub log: String,
}

impl Said {
    /// Takes what a run has written and looks whether it is a whole and right stream.
    pub fn of_output(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        let lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        let said = Self { lines, code: output.status.code().unwrap(), log: String::from_utf8(output.stderr).unwrap() };
        if !said.lines.is_empty() {
            well_formed(&said);
        }
        said
    }

    pub fn of(&self, kind: &str) -> Vec<&Value> {
        self.lines.iter().filter(|l| l["type"] == kind).collect()
    }

    pub fn bye(&self) -> &Value {
        self.lines.last().filter(|l| l["type"] == "bye").unwrap_or_else(|| panic!("no bye: {}", self.log))
    }
}

/// Gives the bytes to standard input and waits for the end.
pub fn run(args: &[&str], input: &[u8]) -> Said {
    let mut child = command(args).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // The program may end before it has read everything.
    let writer = thread::spawn(move || drop(stdin.write_all(&input)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    Said::of_output(output)
}

/// What holds for every complete run.
pub fn well_formed(said: &Said) {
    let first = &said.lines[0];
    assert_eq!((&first["type"], &first["schema"]), (&"hello".into(), &"edge-rcnn/1".into()));
    assert_eq!(said.bye()["schema"], "edge-rcnn/1");
    let (mut size, mut least, mut frames) = (None, f64::MAX, 0);
    for line in &said.lines {
        assert!(line["t"].as_str().unwrap().ends_with('Z') && line["t_mono_us"].is_u64(), "{line}");
        if line["type"] == "status" {
            size = Some((line["width"].as_f64().unwrap(), line["height"].as_f64().unwrap()));
        }
        if line["type"] == "frame" {
            let (width, height) = size.unwrap_or_else(|| panic!("a frame before its size: {line}"));
            for found in line["detections"].as_array().unwrap() {
                let corner = |i: usize| found["box"][i].as_f64().unwrap();
                assert!(0.0 <= corner(0) && corner(0) < corner(2) && corner(2) <= width, "{line}");
                assert!(0.0 <= corner(1) && corner(1) < corner(3) && corner(3) <= height, "{line}");
            }
            let stages: f64 = line["stage_ms"].as_object().unwrap().values().map(|v| v.as_f64().unwrap()).sum();
            let latency = line["latency_ms"].as_f64().unwrap();
            assert!(stages < latency + 1.0, "{stages} of {latency} ms: {line}");
            (least, frames) = (least.min((latency - stages) / latency.max(1.0)), frames + 1);
        }
    }
    // The stages are all of it. Of some frames: the system may stop a thread between two of them for as long as it likes.
    assert!(frames < 4 || least < 0.2, "{least} of the latency is in no stage of any frame");
    let bye = said.bye();
    let dropped: u64 = bye["dropped"].as_object().unwrap().values().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(bye["captured"].as_u64().unwrap(), bye["frames"].as_u64().unwrap() + dropped, "{bye}");
}

/// A run that goes on, with its lines as they come.
pub struct Running {
    pub child: Child,
    pub lines: Box<dyn Iterator<Item = std::io::Result<String>>>,
}

impl Running {
    pub fn start(args: &[&str]) -> Self {
        Self::of(command(args).spawn().unwrap())
    }

    pub fn of(mut child: Child) -> Self {
        let lines = Box::new(BufReader::new(child.stdout.take().unwrap()).lines());
        Self { child, lines }
    }

    /// The same with lines that are taken at once and kept, for whoever waits for something else meanwhile: a program
    /// whose lines nobody takes stops at some point.
    pub fn kept(mut child: Child) -> Self {
        let (take, lines) = (BufReader::new(child.stdout.take().unwrap()).lines(), std::sync::mpsc::channel());
        thread::spawn(move || take.map_while(|line| lines.0.send(line).ok()).for_each(drop));
        Self { child, lines: Box::new(lines.1.into_iter()) }
    }

    pub fn next(&mut self) -> Value {
        serde_json::from_str(&self.lines.next().unwrap().unwrap()).unwrap()
    }

    pub fn until(&mut self, kind: &str) -> Value {
        loop {
            let line = self.next();
            if line["type"] == kind {
                return line;
            }
        }
    }

    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &id]).status().unwrap().success());
    }

    /// Exit code, what was logged, and how long the end took.
    pub fn end(mut self) -> (i32, String, Duration) {
        let started = Instant::now();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap().code().unwrap(), log, started.elapsed())
    }
}
