#![allow(clippy::unwrap_used)]
use super::*;
use crate::model::arch::{CAFFENET, ZF};

fn classes(n: usize) -> Vec<String> {
    (1..=n).map(|i| format!("class {i}")).collect()
}

/// A small but complete ZF: two classes, fc layers of rank 2.
fn tiny(seed: u64) -> Bundle {
    let weights = Weights::he_random(&ZF, 2, Some(9), Some(2), seed);
    Bundle::from_weights(&ZF, &weights, Manifest::new("tiny", &ZF, classes(2)), StorageType::F16).unwrap()
}

/// A saved tiny bundle whose files `spoil` has changed, and the message that loading it gives.
fn refusal(spoil: impl FnOnce(&Path)) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    tiny(1).save(&path).unwrap();
    spoil(&path);
    Bundle::load(&path).unwrap_err().to_string()
}

/// Replaces one tensor and writes matching checksums, so that only the tensor itself is wrong.
fn resave(path: &Path, change: impl FnOnce(&mut Weights)) {
    let bundle = Bundle::load(path).unwrap();
    let mut weights = bundle.weights().unwrap();
    change(&mut weights);
    let trunk_onnx = trunk_onnx(&ZF, &weights, StorageType::F32).unwrap();
    let head_onnx = head_onnx(&ZF, &weights, StorageType::F32).unwrap();
    Bundle { trunk_onnx, head_onnx, ..bundle }.save(path).unwrap();
}

#[test]
fn a_bundle_survives_saving_and_loading() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("zf-tiny");
    let bundle = tiny(1);
    bundle.save(&path).unwrap();
    assert_eq!(Bundle::load(&path).unwrap(), bundle);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing temporary is left");
}

#[test]
fn saving_replaces_a_bundle_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m");
    tiny(1).save(&path).unwrap();
    tiny(2).save(&path).unwrap();
    assert_eq!(Bundle::load(&path).unwrap(), tiny(2));
    let other = dir.path().join("photos");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("a.jpg"), "x").unwrap();
    assert!(matches!(tiny(1).save(&other).unwrap_err(), BundleError::NotABundle { .. }));
    assert!(other.join("a.jpg").exists());
}

#[test]
fn f32_weights_come_back_exactly_and_f16_within_half_a_unit() {
    let weights = Weights::he_random(&CAFFENET, 3, None, Some(2), 5);
    let manifest = Manifest::new("s", &CAFFENET, classes(3));
    let exact = Bundle::from_weights(&CAFFENET, &weights, manifest.clone(), StorageType::F32).unwrap();
    assert!(!exact.manifest.has_rpn);
    assert_eq!(exact.weights().unwrap(), weights);
    let half = Bundle::from_weights(&CAFFENET, &weights, manifest, StorageType::F16).unwrap();
    assert!(half.trunk_onnx.len() * 19 < exact.trunk_onnx.len() * 10);
    for (name, tensor) in &half.weights().unwrap().0 {
        for (got, want) in tensor.data.iter().zip(&weights.get(name).unwrap().data) {
            assert!((got - want).abs() <= want.abs() / 2048.0 + 6e-8, "{name}: {got} {want}");
        }
    }
}

#[test]
fn weights_beyond_f16_stay_exact() {
    let mut weights = Weights::he_random(&ZF, 2, Some(9), Some(2), 5);
    weights.0.get_mut("fc7_v.weight").unwrap().data[3] = 1e6;
    let bundle = Bundle::from_weights(&ZF, &weights, Manifest::new("x", &ZF, classes(2)), StorageType::F16).unwrap();
    assert_eq!(bundle.weights().unwrap().get("fc7_v.weight"), weights.get("fc7_v.weight"));
}

#[test]
fn a_missing_file_is_named() {
    let message = refusal(|p| fs::remove_file(p.join("head.onnx")).unwrap());
    assert!(message.contains("head.onnx: missing"), "{message}");
    let message = Bundle::load(Path::new("/nonexistent/m")).unwrap_err().to_string();
    assert!(message.contains("/nonexistent/m/model.toml: missing"), "{message}");
    let file = tempfile::NamedTempFile::new().unwrap();
    let message = Bundle::load(file.path()).unwrap_err().to_string();
    assert!(message.contains("a bundle is a directory"), "{message}");
}

#[test]
fn a_changed_byte_fails_the_checksum() {
    let message = refusal(|p| {
        let mut bytes = fs::read(p.join("trunk.onnx")).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(p.join("trunk.onnx"), bytes).unwrap();
    });
    assert!(message.contains("trunk.onnx: sha256") && message.contains("files.trunk_sha256"), "{message}");
}

#[test]
fn a_truncated_onnx_with_a_matching_checksum_is_still_refused() {
    for keep in [0.0, 0.1, 0.5, 0.9, 0.999] {
        let message = refusal(|p| {
            let bundle = Bundle::load(p).unwrap();
            let keep = (bundle.head_onnx.len() as f64 * keep) as usize;
            Bundle { head_onnx: bundle.head_onnx[..keep].to_vec(), ..bundle }.save(p).unwrap();
        });
        assert!(message.contains("head.onnx: "), "{message}");
    }
}

#[test]
fn nan_weights_are_refused_by_tensor() {
    let message = refusal(|p| resave(p, |w| w.0.get_mut("conv4.bias").unwrap().data[7] = f32::NAN));
    assert!(message.contains("trunk.onnx: tensor `conv4.bias` holds NaN"), "{message}");
    let mut weights = Weights::he_random(&ZF, 2, Some(9), Some(2), 1);
    weights.0.get_mut("fc6_v.weight").unwrap().data[0] = f32::INFINITY;
    let error = Bundle::from_weights(&ZF, &weights, Manifest::new("x", &ZF, classes(2)), StorageType::F32);
    assert!(error.unwrap_err().to_string().contains("fc6_v.weight"));
}

#[test]
fn one_class_name_too_many_is_refused() {
    let message = refusal(|p| {
        let bundle = Bundle::load(p).unwrap();
        Bundle { manifest: Manifest { classes: classes(3), ..bundle.manifest }, ..bundle }.save(p).unwrap();
    });
    assert!(
        message.contains("head.onnx: `bbox_pred` has 12 outputs") || message.contains("`cls_score` has 3"),
        "{message}"
    );
    assert!(message.contains("lists 3 names"), "{message}");
}

#[test]
fn anchors_that_do_not_fit_the_rpn_are_refused() {
    let message = refusal(|p| {
        let mut bundle = Bundle::load(p).unwrap();
        bundle.manifest.anchors.scales.push(64.0);
        bundle.save(p).unwrap();
    });
    assert!(message.contains("trunk.onnx: tensor `rpn_cls_score.weight` is [18,"), "{message}");
}

#[test]
fn errors_of_the_manifest_name_its_file() {
    let edit = |from: &'static str, to: &'static str| {
        move |p: &Path| {
            let file = p.join("model.toml");
            let text = fs::read_to_string(&file).unwrap();
            assert!(text.contains(from));
            fs::write(file, text.replace(from, to)).unwrap();
        }
    };
    for (from, to, expected) in [
        ("format = 1", "format = 9", "`format` is 9"),
        ("architecture = \"zf\"", "architecture = \"zff\"", "`architecture` is `zff`"),
        ("short_side", "short_sid", "did you mean `input.short_side`"),
    ] {
        let message = refusal(edit(from, to));
        assert!(message.contains("model.toml: ") && message.contains(expected), "{message}");
    }
}

#[test]
fn the_builtin_bundle_loads() {
    let bundle = Bundle::builtin().unwrap();
    assert_eq!(bundle.manifest.classes.len(), 20);
}
