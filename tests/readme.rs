//! The commands of the README: what they name is there, and the program understands their options.
#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::process::Command;

/// Lines of the shell in a text in Markdown, without comments.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).map(|line| line.split(" #").next().unwrap().trim().to_owned());
    lines.filter(|line| !line.is_empty()).collect()
}

#[test]
fn commands_of_the_stream_can_be_typed_as_they_stand_there() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let all = commands(&std::fs::read_to_string(root.join("README.md")).unwrap());
    let mut tried = 0;
    for command in all.iter().flat_map(|line| line.split(" | ")) {
        let words: Vec<&str> = command.split(' ').filter(|word| !word.is_empty()).collect();
        // Files of this repository; what has no slash is made or is an option, what begins with one is a device, and what
        // has a variable is the shell's.
        for file in words.iter().filter(|word| word.contains('/') && !word.starts_with('/') && !word.contains('$')) {
            let known = ["rtsp://", "target/"].iter().any(|start| file.starts_with(start));
            assert!(known || root.join(file).exists(), "{file} is not there: {command}");
        }
        let Some(args) = command.strip_prefix("edge-rcnn run ").filter(|args| !args.contains('…')) else { continue };
        let mut program = Command::new(env!("CARGO_BIN_EXE_edge-rcnn"));
        let output = program.arg("config").args(args.split_whitespace()).env_remove("RUST_LOG").output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        tried += 1;
    }
    assert!(tried >= 6, "{tried} commands: are they still found? {all:?}");
}
