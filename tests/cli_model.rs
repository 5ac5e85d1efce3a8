//! The verbs `info` and `compress` as programs: output, messages, exit codes.
#![allow(clippy::unwrap_used)]

#[path = "common/tiny_voc.rs"]
mod tiny_voc;

use std::path::Path;
use std::process::{Command, Output};

use edge_rcnn::model::arch::ZF_PLAIN;
use edge_rcnn::model::{Bundle, Manifest, StorageType, Weights};

/// The model of real numbers.
const REAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/zf-voc");

fn edge_rcnn(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-rcnn")).args(args).output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn refused(output: &Output, code: i32) -> String {
    assert_eq!(output.status.code(), Some(code), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout.is_empty(), "a refusal prints nothing on standard output");
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn info_describes_the_built_in_model() {
    let text = stdout(&edge_rcnn(&["info"]));
    for expected in ["architecture", "classes       20: aeroplane,", "licence", "sha256", "conv1", "bbox_pred"] {
        assert!(text.contains(expected), "no `{expected}` in\n{text}");
    }
    let json: serde_json::Value = serde_json::from_str(&stdout(&edge_rcnn(&["info", "--json"]))).unwrap();
    assert_eq!(json["classes"].as_array().unwrap().len(), 20);
    assert_eq!(json["at"], serde_json::json!([600, 1000]));
    assert!(json["multiply_adds"].as_u64().unwrap() > 10_000_000_000);
}

#[test]
fn info_of_a_missing_model_names_the_file_and_exits_with_66() {
    let message = refused(&edge_rcnn(&["info", "/nonexistent/model"]), 66);
    assert!(message.contains("/nonexistent/model/model.toml: missing"), "{message}");
}

#[test]
fn compress_writes_a_model_that_info_reads_back() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("small");
    let out = out.to_str().unwrap();
    let table = stdout(&edge_rcnn(&[
        "compress",
        "--model",
        REAL,
        "--rank",
        "cls_score=4",
        "--rank",
        "bbox_pred=8",
        "--out",
        out,
    ]));
    assert_eq!(table.lines().count(), 4, "{table}");
    let json: serde_json::Value = serde_json::from_str(&stdout(&edge_rcnn(&["info", out, "--json"]))).unwrap();
    let rank = |layer: &str| {
        let rows = json["layers"].as_array().unwrap();
        rows.iter().find(|r| r["layer"] == layer).unwrap()["rank"].as_u64()
    };
    assert_eq!((rank("cls_score"), rank("bbox_pred"), rank("conv1")), (Some(4), Some(8), None));
}

#[test]
fn compress_fails_when_a_layer_name_matches_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("small");
    let out_text = out.to_str().unwrap();
    let message = refused(&edge_rcnn(&["compress", "--model", REAL, "--rank", "fc6_L=4", "--out", out_text]), 2);
    assert!(message.contains("`fc6_L`") && message.contains("fc6, fc7, cls_score, bbox_pred"), "{message}");
    refused(&edge_rcnn(&["compress", "--model", REAL, "--out", out_text]), 2);
    refused(&edge_rcnn(&["compress", "--model", REAL, "--rank", "cls_score", "--out", out_text]), 2);
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_damaged_model_is_refused_with_78() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("m");
    let out_text = out.to_str().unwrap();
    stdout(&edge_rcnn(&["compress", "--model", REAL, "--rank", "cls_score=4", "--out", out_text]));
    let head = out.join("head.onnx");
    let bytes = std::fs::read(&head).unwrap();
    std::fs::write(&head, &bytes[..bytes.len() / 2]).unwrap();
    let message = refused(&edge_rcnn(&["info", out_text]), 78);
    assert!(message.contains("head.onnx: sha256") && message.contains("files.head_sha256"), "{message}");
}

#[test]
fn ranks_are_chosen_by_measuring_heads_on_marked_pictures() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    tiny_voc::make_voc(&dir.path().join("data"));
    let weights = Weights::he_random(&ZF_PLAIN, 2, Some(9), Some(32), 5);
    let mut manifest = Manifest::new("tiny", &ZF_PLAIN, vec!["red".into(), "blue".into()]);
    (manifest.input.short_side, manifest.input.long_max, manifest.proposals.post_nms) = (96, 128, 20);
    let bundle = Bundle::from_weights(&ZF_PLAIN, &weights, manifest, StorageType::F32).unwrap();
    bundle.save(&dir.path().join("model")).unwrap();

    let (model, data, out) = (path("model"), format!("voc:{}", path("data")), path("small"));
    let what = ["compress", "--model", &model, "--data", &data, "--split", "train", "--limit", "2", "--out", &out];
    // An untrained network has nothing to lose, so the cheapest ranks win.
    let text = stdout(&edge_rcnn(&[&what[..], &["--target-drop", "100", "--threads", "1", "--json"]].concat()));
    let line = text.lines().find(|line| line.starts_with('{')).unwrap();
    let line: serde_json::Value = serde_json::from_str(line).unwrap();
    let rows = line["rows"].as_array().unwrap();
    assert_eq!((&line["pictures"], &rows[0]["ranks"]), (&2.into(), &serde_json::Value::Null));
    let whole = rows.iter().find(|row| row["whole"] == true).unwrap();
    assert_eq!(whole["mega_multiply_adds"], 4096.0 * (9216.0 + 4096.0) / 1e6);
    assert_eq!(whole["mAP"], rows[0]["mAP"], "the layers that the pairs stand for find the same");
    assert!(rows.iter().all(|row| row["head_ms"].as_f64().unwrap() > 0.0));
    let json: serde_json::Value = serde_json::from_str(&stdout(&edge_rcnn(&["info", &out, "--json"]))).unwrap();
    let rank =
        |layer: &str| json["layers"].as_array().unwrap().iter().find(|r| r["layer"] == layer).unwrap()["rank"].clone();
    assert_eq!((rank("fc6"), rank("fc7")), (2.into(), 2.into()));

    let refused = edge_rcnn(&[&what[..], &["--target-drop", "-1"]].concat());
    assert_eq!(refused.status.code(), Some(2));
}
