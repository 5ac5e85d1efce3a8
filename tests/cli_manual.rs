//! The manual pages and completions that a package brings, as the real program writes them and as the shells read them.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

fn manual(folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_edge-rcnn")).arg("manual").arg(folder).output().unwrap()
}

#[test]
fn every_verb_has_a_page_and_bash_completes_it() {
    let dir = tempfile::tempdir().unwrap();
    let output = manual(dir.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let help = Command::new(env!("CARGO_BIN_EXE_edge-rcnn")).arg("--help").output().unwrap().stdout;
    let help = String::from_utf8(help).unwrap();
    let (_, verbs) = help.split_once("Commands:\n").unwrap();
    let (verbs, _) = verbs.split_once("\n\n").unwrap();
    let verbs: Vec<&str> =
        verbs.lines().filter(|l| !l.starts_with("   ")).filter_map(|l| l.split_whitespace().next()).collect();
    assert!(verbs.contains(&"run") && verbs.contains(&"detect"), "{verbs:?}");
    for verb in verbs.iter().filter(|verb| **verb != "help") {
        let page = fs::read_to_string(dir.path().join(format!("man/edge-rcnn-{verb}.1"))).unwrap();
        assert!(page.contains(".SH SYNOPSIS") && page.contains(".SH OPTIONS"), "{page}");
    }
    let page = fs::read_to_string(dir.path().join("man/edge-rcnn.1")).unwrap();
    assert!(page.contains("Exit codes") && page.contains("edge\\-rcnn\\-detect(1)"), "{page}");

    // What bash offers after `edge-rcnn `.
    let script = "source edge-rcnn.bash; COMP_WORDS=(edge-rcnn ''); COMP_CWORD=1; \
                  complete=$(complete -p edge-rcnn | sed 's/.* -F \\([^ ]*\\) .*/\\1/'); \
                  $complete edge-rcnn '' edge-rcnn; printf '%s\\n' \"${COMPREPLY[@]}\"";
    let completions = dir.path().join("completions");
    let bash = Command::new("bash").args(["-c", script]).current_dir(&completions).output().unwrap();
    let offered = String::from_utf8(bash.stdout).unwrap();
    for verb in &verbs {
        assert!(
            offered.lines().any(|word| word == *verb),
            "{verb}: {offered} {}",
            String::from_utf8_lossy(&bash.stderr)
        );
    }
    assert!(fs::read_to_string(completions.join("_edge-rcnn")).unwrap().starts_with("#compdef edge-rcnn"));
    assert!(fs::read_to_string(completions.join("edge-rcnn.fish")).unwrap().contains("-l min-score"));
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let output = manual(Path::new("/dev/null/pages"));
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("/dev/null/pages"), "{said}");
}
