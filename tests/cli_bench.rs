//! `edge-rcnn bench` as users run it. What it says must fit together; how fast the machine is, is not tested.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::process::{Command, Output};

use edge_rcnn::kernels::{Kernels, int8::Dot};
use serde::Deserialize;

/// Every field; others are an error here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Report {
    #[serde(rename = "type")]
    kind: String,
    version: String,
    commit: Option<String>,
    cpu: String,
    threads: usize,
    kernels: String,
    #[serde(default)]
    gpu: Option<String>,
    model: String,
    sha256: String,
    input: [usize; 2],
    proposals: usize,
    frames: usize,
    frame_ms: Spread,
    stage_ms: BTreeMap<String, Spread>,
    peak_gflops: f64,
    speeds: Vec<Speed>,
    layers: Vec<Layer>,
    scales: Vec<Rung>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Spread {
    p50: f64,
    p95: f64,
    p99: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Layer {
    layer: String,
    ms: f64,
    gflop: f64,
    gflops: f64,
    of_peak: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Speed {
    stage: String,
    gflop: f64,
    gflops: f64,
    of_peak: f64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rung {
    scale: u32,
    p50: f64,
}

fn bench(args: &[&str]) -> Output {
    let small =
        ["bench", "--size", "420x300", "--frames", "4", "--scale", "240", "--proposals", "20", "--threads", "1"];
    Command::new(env!("CARGO_BIN_EXE_edge-rcnn")).env_remove("RUST_LOG").args(small).args(args).output().unwrap()
}

#[test]
fn the_report_holds_together_as_one_line_of_json() {
    let output = bench(&["--json", "--kernels", "auto"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1);
    let r: Report = serde_json::from_str(&text).unwrap();
    assert_eq!((r.kind.as_str(), r.version.as_str(), r.frames, r.threads), ("bench", env!("CARGO_PKG_VERSION"), 4, 1));
    assert_eq!(r.input, [240, 336]);
    let hexadecimal = |commit: &str| commit.trim_end_matches('+').chars().all(|c| c.is_ascii_hexdigit());
    match (option_env!("EDGE_RCNN_COMMIT"), &r.commit) {
        (Some(said), commit) => assert_eq!(commit.as_deref(), Some(said)),
        // Unknown where the sources have no history, or have gone on since they were built.
        (None, commit) => assert!(commit.as_deref().is_none_or(hexadecimal), "{commit:?}"),
    }
    assert!(r.proposals <= 20 && r.sha256.len() == 64 && !r.model.is_empty() && !r.cpu.is_empty());
    // The built-in model is in 8 bits, and computed in integers where that is faster.
    let known = match r.kernels.strip_prefix("int8-") {
        Some(integer) => Dot::NAMES.contains(&integer),
        None => Kernels::NAMES.contains(&r.kernels.as_str()),
    };
    assert!(known && r.gpu.is_none(), "{} {:?}", r.kernels, r.gpu);
    for (name, s) in r.stage_ms.iter().map(|(n, s)| (n.as_str(), s)).chain([("frame", &r.frame_ms)]) {
        assert!(0.0 < s.p50 && s.p50 <= s.p95 && s.p95 <= s.p99, "{name} {s:?}");
        // Percentiles are values that occurred, so a part is never longer than the longest whole.
        assert!(s.p50 <= r.frame_ms.p99, "{name} {s:?} of {:?}", r.frame_ms);
    }
    let stages: Vec<&str> = r.stage_ms.keys().map(String::as_str).collect();
    assert_eq!(stages, ["head", "postprocess", "preprocess", "proposals", "roi_pool", "trunk"]);
    // 3×3·256·384 multiply-adds for each of the 16×22 places of the map.
    let conv3 = r.layers.iter().find(|l| l.layer == "conv3").unwrap();
    assert!((conv3.gflop - 2e-9 * (9 * 256 * 384 * 16 * 22) as f64).abs() < 1e-6, "{conv3:?}");
    assert!(r.layers.iter().all(|l| l.ms > 0.0) && r.peak_gflops > 0.0);
    assert!((conv3.gflops - conv3.gflop / conv3.ms * 1e3).abs() < 1e-6 * conv3.gflops, "{conv3:?}");
    assert!((conv3.of_peak - conv3.gflops / r.peak_gflops).abs() < 1e-9, "{conv3:?}");
    let [trunk, head] = &r.speeds[..] else { panic!("{:?}", r.speeds) };
    assert_eq!((trunk.stage.as_str(), head.stage.as_str()), ("trunk", "head"));
    let layers: f64 = r.layers.iter().map(|l| l.gflop).sum();
    // Layers of next to no time are left out.
    assert!((0.95..1.000001).contains(&(layers / trunk.gflop)) && head.gflop > 0.0, "{trunk:?} {layers}");
    for (s, ms) in [(trunk, r.stage_ms["trunk"].p50), (head, r.stage_ms["head"].p50)] {
        assert!((s.gflops - s.gflop / ms * 1e3).abs() < 1e-6 * s.gflops, "{s:?}");
        assert!((s.of_peak - s.gflops / r.peak_gflops).abs() < 1e-9, "{s:?}");
    }
    assert_eq!(r.scales.iter().map(|s| s.scale).collect::<Vec<_>>(), [240]);
    assert!(r.scales[0].p50 > 0.0);
}

#[test]
fn the_text_names_processor_model_and_stages_and_the_engines_kernels_can_be_measured() {
    let output = bench(&["--kernels", "tract"]);
    let text = String::from_utf8(output.stdout).unwrap();
    for part in ["processor", "sha256", "tract kernels, 1 threads", "trunk", "postprocess", "conv5", "scale"] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn sizes_that_are_none_are_wrong_usage() {
    for size in ["1000", "0x600", "1000x", "99999x600"] {
        let output = bench(&["--size", size]);
        assert_eq!(output.status.code(), Some(2), "{size}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("such as 1000x600"), "{size}");
    }
}
