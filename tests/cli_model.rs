//! The verbs `info` and `compress` as programs: output, messages, exit codes.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::{Command, Output};

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
    let table = stdout(&edge_rcnn(&["compress", "--rank", "cls_score=4", "--rank", "bbox_pred=8", "--out", out]));
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
    let message = refused(&edge_rcnn(&["compress", "--rank", "fc6_L=4", "--out", out_text]), 2);
    assert!(message.contains("`fc6_L`") && message.contains("fc6, fc7, cls_score, bbox_pred"), "{message}");
    refused(&edge_rcnn(&["compress", "--out", out_text]), 2);
    refused(&edge_rcnn(&["compress", "--rank", "cls_score", "--out", out_text]), 2);
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_damaged_model_is_refused_with_78() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("m");
    let out_text = out.to_str().unwrap();
    stdout(&edge_rcnn(&["compress", "--rank", "cls_score=4", "--out", out_text]));
    let head = out.join("head.onnx");
    let bytes = std::fs::read(&head).unwrap();
    std::fs::write(&head, &bytes[..bytes.len() / 2]).unwrap();
    let message = refused(&edge_rcnn(&["info", out_text]), 78);
    assert!(message.contains("head.onnx: sha256") && message.contains("files.head_sha256"), "{message}");
}
