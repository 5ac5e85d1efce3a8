//! The whole detector against OpenCV's Caffe importer: the same ZF Faster R-CNN, the same pictures.
//!
//! `tests/python/make_caffe_zf.py` makes the model, `tests/python/opencv_reference.py` says what must be found in five
//! pictures and explains where OpenCV itself differs from the authors' code. Here the model goes through
//! `edge-rcnn import` and the detector, and every box is compared.
//!
//! Needs a Python with numpy and opencv-python-headless of the versions in `tests/python/requirements.txt`;
//! `EDGE_RCNN_PYTHON` names it. Without that variable the test says on standard error that it was skipped.
#![allow(clippy::unwrap_used, clippy::expect_used)]

#[path = "common/reference_python.rs"]
mod reference_python;

use std::io::Write;
use std::path::Path;
use std::process::Command;

use edge_rcnn::boxes::BBox;
use edge_rcnn::detector::{Detection, Detector, DetectorOptions};
use edge_rcnn::frame::Picture;
use edge_rcnn::model::Bundle;
use reference_python::python;

const BOX_TOLERANCE: f32 = 0.05;
const SCORE_TOLERANCE: f32 = 1e-4;

#[derive(serde::Deserialize)]
struct Expected {
    versions: serde_json::Value,
    pictures: Vec<ExpectedPicture>,
}

#[derive(serde::Deserialize)]
struct ExpectedPicture {
    picture: String,
    blob: (usize, usize),
    proposals: Vec<[f32; 4]>,
    detections: Vec<ExpectedDetection>,
}

#[derive(serde::Deserialize)]
struct ExpectedDetection {
    class_id: usize,
    score: f32,
    #[serde(rename = "box")]
    bbox: [f32; 4],
}

/// Past the capture of the test harness, so that a skipped test is seen.
fn say(text: &str) {
    std::io::stderr().write_all(format!("opencv_whole_detector: {text}\n").as_bytes()).unwrap();
}

fn succeed(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed:\n{out}{err}");
    out.into_owned()
}

/// Largest difference of box corners and of scores. Each expected detection is paired with the nearest one of its class.
fn compare(name: &str, expected: &[ExpectedDetection], mut found: Vec<Detection>) -> (f32, f32) {
    assert_eq!(found.len(), expected.len(), "{name}: number of detections");
    let (mut worst_box, mut worst_score) = (0f32, 0f32);
    for e in expected {
        let corners = |d: &Detection| {
            let b = BBox::from(d.rect);
            [b.x1, b.y1, b.x2, b.y2].iter().zip(e.bbox).fold(0f32, |worst, (a, b)| worst.max((a - b).abs()))
        };
        let best = (0..found.len())
            .filter(|i| found[*i].class_id == e.class_id)
            .min_by(|a, b| corners(&found[*a]).total_cmp(&corners(&found[*b])))
            .unwrap_or_else(|| panic!("{name}: no detection of class {} at {:?}", e.class_id, e.bbox));
        let d = found.swap_remove(best);
        let (px, score) = (corners(&d), (d.score - e.score).abs());
        assert!(px < BOX_TOLERANCE && score < SCORE_TOLERANCE, "{name}: {d:?} instead of {} {:?}", e.score, e.bbox);
        worst_box = worst_box.max(px);
        worst_score = worst_score.max(score);
    }
    (worst_box, worst_score)
}

#[test]
fn an_imported_model_finds_what_opencv_finds() {
    let Some(python) = python("opencv_whole_detector") else { return };
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/python");
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    for script in ["make_caffe_zf.py", "opencv_reference.py"] {
        succeed(Command::new(&python).arg(scripts.join(script)).arg(dir.path()));
    }
    let expected = std::fs::read(dir.path().join("expected.json")).unwrap();
    let expected: Expected = serde_json::from_slice(&expected).unwrap();
    assert_eq!(expected.pictures.len(), 5);
    assert!(
        expected.pictures.iter().all(|p| p.detections.len() > 12),
        "a model that finds next to nothing tests nothing"
    );

    let model = dir.path().join("model");
    let line = succeed(
        Command::new(env!("CARGO_BIN_EXE_edge-rcnn"))
            .arg("import")
            .args(["--prototxt".as_ref(), dir.path().join("zf.prototxt").as_os_str()])
            .args(["--caffemodel".as_ref(), dir.path().join("zf.caffemodel").as_os_str()])
            .args(["--out".as_ref(), model.as_os_str()]),
    );
    let line: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["architecture"], &line["classes"], &line["rpn"]), (&"zf".into(), &20.into(), &true.into()));

    let mut detector = Detector::new(Bundle::load(&model).unwrap(), DetectorOptions::default()).unwrap();
    for e in &expected.pictures {
        let detected = detector.detect(&Picture::open(&dir.path().join(&e.picture)).unwrap()).unwrap();
        assert_eq!(detected.input, e.blob, "{}: size of the network input", e.picture);
        assert_eq!(detected.proposals, e.proposals.len(), "{}: number of proposals", e.picture);
        let (px, score) = compare(&e.picture, &e.detections, detected.detections);
        let n = e.detections.len();
        say(&format!("{}: {n} detections, boxes within {px:.1e} pixels, scores within {score:.1e}", e.picture));
    }
    say(&format!("reference: {}", expected.versions));
}
