//! Detections on disk, in the two formats the scoring servers and other tools read.
//!
//! * VOC: a folder with one `comp4_det_<split>_<class>.txt` for each class; lines `id score x1 y1 x2 y2`, corners
//!   1-based and inclusive.
//! * COCO: one JSON array of `{"image_id", "category_id", "bbox": [x, y, w, h], "score"}`.
//!
//! Numbers are written in full, where the reference code rounds, so that scoring a file again gives the same digits.
//! Image ids are numbers for COCO data sets and names for VOC ones, in either format.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::voc::FIRST_PIXEL;
use super::{Dataset, DatasetKind, Scored};

/// Name of the COCO file inside a folder of results.
pub const COCO_RESULTS: &str = "detections.json";

/// Why saved detections could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ResultsError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A folder has no results of the split.
    #[error("{path}: no {expected} in it; is it the folder that `--out` wrote for this split?")]
    Empty {
        /// The folder.
        path: PathBuf,
        /// Name of the files looked for.
        expected: String,
    },
    /// A file is not what its format promises, or names a picture or class the data set lacks.
    #[error("{path}: {what}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Where in the file, and why.
        what: String,
    },
}

/// Image ids are numbers in COCO, names in VOC.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum ImageId {
    Number(u64),
    Name(String),
}

#[derive(Debug, Serialize, Deserialize)]
struct CocoDetection {
    image_id: ImageId,
    category_id: u64,
    bbox: [f64; 4],
    score: f64,
}

/// Writes the VOC files of every class into `dir`, empty ones too.
pub fn write_voc(dir: &Path, split: &str, set: &Dataset, detections: &[Vec<Scored>]) -> Result<(), ResultsError> {
    let mut texts = vec![String::new(); set.classes.len()];
    for (image, found) in set.images.iter().zip(detections) {
        for d in found {
            let Some(text) = d.class_id.checked_sub(1).and_then(|i| texts.get_mut(i)) else { continue };
            let [x1, y1, x2, y2] = d.rect;
            // The exclusive 0-based end and the inclusive 1-based end are the same number.
            let (x1, y1) = (x1 + FIRST_PIXEL, y1 + FIRST_PIXEL);
            let _ = writeln!(text, "{} {} {x1} {y1} {x2} {y2}", image.id, d.score);
        }
    }
    for (class, text) in set.classes.iter().zip(&texts) {
        write(&dir.join(voc_file(split, class)), text.as_bytes())?;
    }
    Ok(())
}

/// Writes one COCO results file.
pub fn write_coco(path: &Path, set: &Dataset, detections: &[Vec<Scored>]) -> Result<(), ResultsError> {
    let mut rows = Vec::new();
    for (image, found) in set.images.iter().zip(detections) {
        for d in found {
            let Some(&category_id) = d.class_id.checked_sub(1).and_then(|i| set.category_ids.get(i)) else { continue };
            let image_id = match (set.kind, image.id.parse()) {
                (DatasetKind::Coco, Ok(number)) => ImageId::Number(number),
                _ => ImageId::Name(image.id.clone()),
            };
            let [x1, y1, x2, y2] = d.rect;
            rows.push(CocoDetection { image_id, category_id, bbox: [x1, y1, x2 - x1, y2 - y1], score: d.score });
        }
    }
    let bad = |e: serde_json::Error| ResultsError::Format { path: path.to_path_buf(), what: e.to_string() };
    write(path, &serde_json::to_vec(&rows).map_err(bad)?)
}

/// Reads saved detections of `set`: a COCO results file, or a folder of VOC files of the split.
pub fn read_saved(path: &Path, split: &str, set: &Dataset) -> Result<Vec<Vec<Scored>>, ResultsError> {
    let mut out = vec![Vec::new(); set.images.len()];
    if path.is_dir() {
        read_voc(path, split, set, &mut out)?
    } else {
        read_coco(path, set, &mut out)?
    }
    Ok(out)
}

fn read_voc(dir: &Path, split: &str, set: &Dataset, out: &mut [Vec<Scored>]) -> Result<(), ResultsError> {
    let image_of = image_index(set);
    let mut files = 0;
    for (i, class) in set.classes.iter().enumerate() {
        let path = dir.join(voc_file(split, class));
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            // Other programs leave out the file of a class they found nothing of.
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            Err(source) => return Err(ResultsError::Io { path, source }),
        };
        files += 1;
        for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let wrong = |what: &str| ResultsError::Format {
                path: path.clone(),
                what: format!("line {}: {what}: `{}`", n + 1, line.chars().take(80).collect::<String>()),
            };
            let mut words = line.split_whitespace();
            let id = words.next().unwrap_or_default();
            let numbers: Option<Vec<f64>> = words.map(|w| w.parse().ok().filter(|v: &f64| v.is_finite())).collect();
            let Some(&[score, x1, y1, x2, y2]) = numbers.as_deref() else {
                return Err(wrong("not `id score x1 y1 x2 y2`"));
            };
            let &image = image_of.get(id).ok_or_else(|| wrong("the picture is not in the split"))?;
            let rect = [x1 - FIRST_PIXEL, y1 - FIRST_PIXEL, x2, y2];
            out[image].push(Scored { class_id: i + 1, score, rect });
        }
    }
    if files == 0 {
        return Err(ResultsError::Empty { path: dir.to_path_buf(), expected: voc_file(split, "<class>") });
    }
    Ok(())
}

fn read_coco(path: &Path, set: &Dataset, out: &mut [Vec<Scored>]) -> Result<(), ResultsError> {
    let bytes = fs::read(path).map_err(|source| ResultsError::Io { path: path.to_path_buf(), source })?;
    let wrong = |what: String| ResultsError::Format { path: path.to_path_buf(), what };
    let rows: Vec<CocoDetection> =
        serde_json::from_slice(&bytes).map_err(|e| wrong(format!("not a COCO results file: {e}")))?;
    let image_of = image_index(set);
    let class_of: HashMap<u64, usize> = set.category_ids.iter().enumerate().map(|(i, &c)| (c, i + 1)).collect();
    for (n, row) in rows.into_iter().enumerate() {
        let id = match row.image_id {
            ImageId::Number(number) => number.to_string(),
            ImageId::Name(name) => name,
        };
        let &image = (image_of.get(id.as_str()))
            .ok_or_else(|| wrong(format!("detection {}: picture `{id}` is not in the data set", n + 1)))?;
        let &class_id = (class_of.get(&row.category_id)).ok_or_else(|| {
            wrong(format!("detection {}: category {} is not in the data set", n + 1, row.category_id))
        })?;
        let [x, y, w, h] = row.bbox;
        out[image].push(Scored { class_id, score: row.score, rect: [x, y, x + w, y + h] });
    }
    Ok(())
}

fn image_index(set: &Dataset) -> HashMap<&str, usize> {
    set.images.iter().enumerate().map(|(i, image)| (image.id.as_str(), i)).collect()
}

/// Name of the file of a class. Class names come from data files and must not lead into another folder.
fn voc_file(split: &str, class: &str) -> String {
    format!("comp4_det_{split}_{class}.txt").replace(['/', '\\', '\0'], "_")
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), ResultsError> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let io = |source| ResultsError::Io { path: path.to_path_buf(), source };
    folder.map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(path, bytes)).map_err(io)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::boxes::Rect;
    use crate::eval::ImageRecord;

    fn set(kind: DatasetKind, ids: [&str; 2]) -> Dataset {
        let image = |id: &str| ImageRecord { id: id.into(), path: PathBuf::new(), size: None, objects: Vec::new() };
        Dataset {
            kind,
            classes: vec!["sports ball".into(), "a/b".into()],
            category_ids: vec![3, 37],
            images: ids.map(image).to_vec(),
        }
    }

    fn detections() -> Vec<Vec<Scored>> {
        let at =
            |class_id, score, x: f32| Scored::new(class_id, score, Rect { x1: x, y1: 0.1, x2: x + 33.3, y2: 499.9 });
        vec![vec![], vec![at(1, 0.1, 1.0 / 3.0), at(1, 1.234_567_8e-7, 7.77), at(2, 0.999_999_9, 0.0)]]
    }

    #[test]
    fn both_formats_give_back_exactly_what_was_written() {
        let dir = tempfile::tempdir().unwrap();
        for (kind, ids) in [(DatasetKind::Voc, ["000005", "2008_1"]), (DatasetKind::Coco, ["5", "139"])] {
            let set = set(kind, ids);
            let (folder, json) = (dir.path().join("voc"), dir.path().join("x").join(COCO_RESULTS));
            write_voc(&folder, "val", &set, &detections()).unwrap();
            write_coco(&json, &set, &detections()).unwrap();
            assert_eq!(read_saved(&folder, "val", &set).unwrap(), detections());
            assert_eq!(read_saved(&json, "val", &set).unwrap(), detections());
            let number = fs::read_to_string(&json).unwrap().contains("\"image_id\":139,");
            assert_eq!(number, kind == DatasetKind::Coco);
        }
        assert!(dir.path().join("voc/comp4_det_val_a_b.txt").is_file());
    }

    #[test]
    fn wrong_files_are_errors_that_name_the_place() {
        let dir = tempfile::tempdir().unwrap();
        let set = set(DatasetKind::Voc, ["1", "2"]);
        let e = read_saved(dir.path(), "val", &set).unwrap_err().to_string();
        assert!(e.contains("comp4_det_val_<class>.txt"), "{e}");
        for (line, word) in
            [("1 0.5 1 2 3", "line 2"), ("1 0.5 1 2 3 NaN", "line 2"), ("9 0.5 1 2 3 4", "not in the split")]
        {
            fs::write(dir.path().join("comp4_det_val_sports ball.txt"), format!("1 0.5 1 2 3 4\n{line}\n")).unwrap();
            let e = read_saved(dir.path(), "val", &set).unwrap_err().to_string();
            assert!(e.contains("sports ball.txt") && e.contains(word), "{e}");
        }
        let json = dir.path().join("d.json");
        for (text, word) in [
            ("{}", "COCO results"),
            (r#"[{"image_id":9,"category_id":3,"bbox":[0,0,1,1],"score":1}]"#, "detection 1: picture `9`"),
            (r#"[{"image_id":"1","category_id":4,"bbox":[0,0,1,1],"score":1}]"#, "category 4"),
            (r#"[{"image_id":"1","category_id":3,"bbox":[0,0,1e999,1],"score":1}]"#, "out of range"),
        ] {
            fs::write(&json, text).unwrap();
            let e = read_saved(&json, "val", &set).unwrap_err().to_string();
            assert!(e.contains("d.json") && e.contains(word), "{e}");
        }
    }
}
