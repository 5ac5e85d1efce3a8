//! The program as a service: what it tells a service manager, and the shipped unit and settings.
#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

#[path = "common/running.rs"]
mod running;

use running::{Running, command};

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("cross/systemd").join(name)
}

/// A program that believes to run under a service manager, which is this test.
struct Managed {
    run: Running,
    messages: Receiver<String>,
    _dir: tempfile::TempDir,
}

impl Managed {
    fn start(args: &[&str], watchdog: Option<Duration>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(180))).unwrap();
        let mut command = command(args);
        command.env("NOTIFY_SOCKET", &path);
        watchdog.map(|time| command.env("WATCHDOG_USEC", time.as_micros().to_string()));
        let run = Running::kept(command.spawn().unwrap());
        // As a service manager does, it reads at once: a socket holds few messages, and those beyond are lost.
        let (heard, messages) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(length) = socket.recv(&mut buffer) {
                if heard.send(String::from_utf8(buffer[..length].to_vec()).unwrap()).is_err() {
                    return;
                }
            }
        });
        Self { run, messages, _dir: dir }
    }

    /// The next message that assigns this variable, and what was said before it.
    fn until(&self, variable: &str) -> (String, Vec<String>) {
        let mut before = Vec::new();
        loop {
            let message = self.messages.recv_timeout(Duration::from_secs(180)).unwrap();
            if message.lines().any(|line| line.split('=').next() == Some(variable)) {
                return (message, before);
            }
            before.push(message);
        }
    }
}

#[test]
fn a_service_manager_hears_of_loading_readiness_life_reloading_and_the_end() {
    let args = ["--source", "synthetic", "--size", "160x120", "--stats-every", "0.2"];
    let mut managed = Managed::start(&args, Some(Duration::from_millis(600)));
    let (ready, before) = managed.until("READY");
    assert!(ready.contains("STATUS=waiting for synthetic"), "{ready}");
    assert!(before.iter().any(|m| m.contains("EXTEND_TIMEOUT_USEC=")), "{before:?}");
    // READY comes after hello, so hello is there without waiting for a frame.
    assert_eq!(managed.run.next()["type"], "hello");

    for _ in 0..3 {
        managed.until("WATCHDOG");
    }
    let status = loop {
        let (message, _) = managed.until("STATUS");
        if message.contains("frames a second") {
            break message;
        }
    };
    assert!(status.contains("p95"), "{status}");

    managed.run.signal("HUP");
    let (reloading, _) = managed.until("RELOADING");
    let micros = reloading.lines().find_map(|l| l.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(micros.parse::<u64>().unwrap() > 1_000_000, "{reloading}");
    managed.until("READY");
    assert_eq!(managed.run.until("status")["camera"], "streaming");
    assert_eq!(managed.run.until("status")["reloaded"], true);

    managed.run.signal("TERM");
    managed.until("STOPPING");
    assert_eq!(managed.run.until("bye")["reason"], "sigterm");
    let (code, log, took) = managed.run.end();
    assert!(code == 0 && took < Duration::from_secs(2), "{took:?}: {log}");
}

#[test]
fn case_24_sigterm_while_the_model_is_being_loaded_ends_the_run_with_bye_alone() {
    // On a busy machine the signal may come when all is loaded: another try.
    let (mut managed, bye) = (0..20)
        .find_map(|_| {
            let args = ["--source", "synthetic", "--scale", "600", "--proposals", "300"];
            let mut managed = Managed::start(&args, None);
            let (loading, _) = managed.until("EXTEND_TIMEOUT_USEC");
            assert!(loading.contains("STATUS=loading"), "{loading}");
            managed.run.signal("TERM");
            managed.until("STOPPING");
            let first = managed.run.next();
            if first["type"] == "hello" {
                managed.run.until("bye");
                managed.run.end();
                return None;
            }
            Some((managed, first))
        })
        .unwrap();
    assert_eq!((&bye["type"], &bye["schema"]), (&"bye".into(), &"edge-rcnn/1".into()));
    assert_eq!((&bye["reason"], &bye["captured"], &bye["frames"]), (&"sigterm".into(), &0.into(), &0.into()));
    assert!(managed.run.lines.next().is_none());
    let (code, log, took) = managed.run.end();
    assert!(code == 0 && took < Duration::from_secs(2), "{took:?}: {log}");
}

#[test]
fn a_pipe_into_which_nobody_writes_is_not_a_program_that_hangs() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut command = command(&["--source", "-"]);
    command.env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "400000").stdin(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut buffer, mut pings) = ([0; 4096], 0);
    while pings < 3 {
        let length = socket.recv(&mut buffer).unwrap();
        pings += usize::from(&buffer[..length] == b"WATCHDOG=1");
    }
    drop(child.stdin.take());
    child.wait().unwrap();
}

#[test]
fn logs_have_the_journals_prefixes_only_where_standard_error_is_the_journal() {
    let log = |journal: &str| {
        // The shell knows its standard error's device and inode, as the service manager does.
        let script = format!("exec 2>&1; {journal} exec \"$0\" run --source /nowhere");
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(script).arg(env!("CARGO_BIN_EXE_edge-rcnn")).env_remove("RUST_LOG");
        String::from_utf8(shell.output().unwrap().stdout).unwrap()
    };
    assert!(log("").starts_with("error: /nowhere"), "{}", log(""));
    let journal = log("JOURNAL_STREAM=$(stat -L -c %d:%i /proc/self/fd/2)");
    assert!(journal.starts_with("<3>/nowhere"), "{journal}");
    assert!(log("JOURNAL_STREAM=1:2").starts_with("error: "));
}

#[test]
fn the_shipped_settings_are_good() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    let output = command.arg("config").arg("--config").arg(shipped("edge-rcnn.toml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // What is commented out is good too.
    let text = std::fs::read_to_string(shipped("edge-rcnn.toml")).unwrap();
    let on = |line: &str| match line.strip_prefix("# ") {
        Some(rest) if rest.starts_with('[') || rest.split(' ').nth(1) == Some("=") => format!("{rest}\n"),
        _ => format!("{line}\n"),
    };
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text.lines().map(on).collect::<String>()).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    let output = command.arg("config").arg("--config").arg(file.path()).output().unwrap();
    let (printed, log) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success() && printed.contains("[class.person]") && printed.contains("[[zone]]"),
        "{printed}{log}"
    );
}

#[test]
fn the_shipped_unit_is_accepted_by_systemd_and_exposes_little() {
    let mut analyze = Command::new("systemd-analyze");
    if analyze.arg("--version").output().is_err() {
        let _ = writeln!(std::io::stderr(), "service: SKIPPED: there is no systemd-analyze (Debian package systemd)");
        return;
    }
    // The program it starts has to exist, and be called as the unit calls it.
    let dir = tempfile::tempdir().unwrap();
    let unit = dir.path().join("edge-rcnn.service");
    let text = std::fs::read_to_string(shipped("edge-rcnn.service")).unwrap();
    let here = text.replace("/usr/local/bin/edge-rcnn", env!("CARGO_BIN_EXE_edge-rcnn"));
    assert_ne!(here, text);
    std::fs::write(&unit, here).unwrap();
    let run = |args: &[&str]| {
        let output = Command::new("systemd-analyze").args(args).arg(&unit).output().unwrap();
        let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        (output.status.success(), text)
    };
    let (good, said) = run(&["verify", "--man=no"]);
    // Keys it does not know are only warned of; warnings about other units of this machine are not ours.
    assert!(good && !said.contains("edge-rcnn.service:"), "{said}");
    let (good, said) = run(&["security", "--offline=true", "--threshold=10", "--no-pager"]);
    assert!(good, "{said}");
    let exposure = said.lines().find_map(|l| l.split("Overall exposure level for").nth(1));
    let exposure = exposure.and_then(|l| l.split(": ").nth(1)).and_then(|l| l.split(' ').next()).unwrap();
    assert!(exposure.parse::<f64>().unwrap() <= 1.0, "{exposure}\n{said}");
}
