//! What the program carries inside is one of the models of the repository, and they are as good and as small as is said.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use edge_rcnn::model::Bundle;
use serde_json::Value;

/// Points of mAP, of 100, that the model in 8 bits may lose.
const MAX_DROP: f64 = 0.5;
/// Bytes of the models in the repository: the one in 8 bits, and all of them.
const MOST: (usize, usize) = (24_000_000, 64_000_000);

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("models").join(name)
}

fn bytes(bundle: &Bundle) -> usize {
    bundle.trunk_onnx.len() + bundle.head_onnx.len()
}

#[test]
fn the_program_carries_the_model_in_8_bits() {
    assert!(Bundle::builtin().unwrap() == Bundle::load(&folder("zf-voc-int8")).unwrap());
}

#[test]
fn the_model_in_8_bits_was_made_of_the_real_one_and_loses_little() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("calibration/figures.json");
    let figures: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let (real, int8) = (folder("zf-voc"), folder("zf-voc-int8"));
    let (real, int8) = (Bundle::load(&real).unwrap(), Bundle::load(&int8).unwrap());
    let repeat = "run calibration/repeat.sh again";
    assert_eq!(figures["sha256_before"], real.sha256().unwrap(), "models/zf-voc has changed: {repeat}");
    assert_eq!(figures["sha256_after"], int8.sha256().unwrap(), "models/zf-voc-int8 is another one: {repeat}");
    let how = int8.manifest.quantization.unwrap();
    assert_eq!((&figures["method"], &figures["images_sha256"]), (&how.method.into(), &how.images_sha256.into()));
    assert!(figures["scored_images"].as_u64().unwrap() >= 500);
    let lost = (figures["mAP_before"].as_f64().unwrap() - figures["mAP_after"].as_f64().unwrap()) * 100.0;
    assert!((lost - figures["drop"].as_f64().unwrap()).abs() < 1e-9 && lost <= MAX_DROP, "{lost} points");
}

#[test]
fn the_models_are_no_larger_than_is_promised() {
    let [real, int8] = ["zf-voc", "zf-voc-int8"].map(|name| bytes(&Bundle::load(&folder(name)).unwrap()));
    assert!(int8 <= MOST.0 && real + int8 <= MOST.1, "{int8} and {real} bytes");
}
