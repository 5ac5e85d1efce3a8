//! Pictures of events, written by the real program: into a folder with little space, and onto a disk that is full.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[path = "common/running.rs"]
mod running;

use running::{FAST, Running};

const SYNTHETIC: [&str; 10] = [
    "--source",
    "synthetic",
    "--fps",
    "100",
    "--min-score",
    "0",
    "--track",
    "--snapshot-every",
    "0s",
    "--snapshot-dir",
];

fn snapshots(dir: &Path) -> Vec<(String, u64)> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().map_or(0, |m| m.len())))
        .filter(|(name, _)| !name.starts_with('.'))
        .collect();
    found.sort();
    found
}

#[test]
fn an_object_that_appears_leaves_an_annotated_picture_and_the_oldest_make_room() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("events").display().to_string();
    let mut run = Running::start(&[&SYNTHETIC[..], &[&path, "--snapshot-max-mb", "1", "--size", "1280x960"]].concat());
    // Ten megabytes of frames pass by; one of pictures stays.
    let mut first = None;
    for _ in 0..400 {
        run.until("frame");
        let names = snapshots(Path::new(&path));
        if first.is_none() {
            first = names.first().map(|(name, _)| name.clone());
        } else if names.first().map(|(name, _)| name) != first.as_ref() {
            break;
        }
    }
    run.signal("TERM");
    run.until("bye");
    assert_eq!(run.end().0, 0);
    let names = snapshots(Path::new(&path));
    assert_ne!(names.first().map(|(name, _)| name), first.as_ref(), "{names:?}");
    assert!(names.iter().map(|(_, length)| length).sum::<u64>() <= 1_000_000, "{names:?}");
    let (name, _) = &names[0];
    assert!(name.starts_with("edge-rcnn-20") && name.ends_with("Z.jpg"), "{name}");
    let picture = image::open(Path::new(&path).join(name)).unwrap();
    assert_eq!((picture.width(), picture.height()), (1280, 960));
}

#[test]
fn a_full_disk_costs_pictures_and_nothing_else() {
    // A disk of 16 KiB in a name space of our own; needs no rights where the system allows that to users.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().display().to_string();
    let small = format!("mount -t tmpfs -o size=16k none '{path}'");
    let may = Command::new("unshare").args(["-rm", "sh", "-c", &small]).stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        let _ = writeln!(std::io::stderr(), "snapshots: SKIPPED: this system lets us mount no disk that is soon full");
        return;
    }
    let script = format!("{small} && exec \"$0\" run \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["-rm", "sh", "-c", &script, env!("CARGO_BIN_EXE_edge-rcnn")]).args(FAST).args(SYNTHETIC);
    command.arg(&path).env_remove("RUST_LOG").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut run = Running::of(command.spawn().unwrap());
    let error = run.until("error");
    assert!(error["message"].as_str().unwrap().contains("No space left on device"), "{error}");
    let seq = run.until("frame")["seq"].as_u64().unwrap();
    (0..20).for_each(|_| drop(run.until("frame")));
    assert!(run.until("frame")["seq"].as_u64().unwrap() > seq + 20);
    run.signal("TERM");
    assert_eq!(run.until("bye")["reason"], "sigterm");
    assert_eq!(run.end().0, 0);
}

#[test]
fn a_folder_that_cannot_be_made_is_said_before_the_first_frame() {
    let mut run = Running::start(&[&SYNTHETIC[..], &["/proc/nowhere"]].concat());
    assert!(run.lines.next().is_none());
    let (code, log, _) = run.end();
    assert!(code == 1 && log.contains("/proc/nowhere") && log.contains("snapshots need a folder"), "{code}: {log}");
}
