//! `edge-rcnn manual`: manual pages and shell completions of this very program, for packages.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap_complete::Shell;

use super::{Failure, command};

/// Arguments of `manual`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Folder to write into: manual pages to man/, completions for bash, zsh and fish to completions/
    folder: PathBuf,
}

/// Runs the verb.
pub fn run(args: Args) -> Result<(), Failure> {
    write(&args.folder).map_err(|e| Failure::runtime(format!("{}: {e}", args.folder.display())))
}

fn write(folder: &Path) -> io::Result<()> {
    let (pages, completions) = (folder.join("man"), folder.join("completions"));
    fs::create_dir_all(&pages)?;
    fs::create_dir_all(&completions)?;
    // One page for the program and one for each verb.
    clap_mangen::generate_to(command(), &pages)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command(), "edge-rcnn", &completions)?;
    }
    Ok(())
}
