//! Lines of the real program against the JSON Schema it prints, by the validator of another language.
#![allow(clippy::unwrap_used)]

#[path = "common/reference_python.rs"]
mod reference_python;

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use reference_python::python;
use serde_json::Value;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// What the program wrote on standard output, however it ended.
fn said(args: &[&str]) -> Vec<u8> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    command.env_remove("RUST_LOG").args(args).stdin(Stdio::null()).output().unwrap().stdout
}

/// Gives the lines to the validator: how many of each type were valid, or what it said.
fn validate(python: &std::ffi::OsStr, lines: &[u8], strict: bool) -> Result<Value, String> {
    let dir = tempfile::tempdir().unwrap();
    let schema = dir.path().join("schema.json");
    fs::write(&schema, said(&["schema"])).unwrap();
    let script = Path::new(ROOT).join("tests/python/validate_lines.py");
    let mut validator = Command::new(python);
    validator.arg(script).arg(&schema).args(strict.then_some("strict"));
    let mut validator = validator.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It stops reading at the first line that is not valid.
    let _ = validator.stdin.take().unwrap().write_all(lines);
    let output = validator.wait_with_output().unwrap();
    match output.status.success() {
        true => Ok(serde_json::from_slice(&output.stdout).unwrap()),
        false => Err(String::from_utf8(output.stderr).unwrap()),
    }
}

#[test]
fn every_line_of_real_runs_is_valid_and_has_no_field_that_the_schema_does_not_name() {
    let Some(python) = python("cli_schema") else { return };
    let photos = format!("{ROOT}/tests/photos");
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    for name in ["astronaut.jpg", "chelsea.jpg"] {
        fs::copy(format!("{photos}/{name}"), dir.path().join(name)).unwrap();
    }
    fs::write(dir.path().join("broken \"\n\u{1}é.jpg"), b"\xFF\xD8 not really").unwrap();
    let fast = ["--scale", "200", "--proposals", "50", "--threads", "1", "--min-score", "0.1"];
    let with = |args: &[&'static str], rest: &[&str]| {
        let mut all = args.to_vec();
        all.extend(fast);
        [all, rest.to_vec()].concat().iter().map(|a| (*a).to_owned()).collect::<Vec<_>>()
    };
    let runs = [with(&["run", "--stats-every", "0.01"], &["--source", folder]), with(&["detect"], &[folder])];
    let mut lines = Vec::new();
    for args in &runs {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        lines.extend(said(&args));
    }
    let counts = validate(&python, &lines, true).unwrap();
    for (kind, at_least) in [("hello", 1), ("status", 1), ("frame", 2), ("stats", 1), ("bye", 1), ("image", 2)] {
        assert!(counts[kind].as_u64() >= Some(at_least), "{kind}: {counts}");
    }
    assert_eq!(counts["error"], 2, "{counts}");
    // A test that cannot fail proves nothing: each of these lines is wrong in one place.
    let text = String::from_utf8(lines).unwrap();
    let frame = text.lines().find(|l| l.contains("\"frame\"") && l.contains("\"box\"")).unwrap();
    for (right, wrong) in [
        ("\"seq\":", "\"sequence\":"),
        ("\"seq\":", "\"news\":1,\"seq\":"),
        ("\"score\":0.", "\"score\":7."),
        ("\"box\":[", "\"box\":[1,"),
        ("Z\"", "\""),
        ("\"type\":\"frame\"", "\"type\":\"picture\""),
    ] {
        let spoilt = format!("{}\n", frame.replacen(right, wrong, 1));
        assert_ne!(spoilt.trim_end(), frame);
        assert!(validate(&python, spoilt.as_bytes(), true).is_err(), "{spoilt}");
    }
    // Readers accept what a later version adds.
    for news in ["\"news\":1,\"seq\":", "\"seq\":"] {
        let later = format!("{}\n", frame.replacen("\"seq\":", news, 1));
        validate(&python, later.as_bytes(), false).unwrap();
    }
    validate(&python, b"{\"type\":\"picture\"}\n", false).unwrap();
}
