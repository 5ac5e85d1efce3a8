//! `edge-rcnn detect` as users run it: the real program, in a folder of its own, on pictures good and bad.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use image::{DynamicImage, ImageBuffer, ImageFormat, Luma, LumaA, Rgb, RgbImage, Rgba};
use serde::Deserialize;
use tempfile::TempDir;

/// Every field that may be written; others are an error here, so that the documentation stays complete.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum Line {
    Image {
        path: String,
        width: usize,
        height: usize,
        scale: f64,
        proposals: usize,
        detections: Vec<Detection>,
        #[serde(default)]
        dropped: usize,
        stage_ms: serde_json::Map<String, serde_json::Value>,
    },
    Error {
        path: String,
        message: String,
    },
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct Detection {
    label: String,
    class_id: usize,
    score: f64,
    #[serde(rename = "box")]
    corners: [f64; 4],
}

/// Small inputs and few regions: these tests are about everything but the network.
const FAST: [&str; 4] = ["--scale", "64", "--proposals", "20"];

fn program(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    command.current_dir(dir).env_remove("RUST_LOG").arg("detect").args(FAST).args(args);
    command
}

fn detect(dir: &Path, args: &[&str]) -> Output {
    program(dir, args).output().unwrap()
}

fn lines(output: &Output) -> Vec<Line> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}: {l}"))).collect()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn bytes(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut out = Cursor::new(Vec::new());
    image.into().write_to(&mut out, format).unwrap();
    out.into_inner()
}

/// A picture with something in it: the network's answers to plain gray would all be alike.
fn pattern(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 7) as u8, (y * 5) as u8, (x * y / 9) as u8]))
}

fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    dir
}

/// Only the header of a PNG that claims 65536×65536 pixels.
fn giant() -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR\0\x01\0\0\0\x01\0\0\x08\x02\0\0\0".to_vec();
    png.extend([0xe3, 0xe6, 0xa7, 0xb4]);
    png.extend(b"\0\0\0\0IDAT\x35\xaf\x06\x1e");
    png
}

#[test]
fn every_kind_of_picture_becomes_one_line_in_the_order_given() {
    let gray16: ImageBuffer<Luma<u16>, _> = ImageBuffer::from_fn(50, 40, |x, y| Luma([(x * y * 30) as u16]));
    let alpha: ImageBuffer<Rgba<u8>, _> = ImageBuffer::from_fn(40, 50, |x, y| Rgba([x as u8, y as u8, 90, x as u8]));
    let gray_alpha: ImageBuffer<LumaA<u8>, _> = ImageBuffer::from_pixel(33, 44, LumaA([9, 9]));
    let files = [
        ("plain.jpg", bytes(pattern(80, 60), ImageFormat::Jpeg), (80, 60)),
        ("gray16.png", bytes(gray16, ImageFormat::Png), (50, 40)),
        ("alpha.png", bytes(alpha.clone(), ImageFormat::Png), (40, 50)),
        ("alpha.webp", bytes(alpha, ImageFormat::WebP), (40, 50)),
        ("gray-alpha.png", bytes(gray_alpha, ImageFormat::Png), (33, 44)),
        ("cmyk.jpg", include_bytes!("pictures/cmyk.jpg").to_vec(), (80, 16)),
        ("turned.jpg", turned(pattern(80, 60)), (60, 80)),
        ("one-pixel.png", bytes(pattern(1, 1), ImageFormat::Png), (1, 1)),
        ("one-row.png", bytes(pattern(20_000, 1), ImageFormat::Png), (20_000, 1)),
        ("one-column.png", bytes(pattern(1, 20_000), ImageFormat::Png), (1, 20_000)),
    ];
    let dir = folder(&files.clone().map(|(name, content, _)| (name, content)));
    let mut args = vec!["--min-score", "0"];
    args.extend(files.iter().map(|f| f.0));
    let output = detect(dir.path(), &args);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let lines = lines(&output);
    assert_eq!(lines.len(), files.len());
    for (line, (name, _, size)) in lines.iter().zip(&files) {
        let Line::Image { path, width, height, scale, proposals, detections, dropped, stage_ms } = line else {
            panic!("{line:?}")
        };
        assert_eq!((path.as_str(), (*width, *height)), (*name, *size));
        assert!(*scale > 0.0 && *proposals <= 20 && *dropped == 0, "{line:?}");
        for stage in ["decode", "preprocess", "trunk", "proposals", "roi_pool", "head", "postprocess"] {
            assert!(stage_ms[stage].as_f64().unwrap() >= 0.0, "{stage}");
        }
        check(detections, *width, *height);
    }
}

/// The promises about detections that hold whatever the model says.
fn check(detections: &[Detection], width: usize, height: usize) {
    assert!(detections.len() <= 100);
    for d in detections {
        let [x1, y1, x2, y2] = d.corners;
        assert!(0.0 <= x1 && x1 < x2 && x2 <= width as f64, "{d:?}");
        assert!(0.0 <= y1 && y1 < y2 && y2 <= height as f64, "{d:?}");
        assert!((0.0..=1.0).contains(&d.score) && d.class_id >= 1 && !d.label.is_empty(), "{d:?}");
        for v in d.corners {
            assert!((v * 100.0 - (v * 100.0).round()).abs() < 1e-6, "{d:?}");
        }
    }
    assert!(detections.windows(2).all(|pair| pair[0].score >= pair[1].score));
}

/// A JPEG whose EXIF says: turn by 90°.
fn turned(stored: RgbImage) -> Vec<u8> {
    let jpeg = bytes(stored, ImageFormat::Jpeg);
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    [&jpeg[..2], exif, &jpeg[2..]].concat()
}

#[test]
fn bad_pictures_of_a_folder_are_reported_and_the_rest_goes_on() {
    let good = bytes(pattern(64, 48), ImageFormat::Jpeg);
    let dir = folder(&[
        ("in/10.jpg", good.clone()),
        ("in/2.jpg", good[..good.len() / 2].to_vec()),
        ("in/3.png", giant()),
        ("in/4.png", Vec::new()),
        ("in/5.png", b"no picture at all".to_vec()),
        ("in/1.jpg", good),
        ("in/readme.txt", b"not looked at".to_vec()),
    ]);
    let output = detect(dir.path(), &["in"]);
    assert_eq!(code(&output), 1);
    let expected = [
        ("in/1.jpg", ""),
        ("in/2.jpg", "is cut off"),
        ("in/3.png", "65536×65536 pixels is more than"),
        ("in/4.png", "is empty"),
        ("in/5.png", "convert it first"),
        ("in/10.jpg", ""),
    ];
    let lines = lines(&output);
    assert_eq!(lines.len(), expected.len());
    for (line, (name, reason)) in lines.iter().zip(expected) {
        match line {
            Line::Image { path, .. } => assert_eq!((path.as_str(), ""), (name, reason)),
            Line::Error { path, message } => {
                assert_eq!(path, name);
                assert!(!reason.is_empty() && message.contains(reason) && message.starts_with(name), "{message}");
                assert!(said(&output).contains(message.as_str()), "stderr says it too: {}", said(&output));
            }
        }
    }
    assert!(said(&output).contains("4 inputs failed, 2 pictures looked at"), "{}", said(&output));
}

#[test]
fn what_is_not_there_has_its_own_exit_code() {
    let dir = folder(&[("a.png", bytes(pattern(30, 30), ImageFormat::Png))]);
    let output = detect(dir.path(), &["nowhere.jpg", "a.png"]);
    assert_eq!(code(&output), 66);
    let lines = lines(&output);
    assert!(matches!(&lines[0], Line::Error { path, message } if path == "nowhere.jpg" && message.contains("No such")));
    assert!(matches!(&lines[1], Line::Image { path, .. } if path == "a.png"));

    let output = detect(dir.path(), &["a.png", "--model", "no-model"]);
    assert_eq!((code(&output), output.stdout.len()), (66, 0));
    assert!(said(&output).contains("no-model/model.toml: missing"), "{}", said(&output));
}

#[test]
fn a_model_that_cannot_be_used_is_refused_before_anything_is_written() {
    let dir =
        folder(&[("a.png", bytes(pattern(30, 30), ImageFormat::Png)), ("model/model.toml", b"format = 99\n".to_vec())]);
    for model in ["model", "a.png"] {
        let output = detect(dir.path(), &["a.png", "--model", model]);
        assert_eq!((code(&output), output.stdout.len()), (78, 0), "{}", said(&output));
    }
}

#[test]
fn wrong_usage_is_told_apart_and_says_what_is_right() {
    let dir = folder(&[("a.png", bytes(pattern(30, 30), ImageFormat::Png))]);
    let cases: [(&[&str], &str); 8] = [
        (&[], "PATH"),
        (&["a.png", "--classes", "cat,persn"], "did you mean \"person\""),
        (&["a.png", "--classes", "zzzzzzzz"], "aeroplane"),
        (&["a.png", "--nms", "7"], "--nms 7: must be 0 to 1"),
        (&["a.png", "--scale", "5"], "--scale 5: must be 16 to 16384"),
        (&["a.png", "--min-score", "NaN"], "must be 0 to 1"),
        (&["a.png", "--annotate", "out.gif"], "must end in .jpg"),
        (&["a.png", "--annotate", "a.png"], "would overwrite the picture"),
    ];
    for (args, expected) in cases {
        let output = detect(dir.path(), args);
        assert_eq!((code(&output), output.stdout.len()), (2, 0), "{args:?}: {}", said(&output));
        assert!(said(&output).contains(expected), "{args:?}: {}", said(&output));
    }
}

#[test]
fn a_reader_that_goes_away_ends_the_program_without_a_word() {
    let picture = bytes(pattern(30, 30), ImageFormat::Png);
    let names: Vec<String> = (0..60).map(|i| format!("{i}.png")).collect();
    let dir = folder(&names.iter().map(|n| (n.as_str(), picture.clone())).collect::<Vec<_>>());
    let mut child = program(dir.path(), &["."]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap());
    let mut first = String::new();
    reader.read_line(&mut first).unwrap();
    assert!(first.contains("\"path\":\"./0.png\""), "{first}");
    drop(reader);
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(0), "{errors}");
    assert!(!errors.contains("error") && !errors.contains("panic"), "{errors}");
}

#[test]
fn logs_stay_off_the_data_however_loud_and_quiet_means_quiet() {
    let dir = folder(&[("a.png", bytes(pattern(30, 30), ImageFormat::Png))]);
    let loud = detect(dir.path(), &["-vv", "a.png"]);
    assert_eq!((code(&loud), lines(&loud).len()), (0, 1));
    let quiet = detect(dir.path(), &["-q", "a.png"]);
    assert_eq!((code(&quiet), lines(&quiet).len()), (0, 1));
    assert_eq!(said(&quiet), "");
}

#[test]
fn filters_limit_what_is_reported_and_the_same_picture_gives_the_same_answer() {
    let dir = folder(&[("a.png", bytes(pattern(90, 70), ImageFormat::Png))]);
    let found = |args: &[&str]| {
        let output = detect(dir.path(), &[&["a.png", "--min-score", "0"], args].concat());
        match lines(&output).pop() {
            Some(Line::Image { detections, .. }) => detections,
            other => panic!("{other:?}: {}", said(&output)),
        }
    };
    let all = found(&[]);
    assert!(all.len() > 3, "with no lower limit there is always something: {all:?}");
    assert_eq!(found(&[]), all);
    assert_eq!(found(&["--max-detections", "3"]), all[..3]);
    let few = found(&["--classes", "cat, dog"]);
    assert!(!few.is_empty() && few.iter().all(|d| d.label == "cat" || d.label == "dog"), "{few:?}");
    assert_eq!(found(&["--min-score", "1"]), []);
}

#[test]
fn kernels_can_be_chosen_all_find_the_same_and_those_not_there_are_named() {
    let dir = folder(&[("a.png", bytes(pattern(90, 60), ImageFormat::Png))]);
    // In real numbers: integers would differ from the engine's, and stand under tests of their own.
    let flags = ["a.png", "-v", "--min-score", "0.01", "--precision", "f32", "--kernels"];
    let with = |kernels: &str| detect(dir.path(), &[&flags[..], &[kernels]].concat());
    let found = |output: &Output| match lines(output).remove(0) {
        Line::Image { detections, .. } => detections,
        Line::Error { message, .. } => panic!("{message}"),
    };
    let engine = with("tract");
    assert!(said(&engine).contains("kernels: tract"), "{}", said(&engine));
    let engine = found(&engine);
    for name in ["auto", "scalar", "avx2", "avx512", "neon"] {
        let output = with(name);
        if code(&output) == 2 {
            assert!(said(&output).contains(&format!("--kernels {name}: this processor")), "{}", said(&output));
            continue;
        }
        let ours = found(&output);
        assert_eq!(ours.len(), engine.len(), "{name}");
        for (a, b) in ours.iter().zip(&engine) {
            assert!((a.score - b.score).abs() < 2e-4 && a.class_id == b.class_id, "{name}: {a:?}, tract: {b:?}");
        }
    }
    #[cfg(not(feature = "cuda"))]
    {
        let without = with("cuda");
        assert_eq!(code(&without), 2);
        assert!(said(&without).contains("--kernels cuda: this program was built without GPUs"), "{}", said(&without));
    }
    let wrong = with("quantum");
    assert_eq!(code(&wrong), 2);
    assert!(said(&wrong).contains("--kernels quantum: must be auto, tract, scalar"), "{}", said(&wrong));
}

#[test]
fn annotated_pictures_have_the_size_of_the_upright_originals_which_stay_untouched() {
    let jpeg = turned(pattern(80, 60));
    let dir = folder(&[
        ("in/a.jpg", jpeg.clone()),
        ("in/b.webp", bytes(pattern(70, 50), ImageFormat::WebP)),
        ("in/sub/a.jpg", bytes(pattern(40, 40), ImageFormat::Jpeg)),
    ]);
    let output = detect(dir.path(), &["in", "-r", "--min-score", "0", "--annotate", "out/new"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    for (name, size) in [("a.jpg", (60, 80)), ("b.jpg", (70, 50)), ("sub/a.jpg", (40, 40))] {
        assert_eq!(image::image_dimensions(dir.path().join("out/new").join(name)).unwrap(), size, "{name}");
    }
    assert_eq!(fs::read(dir.path().join("in/a.jpg")).unwrap(), jpeg);

    let output = detect(dir.path(), &["in/a.jpg", "--min-score", "0", "--annotate", "one.png"]);
    assert_eq!(code(&output), 0, "{}", said(&output));
    let drawn = image::open(dir.path().join("one.png")).unwrap().to_rgb8();
    let plain = edge_rcnn::frame::Picture::decode(&jpeg).unwrap();
    assert_eq!((drawn.width(), drawn.height()), (60, 80));
    assert!(drawn.as_raw() != &plain.rgb, "something was drawn");
}

#[test]
fn the_sample_photographs_hold_a_person_and_a_cat() {
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/photos");
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    let output = command
        .current_dir(&photos)
        .args(["detect", "--min-score", "0.3", "astronaut.jpg", "chelsea.jpg"])
        .output()
        .unwrap();
    let best = |line: &Line| match line {
        Line::Image { detections, .. } => detections.first().map(|d| d.label.clone()),
        Line::Error { message, .. } => panic!("{message}"),
    };
    let labels: Vec<_> = lines(&output).iter().map(best).collect();
    assert_eq!(labels, [Some("person".to_owned()), Some("cat".to_owned())]);
}
