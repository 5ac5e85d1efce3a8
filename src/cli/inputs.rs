//! Which pictures a command line means: files as named, folders opened and sorted as people count.

use std::cmp::Ordering;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One thing to look at, in the order of the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// A picture file.
    Picture {
        /// Where it is.
        path: PathBuf,
        /// Its path inside the folder that was named, or its file name.
        relative: PathBuf,
    },
    /// Nothing can be looked at here.
    Problem {
        /// What was named.
        path: PathBuf,
        /// What is wrong and what to do.
        message: String,
        /// True if it is not there at all.
        missing: bool,
    },
}

/// All pictures meant by `paths`. Of a folder these are the files with a picture's name ending, hidden ones left out;
/// with `recursive` also those of the folders in it, links to folders left out.
pub fn gather(paths: &[PathBuf], recursive: bool) -> Vec<Input> {
    let mut all = Vec::new();
    for path in paths {
        match fs::metadata(path) {
            Ok(m) if m.is_dir() => {
                let before = all.len();
                walk(path, path, recursive, &mut all);
                if all.len() == before {
                    let deeper = if recursive { "" } else { "; folders in it are opened with --recursive" };
                    all.push(problem(path, format!("no JPEG, PNG or WebP pictures in this folder{deeper}"), false));
                }
            }
            Ok(_) => {
                let relative = path.file_name().map_or_else(|| path.clone(), PathBuf::from);
                all.push(Input::Picture { path: path.clone(), relative });
            }
            Err(e) => {
                let missing = e.kind() == io::ErrorKind::NotFound;
                all.push(problem(path, format!("cannot be read: {e}"), missing));
            }
        }
    }
    all
}

fn problem(path: &Path, message: String, missing: bool) -> Input {
    Input::Problem { path: path.to_owned(), message: format!("{}: {message}", path.display()), missing }
}

fn walk(top: &Path, folder: &Path, recursive: bool, all: &mut Vec<Input>) {
    let entries = fs::read_dir(folder).and_then(|entries| entries.collect::<io::Result<Vec<_>>>());
    let mut entries = match entries {
        Ok(entries) => entries,
        Err(e) => return all.push(problem(folder, format!("the folder cannot be read: {e}"), false)),
    };
    entries.sort_by(|a, b| natural_order(&a.file_name().to_string_lossy(), &b.file_name().to_string_lossy()));
    for entry in entries {
        if entry.file_name().to_string_lossy().starts_with('.') {
            continue;
        }
        let path = entry.path();
        if entry.file_type().is_ok_and(|t| t.is_dir()) {
            if recursive {
                walk(top, &path, recursive, all);
            }
        } else if has_picture_name(&path) && !path.is_dir() {
            let relative = path.strip_prefix(top).unwrap_or(&path).to_owned();
            all.push(Input::Picture { path, relative });
        }
    }
}

fn has_picture_name(path: &Path) -> bool {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
    ending.is_some_and(|e| ["jpg", "jpeg", "png", "webp"].contains(&e.as_str()))
}

/// Order with runs of digits compared as numbers: `frame2` before `frame10`. Equal numbers written with different
/// zeros fall back to the order of the characters.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut rest_a, mut rest_b) = (a, b);
    while let (Some(ca), Some(cb)) = (rest_a.chars().next(), rest_b.chars().next()) {
        let order = if ca.is_ascii_digit() && cb.is_ascii_digit() {
            let (number_a, number_b) = (take_digits(&mut rest_a), take_digits(&mut rest_b));
            // Without leading zeros, the longer number is the larger one; no number is too long for this.
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            rest_a = &rest_a[ca.len_utf8()..];
            rest_b = &rest_b[cb.len_utf8()..];
            ca.cmp(&cb)
        };
        if order.is_ne() {
            return order;
        }
    }
    rest_a.len().cmp(&rest_b.len()).then_with(|| a.cmp(b))
}

/// Cuts the digits off the front of `rest` and gives them without leading zeros.
fn take_digits<'a>(rest: &mut &'a str) -> &'a str {
    let (digits, after) = rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len()));
    *rest = after;
    digits.trim_start_matches('0')
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_names_are_counted_not_spelled() {
        let mut names = ["b1", "a10", "a2", "a", "a02", "a2b", "a99999999999999999999999", "Ä1", ""];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(names, ["", "a", "a02", "a2", "a2b", "a10", "a99999999999999999999999", "b1", "Ä1"]);
    }

    #[test]
    fn a_folder_gives_its_pictures_in_order_and_its_folders_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("deep/er.png")).unwrap();
        for name in ["10.png", "9.JPG", "notes.txt", ".hidden.png", "deep/1.webp", "deep/er.png/2.jpeg"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        let names = |recursive| -> Vec<String> {
            let found = gather(&[dir.path().to_owned()], recursive);
            found
                .iter()
                .map(|i| match i {
                    Input::Picture { relative, .. } => relative.display().to_string(),
                    Input::Problem { message, .. } => message.clone(),
                })
                .collect()
        };
        assert_eq!(names(false), ["9.JPG", "10.png"]);
        assert_eq!(names(true), ["9.JPG", "10.png", "deep/1.webp", "deep/er.png/2.jpeg"]);
    }

    #[test]
    fn what_is_not_there_and_what_is_empty_is_said_in_place() {
        let dir = tempfile::tempdir().unwrap();
        let found = gather(&[dir.path().join("nowhere.jpg"), dir.path().to_owned()], false);
        assert!(matches!(&found[0], Input::Problem { missing: true, message, .. } if message.contains("nowhere.jpg")));
        assert!(matches!(&found[1], Input::Problem { missing: false, message, .. } if message.contains("--recursive")));
    }
}
