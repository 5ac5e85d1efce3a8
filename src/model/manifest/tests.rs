#![allow(clippy::unwrap_used)]
use super::*;

fn sample() -> Manifest {
    Manifest::new("test", &crate::model::arch::ZF, vec!["cat".into(), "dog".into()])
}

#[test]
fn a_manifest_survives_writing_and_reading() {
    let text = sample().to_toml().unwrap();
    assert_eq!(Manifest::parse(&text).unwrap(), sample());
    assert!(text.contains("102.9801"), "means keep their short form:\n{text}");
}

#[test]
fn a_quantised_manifest_survives_too_and_its_keys_are_checked() {
    let quantization = Quantization { method: "mse".into(), images: 200, ..Quantization::default() };
    let manifest = Manifest { quantization: Some(quantization), ..sample() };
    let text = manifest.to_toml().unwrap();
    assert_eq!(Manifest::parse(&text).unwrap(), manifest);
    let message = Manifest::parse(&text.replace("images =", "image =")).unwrap_err().to_string();
    assert!(message.contains("quantization.images"), "{message}");
}

#[test]
fn a_mistyped_key_names_the_nearest_valid_one() {
    let text = sample().to_toml().unwrap().replace("max_detections", "max_detection");
    let message = Manifest::parse(&text).unwrap_err().to_string();
    assert!(message.contains("thresholds.max_detection`"), "{message}");
    assert!(message.contains("thresholds.max_detections"), "{message}");
}

#[test]
fn a_newer_format_is_refused_before_its_new_keys_are() {
    let text = sample().to_toml().unwrap().replace("format = 1", "format = 2\nbrand_new = true");
    assert!(matches!(Manifest::parse(&text).unwrap_err(), ManifestError::NewerFormat { found: 2 }));
}

#[test]
fn values_out_of_range_are_refused_by_field() {
    let cases: &[(&str, &str, &str)] = &[
        ("architecture = \"zf\"", "architecture = \"resnet\"", "resnet"),
        ("\"dog\"", "\"cat\"", "twice"),
        ("short_side = 600", "short_side = 2", "input.short_side"),
        ("score = 0.05", "score = 1.5", "thresholds.score"),
        ("score = 0.05", "score = nan", "thresholds.score"),
        ("pre_nms = 6000", "pre_nms = -1", "pre_nms"),
        ("stride = 16.0", "stride = 0.0", "anchors.stride"),
    ];
    for (from, to, expected) in cases {
        let text = sample().to_toml().unwrap();
        assert!(text.contains(from), "{from} not in\n{text}");
        let message = Manifest::parse(&text.replace(from, to)).unwrap_err().to_string();
        assert!(message.contains(expected), "{to}: {message}");
    }
}

#[test]
fn a_missing_key_is_named() {
    let text = sample().to_toml().unwrap().replace("max_detections = 100\n", "");
    let message = Manifest::parse(&text).unwrap_err().to_string();
    assert!(message.contains("max_detections"), "{message}");
}
