#![allow(clippy::unwrap_used)]

use std::time::Duration;

use serde_json::Value;

use super::*;
use crate::boxes::Rect;
use crate::detector::Detection;
use crate::watch::budget::Reason;
use crate::watch::{BudgetState, Object, Track};

/// Everything a run may say, in the order of the documentation.
fn everything() -> Vec<String> {
    let mut out = Vec::new();
    let mut lines = StreamLines::new(&mut out);
    let now = Moment::default();
    let model = Model { name: "zf-voc".into(), architecture: "zf".into(), sha256: "9c41".into() };
    let labels = vec!["aeroplane".into(), "bicycle".into()];
    let run = "7f3a09c2".into();
    let (source, kernels) = ("synthetic".into(), "avx2");
    let hello = Hello {
        version: "0.1.0",
        run,
        model,
        labels,
        source,
        live: true,
        kernels,
        threads: 4,
        preview: Some("http://127.0.0.1:8080/".into()),
    };
    lines.hello(now, &hello).unwrap();
    let (device, card, fourcc) = ("/dev/video0", "USB Camera", "YUYV".into());
    let camera = Some(CameraLine { device, card, fourcc, stride: 1280, fps: Some(30.0) });
    lines.streaming(now, &StreamingLine { width: 640, height: 480, format: "yuyv", camera }).unwrap();
    let retry = Duration::from_secs(1);
    lines.away(now, &AwayLine { lost: true, reason: "ENODEV", message: "gone", retry }).unwrap();
    let (names, objects) = (names("person"), [object()]);
    lines.frame(&frame(&names, &objects)).unwrap();
    let stage_ms = [("wait", 0.3), ("decode", 1.2), ("emit", 0.1)];
    let still = FrameLine { stage_ms: &stage_ms, budget: None, gated: true, dropped: &[], ..frame(&names, &[]) };
    lines.frame(&still).unwrap();
    lines.reloaded(now, &hello.model, &["door".into()]).unwrap();
    let causes = ["busy", "corrupt", "failed", "reader", "stop", "driver", "empty", "size", "not_jpeg", "cut_off"];
    let dropped = causes.map(|cause| (cause, 1));
    let times_corrected = 0;
    let latency_ms = Some([("p50", 1.0), ("p95", 2.0), ("p99", 3.0)]);
    let (rss_mb, temp_c) = (Some(96.2), Some(61.5));
    let stats = StatsLine {
        window_ms: 1e4,
        captured: 300,
        frames: 47,
        gated: 1,
        latency_ms,
        dropped: &dropped,
        times_corrected,
        rss_mb,
        temp_c,
    };
    lines.stats(now, &stats).unwrap();
    lines.error(now, "no").unwrap();
    lines
        .bye(now, &ByeLine { reason: "end", captured: 1, frames: 0, gated: 1, dropped: &dropped, times_corrected })
        .unwrap();
    String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
}

fn names(label: &str) -> Names {
    Names { labels: vec![label.into(); 15], zones: vec!["street".into(), "door".into()] }
}

fn object() -> Object {
    let rect = Rect { x1: 212.5, y1: 80.1, x2: 330.0, y2: 402.7 };
    let detection = Detection { class_id: 15, score: 0.942, rect };
    Object { detection, zones: 0b10, track: Some(Track { id: 4, age: 7 }) }
}

fn frame<'a>(names: &'a Names, objects: &'a [Object]) -> FrameLine<'a> {
    FrameLine {
        captured: Moment::default(),
        ts_src: None,
        seq: 57,
        frame: 9,
        path: None,
        width: 640,
        height: 480,
        latency_ms: 212.4,
        stage_ms: &[("wait", 5.3), ("decode", 1.2), ("trunk", 141.9), ("emit", 0.3)],
        scale: 1.25,
        proposals: 300,
        budget: Some(BudgetState { limit_ms: 59.0, step: 9, of: 10, reason: Reason::Start }),
        gated: false,
        dropped: &[("busy", 5), ("corrupt", 0)],
        objects,
        names,
        omitted: 0,
    }
}

/// Names of all fields, nested ones too, in their order.
fn fields(text: &str) -> Vec<String> {
    fn walk(value: &Value, all: &mut Vec<String>) {
        match value {
            Value::Object(map) => map.iter().for_each(|(name, value)| {
                all.push(name.clone());
                walk(value, all);
            }),
            Value::Array(list) => list.iter().for_each(|value| walk(value, all)),
            _ => {}
        }
    }
    let mut all = Vec::new();
    walk(&serde_json::from_str(text).unwrap(), &mut all);
    all
}

#[test]
fn the_examples_of_the_documentation_have_the_fields_we_write_and_no_others() {
    let examples: Vec<&str> =
        include_str!("mod.rs").lines().filter_map(|l| l.strip_prefix("//! ")).filter(|l| l.starts_with('{')).collect();
    let ours = everything();
    assert_eq!(ours.len(), examples.len());
    for (ours, example) in ours.iter().zip(examples) {
        assert_eq!(fields(ours), fields(example));
        assert_eq!(ours.split(',').next(), example.split(',').next());
    }
}

#[test]
fn every_line_starts_with_type_and_both_times() {
    for line in everything() {
        let start = "\"t\":\"1970-01-01T00:00:00.000Z\",\"t_mono_us\":0,";
        assert!(line.split_once(',').unwrap().1.starts_with(start), "{line}");
    }
}

#[test]
fn a_line_that_would_be_too_long_leaves_out_the_worst_detections_and_counts_them() {
    let names = names("a rather long label with \"quotes\" and \u{1} in it");
    let mut out = Vec::new();
    StreamLines::new(&mut out).frame(&frame(&names, &vec![object(); 5000])).unwrap();
    assert!((MAX_LINE / 2..=MAX_LINE).contains(&out.len()), "{}", out.len());
    let value: Value = serde_json::from_slice(&out).unwrap();
    let kept = value["detections"].as_array().unwrap().len();
    assert_eq!(value["omitted"], 5000 - kept);
}

#[test]
fn what_has_no_value_is_left_out() {
    let mut out = Vec::new();
    let names = Names::default();
    let line = FrameLine { dropped: &[("busy", 0)], budget: None, latency_ms: 1.0, ..frame(&names, &[]) };
    StreamLines::new(&mut out).frame(&line).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("\"detections\":[]"));
    assert!(
        !["dropped", "omitted", "path", "null", "budget", "gated"].iter().any(|name| text.contains(name)),
        "{text}"
    );
}
