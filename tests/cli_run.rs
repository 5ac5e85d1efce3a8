//! `edge-rcnn run` as users run it: the real program on drawn frames, folders, pipes, with readers that leave and
//! signals that come.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::{Cursor, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use edge_rcnn::source::Synthetic;
use image::{ImageFormat, Rgb, RgbImage};
use serde_json::Value;

#[path = "common/running.rs"]
mod running;

use running::{Running, Said, command, run};

fn pattern(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| Rgb([(x * 3) as u8, (y * 5) as u8, (x + y) as u8]))
}

fn encoded(image: &RgbImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn y4m(width: usize, height: usize, frames: usize) -> Vec<u8> {
    let mut film = format!("YUV4MPEG2 W{width} H{height} F25:1 Ip A1:1 C420jpeg\n").into_bytes();
    for n in 0..frames {
        film.extend(b"FRAME\n");
        film.extend((0..width * height * 3 / 2).map(|i| (i + 40 * n) as u8));
    }
    film
}

fn photo() -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/photos/astronaut.jpg").display().to_string()
}

#[test]
fn drawn_frames_stream_with_statistics_until_sigterm_which_says_bye_within_two_seconds() {
    let mut running = Running::start(&["--source", "synthetic", "--size", "160x120", "--stats-every", "0.2"]);
    let hello = running.next();
    assert_eq!(
        (&hello["type"], &hello["source"], &hello["live"]),
        (&"hello".into(), &"synthetic".into(), &true.into())
    );
    assert_eq!(hello["labels"].as_array().unwrap().len(), 20);
    let status = running.until("status");
    assert_eq!(
        (&status["camera"], &status["width"], &status["height"]),
        (&"streaming".into(), &160.into(), &120.into())
    );
    assert_eq!(running.next()["type"], "frame");
    let stats = (0..20).map(|_| running.until("stats")).find(|s| s["frames"].as_u64() > Some(0)).unwrap();
    assert!(stats["fps"].as_f64().unwrap() > 0.0, "{stats}");
    let percentile = |name: &str| stats["latency_ms"][name].as_f64().unwrap();
    assert!(percentile("p50") <= percentile("p95") && percentile("p95") <= percentile("p99"), "{stats}");
    assert!(stats["rss_mb"].as_f64().unwrap() > 1.0, "{stats}");

    running.signal("TERM");
    let bye = running.until("bye");
    assert_eq!((&bye["reason"], &bye["schema"]), (&"sigterm".into(), &"edge-rcnn/1".into()));
    let (code, log, took) = running.end();
    assert_eq!(code, 0, "{log}");
    assert!(took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn sigint_ends_a_run_that_waits_for_bytes() {
    let mut child = command(&["--source", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    let stdin = child.stdin.take();
    let mut running = Running::of(child);
    assert_eq!(running.next()["type"], "hello");
    running.signal("INT");
    assert_eq!(running.until("bye")["reason"], "sigint");
    let (code, log, took) = running.end();
    assert_eq!(code, 0, "{log}");
    assert!(took < Duration::from_secs(2), "{took:?}");
    drop(stdin);
}

#[test]
fn with_slow_inference_frames_are_fresh_and_the_others_counted() {
    let period = 1000.0 / 60.0;
    // Slower than the source on any machine.
    let args = ["--source", "synthetic", "--fps", "60", "--scale", "600", "--precision", "f32", "--threads", "1"];
    let mut running = Running::start(&args);
    let frames: Vec<Value> = (0..6).map(|_| running.until("frame")).collect();
    running.signal("TERM");
    assert!(running.until("bye")["dropped"]["busy"].as_u64() > Some(0));
    running.end();
    // The first frame waits for the network's plan. Of the others most are fresh however busy the machine is.
    let fresh = |f: &&Value| f["stage_ms"]["wait"].as_f64().unwrap() < 2.0 * period;
    assert!(frames[1..].iter().filter(fresh).count() >= 3, "{frames:?}");
}

#[test]
fn a_folder_is_looked_at_file_by_file_and_a_bad_file_is_told() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("1.png"), encoded(&pattern(80, 60), ImageFormat::Png)).unwrap();
    fs::write(dir.path().join("2.jpg"), b"\xFF\xD8 not really").unwrap();
    fs::write(dir.path().join("10.jpg"), encoded(&pattern(64, 90), ImageFormat::Jpeg)).unwrap();
    let said = run(&["--source", dir.path().to_str().unwrap()], b"");
    assert_eq!(said.code, 0, "{}", said.log);
    let names: Vec<&str> = said.of("frame").iter().map(|f| f["path"].as_str().unwrap()).collect();
    assert!(names.len() == 2 && names[0].ends_with("/1.png") && names[1].ends_with("/10.jpg"), "{names:?}");
    assert!(said.of("error")[0]["message"].as_str().unwrap().contains("2.jpg"));
    let sizes: Vec<_> = said.of("status").iter().map(|s| (s["width"].as_u64(), s["height"].as_u64())).collect();
    assert_eq!(sizes, [(Some(80), Some(60)), (Some(64), Some(90))]);
    assert_eq!(said.of("frame")[1]["dropped"]["corrupt"], 1);
    assert_eq!((&said.bye()["reason"], &said.bye()["frames"]), (&"end".into(), &2.into()));
}

#[test]
fn a_loop_over_files_goes_on_at_the_rate_asked_for() {
    let mut running = Running::start(&["--source", &photo(), "--loop", "--fps", "5"]);
    let frames: Vec<Value> = (0..6).map(|_| running.until("frame")).collect();
    running.signal("TERM");
    running.until("bye");
    assert_eq!(running.end().0, 0);
    assert_eq!(frames.iter().map(|f| f["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5]);
    let times: Vec<u64> = frames.iter().map(|f| f["t_mono_us"].as_u64().unwrap()).collect();
    assert!(times.is_sorted() && times[5] - times[0] >= 700_000, "{times:?}");
}

#[test]
fn every_kind_of_raw_frame_comes_through_a_pipe() {
    let (width, height) = (32usize, 24usize);
    let sizes = [("yuyv", 2.0), ("nv12", 1.5), ("i420", 1.5), ("rgb24", 3.0), ("bgr24", 3.0), ("gray", 1.0)];
    for (format, bytes) in sizes {
        let film: Vec<u8> = (0..3 * ((width * height) as f64 * bytes) as u32).map(|i| (i * 7) as u8).collect();
        let args = ["--source", "-", "--format", format, "--size", "32x24", "--every-frame"];
        let said = run(&args, &film);
        assert_eq!((said.code, said.of("frame").len()), (0, 3), "{format}: {}", said.log);
        assert_eq!((&said.of("status")[0]["format"], &said.lines[0]["live"]), (&format.into(), &false.into()));
    }
}

#[test]
fn the_same_picture_gives_the_same_detections_raw_and_as_a_file() {
    let photo = photo();
    let picture = image::open(&photo).unwrap().into_rgb8();
    let size = format!("{}x{}", picture.width(), picture.height());
    let sharp = ["--scale", "300", "--proposals", "100", "--min-score", "0"];
    let args = |from: &[&'static str], rest: &[&str]| -> Said {
        let mut all: Vec<&str> = from.to_vec();
        all.extend(rest);
        all.extend(sharp);
        run(&all, picture.as_raw())
    };
    let raw = args(&["--source", "-", "--format", "rgb24", "--every-frame"], &["--size", &size]);
    let file = args(&["--every-frame"], &["--source", &photo]);
    assert!(!raw.of("frame")[0]["detections"].as_array().unwrap().is_empty());
    assert_eq!(raw.of("frame")[0]["detections"], file.of("frame")[0]["detections"]);
}

#[test]
fn y4m_comes_from_a_pipe_and_from_a_file_and_its_broken_end_is_told() {
    let film = y4m(64, 48, 4);
    let said = run(&["--source", "-", "--every-frame"], &film);
    assert_eq!((said.code, said.of("frame").len()), (0, 4), "{}", said.log);
    assert_eq!(said.of("status")[0]["format"], "i420");

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("film.y4m");
    fs::write(&path, &film[..film.len() - 7]).unwrap();
    let said = run(&["--source", path.to_str().unwrap()], b"");
    assert_eq!((said.code, said.of("frame").len()), (0, 3), "{}", said.log);
    assert!(said.of("error")[0]["message"].as_str().unwrap().contains("cut off"));
}

#[test]
fn motion_jpeg_comes_from_a_pipe_with_anything_between_the_pictures() {
    let jpeg = encoded(&pattern(48, 40), ImageFormat::Jpeg);
    let film = [&jpeg[..], b"\r\n--frame\r\n\r\n", &jpeg, &jpeg[..jpeg.len() - 10], &jpeg].concat();
    let said = run(&["--source", "-", "--every-frame"], &film);
    assert_eq!((said.code, said.of("frame").len()), (0, 3), "{}", said.log);
    assert_eq!(said.bye()["dropped"]["corrupt"], 1);
}

#[test]
fn a_live_pipe_never_waits_for_the_detector() {
    let said = run(&["--source", "-", "--scale", "400"], &y4m(320, 240, 60));
    assert_eq!(said.code, 0, "{}", said.log);
    assert_eq!(said.bye()["captured"], 60);
    assert!(said.bye()["dropped"]["busy"].as_u64() > Some(0), "{}", said.bye());
}

#[test]
fn a_reader_that_leaves_is_a_normal_end_without_a_word() {
    let mut running = Running::start(&["--source", "synthetic", "--quiet"]);
    running.next();
    let Running { mut child, lines } = running;
    drop(lines);
    let mut log = String::new();
    child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
    assert_eq!((child.wait().unwrap().code(), log.as_str()), (Some(0), ""));
}

#[test]
fn frames_without_detections_are_left_out_if_asked_to_and_statistics_go_on() {
    let args = ["--source", "synthetic", "--only-detections", "--min-score", "1", "--stats-every", "0.1"];
    let mut running = Running::start(&args);
    assert_eq!(running.next()["type"], "hello");
    running.until("status");
    let kinds: Vec<Value> = (0..4).map(|_| running.next()["type"].clone()).collect();
    assert_eq!(kinds, ["stats"; 4]);
    running.signal("TERM");
    running.until("bye");
    assert_eq!(running.end().0, 0);
}

#[test]
fn the_truth_of_drawn_frames_is_known_to_tests() {
    let truth = Synthetic::truth(640, 480, 57);
    assert!(truth.iter().all(|b| b.x2 - b.x1 > 80.0 && b.x2 <= 640.0 && b.y2 <= 480.0), "{truth:?}");
}

#[test]
fn what_cannot_be_a_source_is_said_with_the_way_out_and_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    let empty = dir.path().to_str().unwrap();
    let cases: [(&[&str], &[u8], i32, &str); 9] = [
        (&["--source", "/nowhere/at/all"], b"", 66, "synthetic"),
        (&["--source", empty], b"", 66, "no JPEG"),
        (&["--source", "/nowhere.y4m"], b"", 66, "cannot be opened"),
        (&["--source", "-", "--format", "nv12"], b"", 2, "--size"),
        (&["--source", "-", "--size", "0x9"], b"", 2, "640x480"),
        (&["--source", "-", "--fps", "5"], b"", 2, "ffmpeg -r"),
        (&["--source", "synthetic", "--stats-every", "0"], b"", 2, "--stats-every"),
        (&["--source", "-"], b"RIFF....AVI ", 1, "yuv4mpegpipe"),
        (&["--source", "-"], b"", 1, "no frame came"),
    ];
    for (args, input, code, word) in cases {
        let said = run(args, input);
        assert_eq!(said.code, code, "{args:?}: {}", said.log);
        assert!(said.log.contains(word), "{args:?}: {}", said.log);
    }
}
