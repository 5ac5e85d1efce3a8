//! A killed training run, resumed, repeats the uninterrupted one; driven through the real binary.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/tiny_voc.rs"]
mod tiny_voc;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

fn train(data: &Path, out: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    command.args(["train", "detect", "--split", "train", "--epochs", "3", "--pictures", "1", "--scales", "160"]);
    command.args(["--crop", "0.5", "--light", "0.3"]);
    command.args(["--ranks", "8,8", "--rois", "16", "--log-every", "1", "--checkpoint-every", "4", "--threads", "1"]);
    command.arg("--data").arg(format!("voc:{}", data.display())).arg("--out").arg(out);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

/// The losses of each logged iteration.
fn losses(out: &Path) -> Vec<(u64, [f64; 4])> {
    let Ok(text) = fs::read_to_string(out.join("joint/log.jsonl")) else { return Vec::new() };
    let number = |v: &Value, key: &str| v[key].as_f64().unwrap();
    text.lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        .filter(|v| v["rpn_class"].is_number())
        .map(|v| (v["iter"].as_u64().unwrap(), ["rpn_class", "rpn_box", "class", "box"].map(|k| number(&v, k))))
        .collect()
}

#[test]
fn a_run_killed_midway_and_resumed_logs_the_losses_of_an_uninterrupted_run() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("voc");
    tiny_voc::make_voc(&data);

    let whole = dir.path().join("whole");
    assert!(train(&data, &whole).status().unwrap().success());
    let expected = losses(&whole);
    assert_eq!(expected.len(), 30);
    assert!(expected.iter().any(|(_, l)| l[3] > 0.0), "the head never saw an object: {expected:?}");

    let cut = dir.path().join("cut");
    let mut child = train(&data, &cut).spawn().unwrap();
    let began = Instant::now();
    while losses(&cut).len() < 14 && began.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap(); // SIGKILL
    child.wait().unwrap();
    let before = losses(&cut).len();
    assert!((14..30).contains(&before), "killed after {before} iterations, not midway");

    assert!(train(&data, &cut).status().unwrap().success());
    assert_eq!(losses(&cut), expected);
    assert!(cut.join("bundle/model.toml").is_file());
}
