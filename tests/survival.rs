//! What programs that run for months meet besides cameras, by the number in `tests/CASES.md`, with the real program.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use edge_rcnn::clock::{Clock, SystemClock};

#[path = "common/running.rs"]
mod running;

use running::{Running, run};

#[test]
fn case_13_tiny_black_and_constant_frames_have_a_line_with_nothing_found() {
    let sizes = [(1, 1), (1, 200), (200, 1), (3, 2), (64, 48)];
    for ((width, height), value) in sizes.into_iter().flat_map(|size| [0, 128, 255].map(|value| (size, value))) {
        let size = format!("{width}x{height}");
        let said = run(
            &["--source", "-", "--format", "rgb24", "--every-frame", "--size", &size],
            &vec![value; width * height * 3],
        );
        let frames = said.of("frame");
        assert_eq!((said.code, frames.len()), (0, 1), "{size} of {value}: {}", said.log);
        assert_eq!(frames[0]["detections"].as_array().map(Vec::len), Some(0), "{size} of {value}: {}", frames[0]);
    }
}

/// The trainer alone needs more.
#[cfg(not(feature = "train"))]
#[test]
fn case_21_the_program_needs_no_library_beyond_the_c_librarys() {
    let output = Command::new("ldd").arg(env!("CARGO_BIN_EXE_edge-rcnn")).output().unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    let known =
        ["linux-vdso", "linux-gate", "libc.", "libm.", "libgcc_s.", "libdl.", "libpthread.", "librt.", "ld-linux"];
    let names = printed.lines().filter_map(|line| line.split_whitespace().next()?.rsplit('/').next());
    let others: Vec<&str> = names.filter(|name| !known.iter().any(|known| name.starts_with(known))).collect();
    assert!(output.status.success() && others.is_empty(), "{others:?} in {printed}");
}

#[test]
fn case_22_a_line_can_be_read_within_ten_milliseconds() {
    let mut running = Running::start(&["--source", "synthetic", "--size", "96x64", "--fps", "20"]);
    running.until("frame");
    let mut late: Vec<f64> = (0..40)
        .map(|_| {
            let frame = running.until("frame");
            let now = SystemClock.now().mono.as_secs_f64() * 1e3;
            now - frame["t_mono_us"].as_f64().unwrap() / 1e3 - frame["latency_ms"].as_f64().unwrap()
        })
        .collect();
    running.signal("TERM");
    running.until("bye");
    running.end();
    // A machine with other work lets us wait for many of them. Lines that wait in a buffer are late all, by a period or more.
    late.sort_by(f64::total_cmp);
    assert!(late[0] > -1.0 && late[10] < 10.0, "{late:?}");
}

#[test]
fn case_24_sigterm_ends_a_run_that_waits_for_somebody_to_open_the_other_end_of_its_source() {
    let dir = tempfile::tempdir().unwrap();
    let pipe = dir.path().join("film.y4m");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut running = Running::start(&["--source", pipe.to_str().unwrap()]);
    // Signals are listened to from the start; when that is, only the system knows.
    let caught = |id: u32| {
        let status = fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let mask = status.lines().find_map(|l| l.strip_prefix("SigCgt:")).unwrap().trim().to_owned();
        u64::from_str_radix(&mask, 16).unwrap() >> 14 & 1 == 1
    };
    while !caught(running.child.id()) {
        std::thread::sleep(Duration::from_millis(5));
    }
    running.signal("TERM");
    let bye = running.next();
    assert_eq!((&bye["type"], &bye["reason"], &bye["captured"]), (&"bye".into(), &"sigterm".into(), &0.into()));
    let (code, log, took) = running.end();
    assert!(code == 0 && took < Duration::from_secs(2), "{code} after {took:?}: {log}");
}

/// The table names a test or a check for each case; this holds it to naming ones that exist.
#[test]
fn the_table_of_cases_names_tests_that_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/CASES.md")).unwrap();
    let rows: Vec<&str> = table.lines().filter(|l| l.starts_with("| ") && l.as_bytes()[2].is_ascii_digit()).collect();
    let numbers: Vec<usize> = rows.iter().map(|row| row[2..].split(' ').next().unwrap().parse().unwrap()).collect();
    assert_eq!(numbers, (1..=25).collect::<Vec<_>>());
    for row in rows {
        let mut named = 0;
        for name in row.split('`').skip(1).step_by(2) {
            let Some((file, test)) = name.split_once("::") else {
                // A script, or an option.
                named += usize::from(name.contains('/') && root.join(name.split(' ').next().unwrap()).exists());
                continue;
            };
            let text = fs::read_to_string(root.join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(text.contains(&format!("fn {test}(")), "{file} has no test {test}");
            named += 1;
        }
        assert!(named > 0, "{row}");
    }
}
