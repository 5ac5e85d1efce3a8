//! `edge-rcnn eval` as a program: output, files, exit codes.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn eval(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-rcnn")).arg("eval").args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn last_line(output: &Output) -> Value {
    assert!(output.status.success(), "{}", text(&output.stderr));
    serde_json::from_str(text(&output.stdout).lines().last().unwrap()).unwrap()
}

/// The COCO case of the golden file as two files; gives their paths and the golden value.
fn golden_coco(dir: &Path) -> (String, String, Value) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/ap_coco.json");
    let golden: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let (instances, results) = (dir.join("instances.json"), dir.join("results.json"));
    fs::write(&instances, golden["instances"].to_string()).unwrap();
    fs::write(&results, golden["results"].to_string()).unwrap();
    (format!("coco:{}", instances.display()), results.display().to_string(), golden)
}

#[test]
fn saved_detections_are_scored_as_pycocotools_does_and_written_again_without_loss() {
    let dir = tempfile::tempdir().unwrap();
    let (data, results, golden) = golden_coco(dir.path());
    let out = dir.path().join("again").display().to_string();
    let first = eval(&["--data", &data, "--rescore", &results, "--out", &out, "--json"]);
    let line = last_line(&first);
    assert_eq!(line["metric"], "coco");
    for (name, key) in [("mAP", "AP"), ("AP50", "AP50"), ("APs", "APs"), ("AR100", "AR100")] {
        let (got, want) = (line[name].as_f64().unwrap(), golden["expected"]["summary"][key].as_f64().unwrap());
        assert!((got - want).abs() < 1e-9, "{name}: {got} instead of {want}");
    }
    assert!(line["ap"]["car"].is_number() && line["ap"].get("toothbrush").is_none());

    for saved in [out.clone(), format!("{out}/detections.json")] {
        let again = eval(&["--data", &data, "--rescore", &saved, "--json"]);
        assert_eq!(text(&again.stdout), text(&first.stdout));
    }
}

#[test]
fn without_json_the_table_alone_is_printed() {
    let dir = tempfile::tempdir().unwrap();
    let (data, results, _) = golden_coco(dir.path());
    let output = eval(&["--data", &data, "--rescore", &results, "--metric", "voc07", "--limit", "10"]);
    let table = text(&output.stdout);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 6, "{table}");
    assert!(lines[0].starts_with("class") && lines[1].starts_with("car") && lines[5].starts_with("mean"));
}

#[test]
fn no_detections_score_zero() {
    let dir = tempfile::tempdir().unwrap();
    let (data, results, _) = golden_coco(dir.path());
    fs::write(&results, "[]").unwrap();
    for metric in ["voc07", "voc", "coco"] {
        let line = last_line(&eval(&["--data", &data, "--rescore", &results, "--metric", metric, "--json"]));
        assert_eq!(line["mAP"], 0.0);
    }
}

/// A VOC folder with three small pictures of noise; every picture has one object of the class.
fn noise_voc(dir: &Path, class: &str) -> String {
    for folder in ["Annotations", "ImageSets/Main", "JPEGImages"] {
        fs::create_dir_all(dir.join(folder)).unwrap();
    }
    let mut state = 1u32;
    for id in ["a", "b", "c"] {
        let noise = image::RgbImage::from_fn(96, 64, |_, _| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            image::Rgb([(state >> 8) as u8, (state >> 16) as u8, (state >> 24) as u8])
        });
        noise.save(dir.join(format!("JPEGImages/{id}.png"))).unwrap();
        let xml = format!(
            "<annotation><size><width>96</width><height>64</height></size><object><name>{class}</name><bndbox>\
             <xmin>10</xmin><ymin>10</ymin><xmax>60</xmax><ymax>50</ymax></bndbox></object></annotation>"
        );
        fs::write(dir.join(format!("Annotations/{id}.xml")), xml).unwrap();
    }
    fs::write(dir.join("ImageSets/Main/test.txt"), "a\nb\nc\n").unwrap();
    format!("voc:{}", dir.display())
}

#[test]
fn a_run_of_the_detector_and_its_saved_detections_score_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let data = noise_voc(dir.path(), "dog");
    let out = dir.path().join("out").display().to_string();
    let quick = ["--scale", "96", "--proposals", "20", "--min-score", "0", "--threads", "1", "--json"];
    for metric in ["voc07", "voc", "coco"] {
        let flags = ["--data", &data, "--metric", metric];
        let run = eval(&[&flags[..], &quick, &["--out", &out, "--recall"]].concat());
        let mut line = last_line(&run);
        assert!(line["detections"].as_u64().unwrap() > 0);
        assert_eq!(line["recall"]["objects"], 3);
        assert!(line["stage_ms"]["trunk"].as_f64().unwrap() > 0.0);
        for key in ["recall", "stage_ms"] {
            line.as_object_mut().unwrap().remove(key);
        }
        for saved in [out.clone(), format!("{out}/detections.json")] {
            assert_eq!(last_line(&eval(&[&flags[..], &["--rescore", &saved, "--json"]].concat())), line);
        }
    }
}

#[test]
fn counting_recall_does_not_change_the_detections() {
    let dir = tempfile::tempdir().unwrap();
    let data = noise_voc(dir.path(), "dog");
    let saved = |name: &str, more: &[&str]| {
        let out = dir.path().join(name).display().to_string();
        let flags = ["--data", &data, "--scale", "96", "--proposals", "5", "--min-score", "0", "--out", &out];
        assert!(eval(&[&flags[..], more].concat()).status.success());
        fs::read_to_string(dir.path().join(name).join("detections.json")).unwrap()
    };
    assert_eq!(saved("with", &["--recall"]), saved("without", &[]));
}

#[test]
fn a_picture_that_cannot_be_decoded_stops_the_run_and_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let data = noise_voc(dir.path(), "dog");
    fs::write(dir.path().join("JPEGImages/b.png"), "not a picture").unwrap();
    let output = eval(&["--data", &data, "--scale", "96"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("b.png") && output.stdout.is_empty(), "{}", text(&output.stderr));
    // The picture is out of reach of the limit here.
    assert!(eval(&["--data", &data, "--scale", "96", "--limit", "1"]).status.success());
}

#[test]
fn data_of_classes_the_model_does_not_know_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let data = noise_voc(dir.path(), "unicorn");
    fs::write(dir.path().join("classes.txt"), "unicorn\n").unwrap();
    let output = eval(&["--data", &data]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("no class in common"), "{}", text(&output.stderr));
}

#[test]
fn what_is_missing_or_wrong_is_said_with_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let (data, results, _) = golden_coco(dir.path());
    let nowhere = dir.path().join("nowhere").display().to_string();
    fs::write(dir.path().join("broken.json"), "{\"images\":[").unwrap();
    let broken = format!("coco:{}", dir.path().join("broken.json").display());
    let pictures = noise_voc(&dir.path().join("voc"), "dog");
    let model = ["--data", &pictures, "--model", &nowhere];
    let cases: [(&[&str], i32, &str); 8] = [
        (&["--data", "voc"], 2, "voc:DIR"),
        (&["--data", &data, "--metric", "map"], 2, "voc07"),
        (&["--data", &format!("voc:{nowhere}"), "--rescore", &results], 66, "ImageSets/Main/test.txt"),
        (&["--data", &data, "--rescore", &nowhere], 66, "nowhere"),
        (&["--data", &data], 66, "30 of 30 pictures are missing"),
        (&model, 66, "nowhere"),
        (&["--data", &data, "--recall", "--rescore", &results], 2, "--recall"),
        (&["--data", &broken, "--rescore", &results], 1, "broken.json"),
    ];
    for (args, code, word) in cases {
        let output = eval(args);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{said}");
        assert!(said.contains(word) && output.stdout.is_empty(), "{said}");
    }
}
