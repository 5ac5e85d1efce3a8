//! Where annotated pictures go.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use edge_rcnn::sink::annotate::can_save;

use super::super::Failure;
use super::super::inputs::Input;

/// One target per input, in the same order; nothing for inputs that are no pictures.
pub fn targets(out: &Path, paths: &[PathBuf], inputs: &[Input]) -> Result<Vec<Option<PathBuf>>, Failure> {
    let one_file = matches!(paths, [only] if !only.is_dir());
    let names_folder = out.is_dir() || out.as_os_str().to_string_lossy().ends_with(std::path::is_separator);
    let targets = if one_file && !names_folder {
        if !can_save(out) {
            let what = "the name must end in .jpg, .jpeg or .png, or be a folder that exists";
            return Err(Failure::usage(format!("--annotate {}: {what}", out.display())));
        }
        vec![Some(out.to_owned()); inputs.len()]
    } else {
        into_folder(out, inputs)?
    };
    refuse_overwriting(&targets, inputs)?;
    Ok(targets)
}

fn into_folder(out: &Path, inputs: &[Input]) -> Result<Vec<Option<PathBuf>>, Failure> {
    if out.exists() && !out.is_dir() {
        let what = "is a file, but annotated pictures of several inputs need a folder";
        return Err(Failure::usage(format!("--annotate {}: {what}", out.display())));
    }
    fs::create_dir_all(out)
        .map_err(|e| Failure::runtime(format!("--annotate {}: the folder cannot be made: {e}", out.display())))?;
    let mut taken = HashSet::new();
    let target = |input: &Input| match input {
        Input::Picture { relative, .. } => {
            let mut wanted = out.join(relative);
            if !can_save(&wanted) {
                wanted.set_extension("jpg");
            }
            // Pictures of two folders may have the same name.
            let numbered = (2..).map(|n| with_number(&wanted, n));
            let free = std::iter::once(wanted.clone()).chain(numbered).find(|p| !taken.contains(p))?;
            taken.insert(free.clone());
            Some(free)
        }
        Input::Problem { .. } => None,
    };
    Ok(inputs.iter().map(target).collect())
}

/// `street.jpg` to `street-2.jpg`.
fn with_number(path: &Path, n: usize) -> PathBuf {
    let part = |p: Option<&std::ffi::OsStr>| p.unwrap_or_default().to_string_lossy().into_owned();
    path.with_file_name(format!("{}-{n}.{}", part(path.file_stem()), part(path.extension())))
}

fn refuse_overwriting(targets: &[Option<PathBuf>], inputs: &[Input]) -> Result<(), Failure> {
    let real = |path: &Path| fs::canonicalize(path).ok();
    let originals: HashSet<PathBuf> = inputs
        .iter()
        .filter_map(|i| match i {
            Input::Picture { path, .. } => real(path),
            Input::Problem { .. } => None,
        })
        .collect();
    match targets.iter().flatten().find(|t| real(t).is_some_and(|t| originals.contains(&t))) {
        Some(target) => Err(Failure::usage(format!(
            "--annotate would overwrite the picture {} itself; name another file or folder",
            target.display()
        ))),
        None => Ok(()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn picture(path: &str, relative: &str) -> Input {
        Input::Picture { path: path.into(), relative: relative.into() }
    }

    #[test]
    fn pictures_of_the_same_name_get_numbers_and_webp_becomes_jpeg() {
        let dir = tempfile::tempdir().unwrap();
        let inputs = [picture("a/x.png", "x.png"), picture("b/x.png", "x.png"), picture("c/x.webp", "in/x.webp")];
        let paths = ["a", "b", "c"].map(PathBuf::from);
        let names: Vec<_> = targets(&dir.path().join("new"), &paths, &inputs)
            .unwrap()
            .into_iter()
            .map(|t| t.unwrap().strip_prefix(dir.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["new/x.png", "new/x-2.png", "new/in/x.jpg"]);
    }

    #[test]
    fn the_pictures_themselves_are_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.png");
        fs::write(&path, "precious").unwrap();
        let input = Input::Picture { path: path.clone(), relative: "x.png".into() };
        for out in [path.clone(), dir.path().join("."), dir.path().to_owned()] {
            let failed = targets(&out, std::slice::from_ref(&path), std::slice::from_ref(&input));
            assert!(matches!(failed, Err(Failure::Said { code: 2, .. })), "{out:?}");
        }
    }
}
