//! The verb `calibrate` as a program: a small random network on drawn pictures, and the built-in model on photographs.
#![allow(clippy::unwrap_used)]

#[path = "common/tiny_voc.rs"]
mod tiny_voc;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use edge_rcnn::model::arch::ZF_PLAIN;
use edge_rcnn::model::{Bundle, Manifest, StorageType, Weights};
use serde_json::Value;

fn edge_rcnn(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-rcnn")).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn last_line(output: &Output) -> Value {
    assert!(output.status.success(), "{}", said(output));
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    serde_json::from_str(text.lines().last().unwrap()).unwrap()
}

/// Ten drawn pictures and an untrained network for them; the names of both folders.
fn tiny(dir: &Path) -> (String, String) {
    let (data, model) = (dir.join("data"), dir.join("model"));
    tiny_voc::make_voc(&data);
    let mut weights = Weights::he_random(&ZF_PLAIN, 2, Some(9), Some(16), 5);
    // Pixels are in the hundreds; the maps after conv1 are to be of the order of 1, as in a trained network.
    weights.0.get_mut("conv1.weight").unwrap().data.iter_mut().for_each(|w| *w /= 100.0);
    let mut manifest = Manifest::new("tiny", &ZF_PLAIN, vec!["red".into(), "blue".into()]);
    (manifest.input.short_side, manifest.input.long_max, manifest.proposals.post_nms) = (96, 128, 30);
    Bundle::from_weights(&ZF_PLAIN, &weights, manifest, StorageType::F32).unwrap().save(&model).unwrap();
    (data.display().to_string(), model.display().to_string())
}

#[test]
fn a_model_in_8_bits_is_written_and_every_verb_takes_it() {
    let dir = tempfile::tempdir().unwrap();
    let (data, model) = tiny(dir.path());
    let (voc, out) = (format!("voc:{data}"), dir.path().join("int8").display().to_string());
    let list = dir.path().join("list.sha256").display().to_string();
    let ranges = dir.path().join("ranges.json");
    let flags = ["--model", &model, "--images", &voc, "--out", &out, "--limit", "4", "--score-limit", "3", "--json"];
    let more = [
        "--method",
        "min-max,percentile:99.9",
        "--bias-correction",
        "both",
        "--write-list",
        &list,
        "--max-drop",
        "100",
    ];
    let range_flags = ["--write-ranges", ranges.to_str().unwrap(), "--threads", "1"];
    let line = last_line(&edge_rcnn(&[&["calibrate"], &flags[..], &more, &range_flags].concat()));
    assert_eq!((&line["images"], &line["scored_images"]), (&4.into(), &3.into()));
    let candidates = line["candidates"].as_array().unwrap();
    assert_eq!(candidates.len(), 4);
    assert!(candidates.iter().filter(|c| c["method"].as_str().unwrap().contains("corrected")).count() == 2);
    assert!(line["bytes_after"].as_u64().unwrap() * 3 < line["bytes_before"].as_u64().unwrap());
    assert!(line["frame_ms_after"].as_f64().unwrap() > 0.0 && line["drop"].is_number());
    let ranges: Value = serde_json::from_slice(&fs::read(ranges).unwrap()).unwrap();
    assert!(ranges["conv5"].as_f64().unwrap() > 0.0 && ranges.get("image").is_none());

    let info: Value = last_line(&edge_rcnn(&["info", &out, "--json"]));
    assert_eq!(info["quantization"]["method"], line["method"]);
    assert_eq!(info["quantization"]["images_sha256"], line["images_sha256"]);
    assert_eq!((&info["sha256"], &info["name"]), (&line["sha256_after"], &"tiny-int8".into()));
    assert!(info["layers"].as_array().unwrap().iter().all(|l| l["storage"] == "int8"));
    let picture = format!("{data}/JPEGImages/000003.png");
    let found = last_line(&edge_rcnn(&["detect", &picture, "--model", &out, "--min-score", "0"]));
    assert!(!found["detections"].as_array().unwrap().is_empty());
    let run = edge_rcnn(&["run", "--source", &picture, "--model", &out, "--precision", "int8"]);
    assert!(run.status.success() && said(&run).contains("int8-"), "{}", said(&run));
    let score = ["--data", &voc, "--split", "train", "--limit", "3", "--json", "--precision", "int8"];
    let eval = last_line(&edge_rcnn(&[&["eval", "--model", &out], &score[..]].concat()));
    assert_eq!(eval["mAP"], line["mAP_after"], "what was measured is what was written");
    let compress = edge_rcnn(&["compress", "--model", &out, "--rank", "cls_score=1", "--out", &model]);
    assert_eq!(compress.status.code(), Some(2));

    // The list that was written gives the same model again, byte for byte, and marks need not be there.
    let again = dir.path().join("again").display().to_string();
    let method = line["method"].as_str().unwrap();
    let corrected = if line["bias_correction"] == true { "yes" } else { "no" };
    let from_list = ["--model", &model, "--images", &list, "--root", &data, "--out", &again, "--method", method];
    let flags = ["--bias-correction", corrected, "--threads", "1"];
    let output = edge_rcnn(&[&["calibrate"], &from_list[..], &flags].concat());
    assert!(output.status.success() && said(&output).contains("--score-on"), "{}", said(&output));
    for file in ["model.toml", "trunk.onnx", "head.onnx"] {
        assert!(
            fs::read(Path::new(&out).join(file)).unwrap() == fs::read(Path::new(&again).join(file)).unwrap(),
            "{file}"
        );
    }
}

#[test]
fn what_is_missing_or_wrong_is_said_before_the_first_picture() {
    let dir = tempfile::tempdir().unwrap();
    let (data, model) = tiny(dir.path());
    let out = dir.path().join("int8").display().to_string();
    let listed = |name: &str, text: &str| {
        fs::write(dir.path().join(name), text).unwrap();
        dir.path().join(name).display().to_string()
    };
    let other = format!("{}  data/JPEGImages/000001.png\n", "0".repeat(64));
    let cases = [
        (listed("changed", &other), "mse", 1, "sha256"),
        (listed("gone", "data/none.png\n"), "mse", 66, "none.png"),
        (listed("empty", "# nothing\n"), "mse", 2, "no picture"),
        (dir.path().join("nowhere").display().to_string(), "mse", 66, "nowhere"),
        (format!("voc:{data}"), "percentile:0", 2, "percentage"),
    ];
    for (images, method, code, word) in cases {
        let output =
            edge_rcnn(&["calibrate", "--model", &model, "--images", &images, "--out", &out, "--method", method]);
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(word) && output.stdout.is_empty(), "{}", said(&output));
    }
    assert!(!Path::new(&out).exists());
}

/// The VOC folder outside of the project, or a line that says what is skipped.
fn photographs() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/voc2007");
    if !dir.is_dir() {
        println!("skipped: {} is missing", dir.display());
        return None;
    }
    Some(dir)
}

#[test]
fn a_model_that_loses_too_much_is_not_written() {
    let Some(dir) = photographs() else { return };
    let voc = format!("voc:{}", dir.display());
    let out = tempfile::tempdir().unwrap();
    let out = out.path().join("int8").display().to_string();
    // Half of all values are cut off: that blinds it.
    let flags =
        ["--images", &voc, "--limit", "2", "--score-on", &voc, "--score-limit", "8", "--method", "percentile:50"];
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/models/zf-voc");
    let output = edge_rcnn(&[&["calibrate", "--model", model, "--out", &out, "--json"], &flags[..]].concat());
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("--max-drop 0.5") && !Path::new(&out).exists(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let line: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert!(line["drop"].as_f64().unwrap() > 0.5 && line.get("out").is_none());
}
