//! A real ffmpeg writes into `edge-rcnn run --source -`: motion JPEG, Y4M and raw frames of a real film, which is how RTSP
//! and H.264 come in.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

#[path = "common/running.rs"]
mod running;

use running::{FAST, Said};

/// The film, if it and an ffmpeg are there; otherwise says past the test runner's capture why not.
fn film(test: &str) -> Option<PathBuf> {
    let skipped = |why: &str| {
        let _ = writeln!(std::io::stderr(), "{test}: SKIPPED: {why}");
        None
    };
    let film = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared/data/video/car-detection.mp4");
    if !film.is_file() {
        return skipped(&format!("{} is not there", film.display()));
    }
    let ffmpeg = Command::new("ffmpeg").arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    match ffmpeg {
        Ok(status) if status.success() => Some(film),
        _ => skipped("there is no ffmpeg (apt-get install ffmpeg)"),
    }
}

/// Eight frames with a car in them, scaled to a width and converted as `how` says.
fn through_a_pipe(film: &PathBuf, how: &[&str], args: &[&str]) -> Said {
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-nostdin", "-v", "error", "-ss", "15", "-i"]).arg(film).args([
        "-frames:v",
        "8",
        "-vf",
        "scale=384:216",
    ]);
    let mut writer = ffmpeg.args(how).arg("-").stdout(Stdio::piped()).spawn().unwrap();
    let out = writer.stdout.take().unwrap();
    let mut reader = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    reader.env_remove("RUST_LOG").arg("run").args(FAST).args(["--source", "-", "--every-frame"]).args(args);
    let output = reader.stdin(out).output().unwrap();
    assert!(writer.wait().unwrap().success());
    Said::of_output(output)
}

/// Class and score of every object of every frame.
fn looks(said: &Said) -> Vec<Vec<(u64, f64)>> {
    let of = |d: &serde_json::Value| (d["class_id"].as_u64().unwrap(), d["score"].as_f64().unwrap());
    let frames = said.of("frame").into_iter();
    frames.map(|f| f["detections"].as_array().unwrap().iter().map(of).collect()).collect()
}

#[test]
fn a_film_comes_through_ffmpeg_as_motion_jpeg_as_y4m_and_raw_and_shows_the_same() {
    let Some(film) = film("a_film_comes_through_ffmpeg_as_motion_jpeg_as_y4m_and_raw_and_shows_the_same") else {
        return;
    };
    let sharp = ["--scale", "300", "--proposals", "300", "--min-score", "0.2", "--precision", "f32"];
    let with = |more: &[&'static str]| [&sharp[..], more].concat();
    let raw = |format: &'static str| with(&["--format", format, "--size", "384x216"]);

    let mjpeg = through_a_pipe(&film, &["-f", "image2pipe", "-c:v", "mjpeg", "-q:v", "2"], &with(&[]));
    let y4m = through_a_pipe(&film, &["-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe"], &with(&[]));
    let i420 = through_a_pipe(&film, &["-pix_fmt", "yuv420p", "-f", "rawvideo"], &raw("i420"));
    let nv21 = through_a_pipe(&film, &["-pix_fmt", "nv21", "-f", "rawvideo"], &raw("nv21"));
    let uyvy = through_a_pipe(&film, &["-pix_fmt", "uyvy422", "-f", "rawvideo"], &raw("uyvy"));
    for (said, format) in [(&mjpeg, "encoded"), (&y4m, "i420"), (&i420, "i420"), (&nv21, "nv21"), (&uyvy, "uyvy")] {
        assert_eq!((said.code, said.of("frame").len()), (0, 8), "{format}: {}", said.log);
        let status = said.of("status")[0];
        assert_eq!((&status["width"], &status["height"]), (&384.into(), &216.into()), "{status}");
        assert_eq!(status["format"], format);
    }
    // The same pixels, whatever stands around them.
    assert_eq!(looks(&y4m), looks(&i420));
    let best = |said: &Said| -> Vec<Option<(u64, f64)>> { looks(said).iter().map(|f| f.first().copied()).collect() };
    assert!(best(&i420).iter().flatten().count() > 5, "nothing is found in the film: {:?}", best(&i420));
    for other in [&mjpeg, &nv21, &uyvy] {
        let pairs = best(&i420).into_iter().zip(best(other));
        let alike = pairs.filter(|pair| match pair {
            (Some(a), Some(b)) => a.0 == b.0 && (a.1 - b.1).abs() < 0.1,
            (None, None) => true,
            _ => false,
        });
        assert!(alike.count() >= 7, "{:?} and {:?}", best(&i420), best(other));
    }
}
