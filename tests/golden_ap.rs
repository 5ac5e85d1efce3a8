//! Average precision against pycocotools and the VOC devkit's formula.
//!
//! The golden files come from `tests/python/golden_ap.py`. The data sets and detections go through our readers: the
//! COCO ones as the JSON pycocotools was given, the VOC ones as a devkit folder and `comp4_det_*` files written here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use edge_rcnn::eval::{Dataset, Metric, Report, Scored, evaluate, read_saved, write_coco, write_voc};
use serde_json::Value;

/// Largest difference allowed. The sums are taken in another order than numpy's; nothing else differs.
const TOLERANCE: f64 = 1e-12;

fn golden(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn assert_close(what: &str, got: Option<f64>, want: &Value) {
    let (got, want) = (got.unwrap_or(-1.0), want.as_f64().unwrap());
    assert!((got - want).abs() < TOLERANCE, "{what}: {got} instead of {want}");
}

fn assert_classes(report: &Report, want: &Value) {
    let want = want.as_object().unwrap();
    for class in &report.classes {
        match want.get(&class.name) {
            Some(ap) => assert_close(&class.name, class.ap, ap),
            None => assert_eq!(class.ap, None, "{} has no objects", class.name),
        }
    }
}

/// The data set and detections of `ap_coco.json`, read from files in `dir`.
fn coco_case(dir: &Path, golden: &Value) -> (Dataset, Vec<Vec<Scored>>) {
    let (instances, results) = (dir.join("instances.json"), dir.join("results.json"));
    fs::write(&instances, golden["instances"].to_string()).unwrap();
    fs::write(&results, golden["results"].to_string()).unwrap();
    let set = Dataset::coco_annotations(&instances, dir).unwrap();
    let detections = read_saved(&results, "", &set).unwrap();
    (set, detections)
}

/// The data set and detections of `ap_voc.json`, read from a devkit folder made in `dir`.
fn voc_case(dir: &Path, golden: &Value) -> (Dataset, Vec<Vec<Scored>>) {
    fs::create_dir_all(dir.join("Annotations")).unwrap();
    fs::create_dir_all(dir.join("ImageSets/Main")).unwrap();
    let mut split = String::new();
    for image in golden["images"].as_array().unwrap() {
        let id = image["id"].as_str().unwrap();
        let mut xml = "<annotation><size><width>640</width><height>480</height></size>".to_owned();
        for o in image["objects"].as_array().unwrap() {
            let (name, difficult) = (o["name"].as_str().unwrap(), u8::from(o["difficult"].as_bool().unwrap()));
            write!(xml, "<object><name>{name}</name><difficult>{difficult}</difficult><bndbox>").unwrap();
            for (tag, v) in ["xmin", "ymin", "xmax", "ymax"].iter().zip(o["box"].as_array().unwrap()) {
                write!(xml, "<{tag}>{v}</{tag}>").unwrap();
            }
            xml.push_str("</bndbox></object>");
        }
        xml.push_str("</annotation>");
        fs::write(dir.join("Annotations").join(format!("{id}.xml")), xml).unwrap();
        writeln!(split, "{id}").unwrap();
    }
    fs::write(dir.join("ImageSets/Main/val.txt"), split).unwrap();
    let classes: Vec<&str> = golden["classes"].as_array().unwrap().iter().map(|c| c.as_str().unwrap()).collect();
    fs::write(dir.join("classes.txt"), classes.join("\n")).unwrap();

    let found = dir.join("found");
    fs::create_dir_all(&found).unwrap();
    for class in classes {
        let lines: Vec<String> = (golden["found"][class].as_array().unwrap().iter())
            .map(|d| d.as_array().unwrap().iter().map(|v| v.to_string().replace('"', "")).collect::<Vec<_>>().join(" "))
            .collect();
        fs::write(found.join(format!("comp4_det_val_{class}.txt")), lines.join("\n")).unwrap();
    }
    let set = Dataset::voc_annotations(dir, "val").unwrap();
    let detections = read_saved(&found, "val", &set).unwrap();
    (set, detections)
}

#[test]
fn the_twelve_coco_numbers_and_every_class_agree_with_pycocotools() {
    let (dir, golden) = (tempfile::tempdir().unwrap(), golden("ap_coco.json"));
    let (set, detections) = coco_case(dir.path(), &golden);
    let report = evaluate(&set, &detections, Metric::Coco);
    for (name, value) in report.coco.unwrap().rows() {
        assert_close(name, value, &golden["expected"]["summary"][name]);
    }
    assert_classes(&report, &golden["expected"]["ap"]);
    assert_close("mAP", Some(report.map), &golden["expected"]["summary"]["AP"]);
}

#[test]
fn both_voc_metrics_agree_with_the_devkit_formula_in_every_class() {
    let (dir, golden) = (tempfile::tempdir().unwrap(), golden("ap_voc.json"));
    let (set, detections) = voc_case(dir.path(), &golden);
    assert_classes(&evaluate(&set, &detections, Metric::Voc07), &golden["expected"]["voc07"]);
    assert_classes(&evaluate(&set, &detections, Metric::Voc), &golden["expected"]["voc"]);
}

#[test]
fn detections_saved_in_either_format_score_the_same_to_the_last_digit() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [coco_case(dir.path(), &golden("ap_coco.json")), voc_case(dir.path(), &golden("ap_voc.json"))];
    for (n, (set, detections)) in cases.iter().enumerate() {
        let (json, folder) = (dir.path().join(format!("{n}.json")), dir.path().join(format!("again{n}")));
        write_coco(&json, set, detections).unwrap();
        write_voc(&folder, "val", set, detections).unwrap();
        for metric in [Metric::Voc07, Metric::Voc, Metric::Coco] {
            let first = evaluate(set, detections, metric);
            for saved in [&json, &folder] {
                assert_eq!(evaluate(set, &read_saved(saved, "val", set).unwrap(), metric), first);
            }
        }
    }
}
