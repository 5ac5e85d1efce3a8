//! Settings from flags and from a file: what is in force, what is refused, and what a running program takes over.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

#[path = "common/running.rs"]
mod running;

use running::Running;
use serde_json::Value;

/// A file of settings in a folder of its own.
struct Settings {
    dir: tempfile::TempDir,
}

impl Settings {
    fn new(text: &str) -> Self {
        let settings = Self { dir: tempfile::tempdir().unwrap() };
        settings.write(text);
        settings
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("edge-rcnn.toml")
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    /// Exit code, standard output and standard error of `config` with this file.
    fn config(&self, flags: &[&str]) -> (i32, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
        let output = command.env_remove("RUST_LOG").arg("config").arg("--config").arg(self.path()).args(flags);
        let output = output.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    fn run(&self, flags: &[&str]) -> Running {
        let path = self.path().display().to_string();
        Running::start(&[&["--config", &path][..], flags].concat())
    }
}

fn line<'a>(printed: &'a str, key: &str) -> &'a str {
    let found = printed.lines().find(|l| l.trim_start_matches("# ").split(' ').next() == Some(key));
    found.unwrap_or_else(|| panic!("no {key} in\n{printed}"))
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default_and_each_says_where_it_is_from() {
    let settings = Settings::new(
        "source = \"synthetic\"\nmin_score = 0.25\nscale = 300\ntrack = true\nonly_detections = true\nclasses = [\"cat\", \"dog\"]\n\
         budget = \"80ms\"\n[class.person]\nmin_score = 0.75\nmin_area = 0.01\n",
    );
    let (code, printed, log) = settings.config(&["--min-score", "0.5", "--only-detections=false", "--fps", "12"]);
    assert_eq!(code, 0, "{log}");
    let file = settings.path().display().to_string();
    for (key, value, from) in [
        ("min_score", "0.5", "flag --min-score"),
        ("only_detections", "false", "flag --only-detections"),
        ("fps", "12", "flag --fps"),
        ("scale", "300", file.as_str()),
        ("track", "true", file.as_str()),
        ("budget", "\"80ms\"", file.as_str()),
        ("classes", "[\"cat\", \"dog\"]", file.as_str()),
        ("stats_every", "\"10s\"", "default"),
    ] {
        let (said, origin) = line(&printed, key).split_once('#').unwrap();
        assert_eq!((said.trim(), origin.trim()), (format!("{key} = {value}").as_str(), from));
    }
    assert!(line(&printed, "proposals").starts_with("# proposals is not set"));
    assert!(printed.contains("[class.person]") && printed.contains("min_area = 0.01"), "{printed}");

    // What is printed is a file with the same effect.
    let again = Settings::new(&printed);
    let (code, reprinted, log) = again.config(&[]);
    assert_eq!(code, 0, "{log}");
    let values = |text: &str| {
        text.lines()
            .map(|l| l.split('#').next().unwrap().trim().to_owned())
            .filter(|l| !l.is_empty())
            .collect::<Vec<_>>()
    };
    assert_eq!(values(&printed), values(&reprinted));
}

#[test]
fn what_the_file_must_not_say_is_refused_with_its_name_and_the_way_out() {
    for (text, code, words) in [
        ("min_scor = 0.5", 78, "unknown key \"min_scor\"; did you mean \"min_score\"?"),
        ("zones = []", 78, "did you mean \"zone\"?"),
        ("config = \"other.toml\"", 78, "unknown key \"config\""),
        ("help = true", 78, "unknown key \"help\""),
        ("min_score = 1.5", 78, "min_score = 1.5: "),
        ("min_score = \"high\"", 78, "min_score = \"high\": "),
        ("scale = true", 78, "scale = true: "),
        ("track = 1", 78, "track = 1: "),
        ("source = { a = 1 }", 78, "source: is a table"),
        ("budget = \"soon\"", 78, "59ms"),
        ("min_score = = 1", 78, "line 1"),
        ("[class.person]\nmin_scor = 1", 78, "class.person: unknown key \"min_scor\"; did you mean \"min_score\"?"),
        ("[class]\nperson = 0.5", 78, "class.person: must be a section"),
        ("[[zone]]\nname = \"a\"\npoligon = []", 78, "zone 1: unknown key \"poligon\"; did you mean \"polygon\"?"),
        ("[[zone]]\nname = \"a\"\npolygon = [[0, 0], [1, 0], [1, 1]]\ntest = \"feet\"", 78, "zone 1: "),
    ] {
        let settings = Settings::new(text);
        let (found, printed, log) = settings.config(&[]);
        assert_eq!((found, printed.as_str()), (code, ""), "{text}: {log}");
        assert!(log.contains(words) && log.contains("edge-rcnn.toml: "), "{text}: {log}");
        assert!(!log.contains("panicked"), "{text}: {log}");
    }
    let (code, _, log) = Settings::new("").config(&["--config", "/nowhere.toml"]);
    assert_eq!(code, 66, "{log}");
}

#[test]
fn rules_that_do_not_fit_the_model_are_refused_before_the_first_line() {
    for (text, words) in [
        ("[class.persn]\nmin_score = 0.5", "did you mean \"person\"?"),
        ("[class.person]\nmin_score = 50.0", "class.person.min_score = 50"),
        ("[[zone]]\nname = \"a\"\npolygon = [[0, 0], [1, 1]]", "zone \"a\": polygon has 2 corners"),
    ] {
        let settings = Settings::new(text);
        let mut run = settings.run(&["--source", "synthetic"]);
        assert!(run.lines.next().is_none(), "{text}");
        let (code, log, _) = run.end();
        assert_eq!(code, 78, "{text}: {log}");
        assert!(log.contains(words), "{text}: {log}");
    }
    let settings = Settings::new("");
    let mut run = settings.run(&[]);
    assert!(run.lines.next().is_none());
    let (code, log, _) = run.end();
    assert!(code == 2 && log.contains("--source"), "{code}: {log}");
}

fn detections(frame: &Value) -> &Vec<Value> {
    frame["detections"].as_array().unwrap()
}

#[test]
fn thresholds_zones_and_numbers_of_a_file_act_on_real_detections() {
    let photo = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/photos/astronaut.jpg").display().to_string();
    let common = "loop = true\nfps = 50.0\nmin_score = 0.05\ntrack = true\n";
    let look = |sections: &str| {
        let sharp = ["--source", &photo, "--scale", "300", "--proposals", "100"];
        let settings = Settings::new(&format!("{common}{sections}"));
        let mut run = settings.run(&sharp);
        let frames = [run.until("frame"), run.until("frame"), run.until("frame")];
        run.signal("TERM");
        run.until("bye");
        assert_eq!(run.end().0, 0);
        frames
    };
    let all = look("");
    let found = detections(&all[0]);
    assert!(!found.is_empty());
    // The same picture again and again: the same objects with the same numbers.
    for (i, frame) in all.iter().enumerate() {
        for (object, first) in detections(frame).iter().zip(found) {
            assert_eq!((&object["track"], object["age"].as_u64()), (&first["track"], Some(i as u64 + 1)), "{frame}");
        }
    }
    let mut ids: Vec<u64> = found.iter().map(|d| d["track"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=found.len() as u64).collect::<Vec<_>>());

    let label = found[0]["label"].as_str().unwrap();
    // The best of all, and what is written of its score is rounded to four digits.
    let above = (found[0]["score"].as_f64().unwrap() + 1e-4).min(1.0);
    let without = look(&format!("[class.{label}]\nmin_score = {above}\n"));
    assert!(detections(&without[0]).iter().all(|d| d["label"] != label));
    let other = |frame: &Value| detections(frame).iter().filter(|d| d["label"] != label).count();
    assert_eq!(other(&without[0]), other(&all[0]));

    let everywhere = "polygon = [[0, 0], [1, 0], [1, 1], [0, 1]]";
    let marked = look(&format!("[[zone]]\nname = \"all \\\"é\\\"\"\n{everywhere}\n"));
    assert_eq!(detections(&marked[0]).len(), found.len());
    assert!(detections(&marked[0]).iter().all(|d| d["zones"] == serde_json::json!(["all \"é\""])));
    let none = look(&format!("[[zone]]\nname = \"all\"\nmode = \"exclude\"\n{everywhere}\n"));
    assert!(detections(&none[0]).is_empty());
}

#[test]
fn sighup_takes_over_a_good_file_as_a_whole_and_keeps_the_old_one_for_a_bad_one() {
    let settings = Settings::new("min_score = 1.0\nstats_every = \"0.2s\"\nonly_detections = true\n");
    let mut run = settings.run(&["--source", "synthetic", "--size", "160x120", "--fps", "50"]);
    assert_eq!(run.until("status")["camera"], "streaming");
    run.until("stats");

    for (text, words) in [
        ("min_scor = 0.0\n", "did you mean \"min_score\"?"),
        ("only_detections = false\nmodel = \"/nowhere\"\n", "/nowhere"),
        ("[class.unicorn]\nmin_score = 0.1\n", "unicorn"),
    ] {
        settings.write(text);
        run.signal("HUP");
        // The frames' lines would come back if anything of the file had been taken over.
        let error = loop {
            let line = run.next();
            assert_ne!(line["type"], "frame", "{text}");
            if line["type"] == "error" {
                break line;
            }
        };
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(words) && message.contains("going on with the old configuration"), "{message}");
        for _ in 0..3 {
            assert_ne!(run.next()["type"], "frame", "{text}");
        }
    }

    settings.write("min_score = 0.0\nstats_every = \"60s\"\ntrack = true\n");
    run.signal("HUP");
    let status = run.until("status");
    assert_eq!((&status["reloaded"], status["labels"].as_array().unwrap().len()), (&true.into(), 20), "{status}");
    assert_eq!(status["model"]["sha256"].as_str().unwrap().len(), 64);
    let frame = run.until("frame");
    assert!(detections(&frame).iter().all(|d| d["track"].is_u64()) && !detections(&frame).is_empty(), "{frame}");

    // Numbers go on where they were.
    let highest = detections(&frame).iter().map(|d| d["track"].as_u64().unwrap()).max().unwrap();
    run.signal("HUP");
    run.until("status");
    let next = run.until("frame");
    assert!(detections(&next).iter().all(|d| d["track"].as_u64().unwrap() > highest), "{frame}\n{next}");
    run.signal("TERM");
    assert_eq!(run.until("bye")["reason"], "sigterm");
    assert_eq!(run.end().0, 0);
}

#[test]
fn the_source_of_a_run_cannot_be_exchanged() {
    let settings = Settings::new("source = \"synthetic\"\nsize = \"160x120\"\n");
    let mut run = settings.run(&[]);
    run.until("frame");
    settings.write("source = \"synthetic\"\nsize = \"320x240\"\n");
    run.signal("HUP");
    let message = run.until("error")["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("size ") && message.contains("restart"), "{message}");
    run.signal("TERM");
    assert_eq!(run.end().0, 0);
}

#[test]
fn a_budget_that_cannot_be_held_ends_at_the_lowest_step_of_a_measured_ladder_and_every_line_says_so() {
    // No machine takes a tenth of a millisecond. Of the pins of the other tests, none.
    let unpinned = ["run", "--threads", "1", "--source", "synthetic", "--size", "160x120", "--budget", "0.1ms"];
    let mut command = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
    command.env_remove("RUST_LOG").args(unpinned).stdout(std::process::Stdio::piped());
    let mut run = Running::of(command.stderr(std::process::Stdio::piped()).spawn().unwrap());
    let frames: Vec<Value> = (0..12).map(|_| run.until("frame")).collect();
    for frame in &frames {
        let budget = &frame["budget"];
        assert_eq!((&budget["ms"], &budget["step"], &budget["of"]), (&0.1.into(), &1.into(), &10.into()), "{frame}");
        // The lowest step's numbers: 96 pixels of the model's 600, 18 regions of 300.
        assert_eq!((&frame["scale"], &frame["proposals"]), (&0.8.into(), &18.into()), "{frame}");
    }
    assert_eq!((&frames[0]["budget"]["reason"], &frames[11]["budget"]["reason"]), (&"start".into(), &"floor".into()));
    run.signal("TERM");
    run.until("bye");
    assert_eq!(run.end().0, 0);
}

#[test]
fn pins_and_files_leave_nothing_to_choose() {
    let mut live = Running::start(&["--source", "synthetic", "--size", "160x120"]);
    let budget = live.until("frame")["budget"].clone();
    assert_eq!((&budget["reason"], &budget["of"], &budget["ms"]), (&"pinned".into(), &1.into(), &59.0.into()));
    live.signal("TERM");
    live.end();
    for args in [&["--every-frame"][..], &["--budget", "off"]] {
        let mut run = Running::start(&[&["--source", "synthetic", "--size", "160x120"], args].concat());
        assert_eq!(run.until("frame").get("budget"), None);
        run.signal("TERM");
        run.end();
    }
}
