//! Every training method runs from start to bundle through the real binary, on a tiny data set.
#![cfg(feature = "train")]
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/tiny_voc.rs"]
mod tiny_voc;

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use edge_rcnn::model::Bundle;
use image::{Rgb, RgbImage};
use serde_json::Value;

fn edge_rcnn(args: &[&str], more: &[(&str, &Path)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    command.args(args);
    for (flag, path) in more {
        command.arg(flag).arg(path);
    }
    command.output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

const SMALL: [&str; 15] = [
    "--split",
    "train",
    "--scales",
    "160",
    "--ranks",
    "8,8",
    "--rois",
    "16",
    "--log-every",
    "1",
    "--threads",
    "1",
    "--pictures",
    "1",
    "--clip=5",
];

fn train(data: &Path, extra: &[&str], more: &[(&str, &Path)]) -> Output {
    let spec = format!("voc:{}", data.display());
    let args: Vec<&str> =
        ["train", "detect", "--data", &spec].into_iter().chain(SMALL).chain(extra.iter().copied()).collect();
    edge_rcnn(&args, more)
}

#[test]
fn alternating_training_runs_its_four_steps_and_freezes_what_the_paper_freezes() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("voc"), dir.path().join("out"));
    tiny_voc::make_voc(&data);
    let result = train(&data, &["--method", "alternating", "--epochs", "0.4"], &[("--out", &out)]);
    assert!(result.status.success(), "{}", stderr(&result));
    for step in ["step1-rpn", "step2-detector", "step3-rpn", "step4-detector"] {
        let log = fs::read_to_string(out.join(step).join("log.jsonl")).unwrap();
        let first: Value = serde_json::from_str(log.lines().next().unwrap()).unwrap();
        let learns_rpn = first["rpn_class"].as_f64().unwrap() > 0.0;
        assert_eq!(learns_rpn, step.ends_with("rpn"), "{step}: {first}");
    }
    let final_weights = Bundle::load(&out.join("bundle")).unwrap().weights().unwrap();
    let second = dir.path().join("second");
    let checkpoint = out.join("step2-detector/checkpoint.pt");
    let spec = ["train", "export", "--ranks", "8,8", "--threads", "1"];
    let classes = data.join("classes.txt");
    let result = edge_rcnn(&spec, &[("--checkpoint", &checkpoint), ("--out", &second), ("--classes", &classes)]);
    assert!(result.status.success(), "{}", stderr(&result));
    let second = Bundle::load(&second).unwrap().weights().unwrap();
    // The trunk of step 2 is the final one; the fc layers moved on in step 4.
    assert_eq!(final_weights.get("conv5.weight"), second.get("conv5.weight"));
    assert_ne!(final_weights.get("fc7_u.weight"), second.get("fc7_u.weight"));
}

#[test]
fn fast_rcnn_training_takes_proposals_from_a_file_and_names_a_picture_without_any() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out, file) = (dir.path().join("voc"), dir.path().join("out"), dir.path().join("boxes.jsonl"));
    tiny_voc::make_voc(&data);
    let line = |n: u32| format!("{{\"image\":\"{n:06}\",\"boxes\":[[0,0,64,48],[30,20,90,80],[10,10,120,90]]}}\n");
    fs::write(&file, (0..9).map(line).collect::<String>()).unwrap();
    let args = ["--method", "fast-rcnn", "--epochs", "0.3"];
    let result = train(&data, &args, &[("--out", &out), ("--proposals", &file)]);
    assert_eq!(result.status.code(), Some(2));
    assert!(stderr(&result).contains("no line for picture 000009"), "{}", stderr(&result));

    fs::write(&file, (0..10).map(line).collect::<String>()).unwrap();
    let with_windows = [&args[..], &["--crop", "0.5"]].concat();
    let result = train(&data, &with_windows, &[("--out", &out), ("--proposals", &file)]);
    assert_eq!(result.status.code(), Some(2));
    assert!(stderr(&result).contains("stored proposals belong to whole pictures"), "{}", stderr(&result));

    let result = train(&data, &args, &[("--out", &out), ("--proposals", &file)]);
    assert!(result.status.success(), "{}", stderr(&result));
    assert!(Bundle::load(&out.join("bundle")).is_ok());
}

#[test]
fn a_classifier_is_pre_trained_on_class_folders_and_starts_a_detector_with_folded_batch_normalisation() {
    let dir = tempfile::tempdir().unwrap();
    let (classes, pre) = (dir.path().join("classes"), dir.path().join("pre"));
    for (class, colour) in [("red", [220, 30, 20]), ("blue", [20, 40, 220])] {
        fs::create_dir_all(classes.join(class)).unwrap();
        for n in 0..8u8 {
            let shade = Rgb(colour.map(|c: u8| c.saturating_add(n)));
            RgbImage::from_pixel(40, 40, shade).save(classes.join(class).join(format!("{n}.png"))).unwrap();
        }
    }
    let net = ["--ranks", "8,8", "--threads", "1", "--batch-norm"];
    let args: Vec<&str> =
        ["train", "classify", "--phases", "32:2,48:1", "--batch", "4", "--lr", "0.01"].into_iter().chain(net).collect();
    let result = edge_rcnn(&args, &[("--data", &classes), ("--val", &classes), ("--out", &pre)]);
    assert!(result.status.success(), "{}", stderr(&result));
    let log = fs::read_to_string(pre.join("log.jsonl")).unwrap();
    let accuracy: Vec<f64> =
        log.lines().filter_map(|l| serde_json::from_str::<Value>(l).unwrap()["val_top1"].as_f64()).collect();
    assert_eq!(accuracy.len(), 3);
    assert!(accuracy.iter().all(|a| (0.0..=1.0).contains(a)));

    let (data, out) = (dir.path().join("voc"), dir.path().join("out"));
    tiny_voc::make_voc(&data);
    let args = ["--epochs", "0.3", "--batch-norm", "--val-split", "train", "--val-limit", "3"];
    let result = train(&data, &args, &[("--out", &out), ("--init", &pre.join("checkpoint.pt"))]);
    assert!(result.status.success(), "{}", stderr(&result));
    // conv1 is frozen by default: what was pre-trained is what ships, normalisation folded in.
    let weights = Bundle::load(&out.join("bundle")).unwrap().weights().unwrap();
    assert!(weights.get("conv1.gain").is_none() && weights.get("fc8.weight").is_none());
    let log = fs::read_to_string(out.join("joint/log.jsonl")).unwrap();
    let last: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(last["eval"]["pictures"], 3);
}

#[test]
fn options_that_cannot_work_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().unwrap();
    let (data, out) = (dir.path().join("voc"), dir.path().join("out"));
    tiny_voc::make_voc(&data);
    for (args, says) in [
        (vec!["--architecture", "zg"], "no network \"zg\""),
        (vec!["--ranks", "8"], "expected two numbers"),
        (vec!["--init", "nowhere.pt"], "nowhere.pt"),
        (vec!["--split", "missing"], "missing"),
    ] {
        let result = train(&data, &args, &[("--out", &out)]);
        assert!(!result.status.success());
        assert!(stderr(&result).contains(says), "{args:?}: {}", stderr(&result));
    }
}
