//! The pictures that a calibration sees, by path and checksum.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use edge_rcnn::model::sha256 as checksum;

use crate::cli::Failure;
use crate::cli::data::Data;

/// Where pictures come from.
#[derive(Debug, Clone)]
pub enum Images {
    /// A marked data set.
    Marked(Data),
    /// A file with a path in each line.
    List(PathBuf),
}

/// A picture of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// As it stands in the list.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Of the file.
    pub sha256: String,
}

impl FromStr for Images {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("voc" | "coco", _)) => text.parse().map(Self::Marked),
            _ => Ok(Self::List(text.into())),
        }
    }
}

impl Images {
    /// All pictures of a list, or `limit` of a data set, evenly spread.
    pub fn list(&self, split: &str, root: Option<&Path>, limit: usize) -> Result<Vec<Listed>, Failure> {
        let listed = match self {
            Self::Marked(data) => {
                let mut set = data.read(split, None).map_err(crate::cli::eval::data_failure)?;
                set.spread(limit);
                let names = set.images.iter().map(|image| {
                    // Of a VOC folder the name inside of it, so that the list is the same wherever the folder is.
                    let name = match data {
                        Data::Voc(dir) => image.path.strip_prefix(dir).unwrap_or(&image.path),
                        Data::Coco(_) => Path::new(image.path.file_name().unwrap_or(image.path.as_os_str())),
                    };
                    (name.display().to_string(), image.path.clone(), None)
                });
                names.map(|(name, path, sum)| read(name, path, sum)).collect::<Result<Vec<_>, _>>()?
            }
            Self::List(file) => {
                let text = fs::read_to_string(file).map_err(|e| io_failure(file, &e))?;
                let root = root.or(file.parent()).unwrap_or(Path::new(""));
                let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
                let parts = lines.map(|line| match line.split_once("  ") {
                    Some((sum, name)) if sum.len() == 64 => (name.to_string(), root.join(name), Some(sum)),
                    _ => (line.to_string(), root.join(line), None),
                });
                parts.map(|(name, path, sum)| read(name, path, sum)).collect::<Result<Vec<_>, _>>()?
            }
        };
        match listed.is_empty() {
            true => Err(Failure::usage("--images: there is no picture in it")),
            false => Ok(listed),
        }
    }
}

fn read(name: String, path: PathBuf, expected: Option<&str>) -> Result<Listed, Failure> {
    let sha256 = checksum(&fs::read(&path).map_err(|e| io_failure(&path, &e))?);
    match expected {
        Some(sum) if sum != sha256 => Err(Failure::runtime(format!(
            "{}: sha256 is {sha256}, the list says {sum}; get the picture the list was made of",
            path.display()
        ))),
        _ => Ok(Listed { name, path, sha256 }),
    }
}

fn io_failure(path: &Path, error: &std::io::Error) -> Failure {
    let message = format!("{}: cannot be read: {error}", path.display());
    if error.kind() == ErrorKind::NotFound { Failure::missing(message) } else { Failure::runtime(message) }
}

/// The list as text, as `sha256sum` writes it.
fn text(list: &[Listed]) -> String {
    list.iter().map(|l| format!("{}  {}\n", l.sha256, l.name)).collect()
}

/// Checksum of the list.
pub fn sha256(list: &[Listed]) -> String {
    checksum(text(list).as_bytes())
}

/// Writes the list.
pub fn write(list: &[Listed], file: &Path) -> Result<(), Failure> {
    fs::write(file, text(list)).map_err(|e| Failure::runtime(format!("{}: cannot be written: {e}", file.display())))
}
