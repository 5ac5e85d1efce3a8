//! A folder of annotated pictures that takes no more space than it may.
//!
//! Pictures are called `edge-rcnn-20260105T100002.034Z.jpg` after the time of capture in UTC, so names sort by time. Each
//! is written under another name and moved into place when it is complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::annotate::{SaveError, draw, save};
use super::json::Found;
use crate::clock::Moment;
use crate::frame::Picture;

/// Names of pictures start with it; other files in the folder are left alone.
const PREFIX: &str = "edge-rcnn-";

/// The picture being written.
const PARTIAL: &str = ".edge-rcnn-partial.jpg";

/// Why a folder cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {reason}; snapshots need a folder that this program may write to", dir.display())]
pub struct FolderError {
    dir: PathBuf,
    reason: io::Error,
}

/// The folder.
#[derive(Debug)]
pub struct Folder {
    dir: PathBuf,
    max_bytes: u64,
}

impl Folder {
    /// Makes the folder if it is not there, and removes what an earlier run left unfinished.
    pub fn open(dir: &Path, max_bytes: u64) -> Result<Self, FolderError> {
        fs::create_dir_all(dir).map_err(|reason| FolderError { dir: dir.to_owned(), reason })?;
        let _ = fs::remove_file(dir.join(PARTIAL));
        Ok(Self { dir: dir.to_owned(), max_bytes })
    }

    /// Draws the objects into the picture, writes it, and removes the oldest pictures if there is no space for all.
    pub fn add(&self, picture: &mut Picture, found: &[Found<'_>], at: Moment) -> Result<(), SaveError> {
        draw(picture, found);
        let partial = self.dir.join(PARTIAL);
        let time = at.rfc3339().replace(['-', ':'], "");
        let path = self.dir.join(format!("{PREFIX}{time}.jpg"));
        let written = save(picture, &partial).and_then(|()| {
            let length = fs::metadata(&partial).map_or(0, |m| m.len());
            self.make_room(length);
            fs::rename(&partial, &path).map_err(|e| SaveError::Write { path, reason: e.to_string() })
        });
        if written.is_err() {
            // Half a picture is of no use, and the disk may be full because of it.
            let _ = fs::remove_file(&partial);
        }
        written
    }

    /// Removes the oldest pictures until so many more bytes fit.
    fn make_room(&self, more: u64) {
        let mut kept: Vec<(PathBuf, u64)> = self.pictures();
        kept.sort();
        let mut total = more + kept.iter().map(|(_, length)| length).sum::<u64>();
        for (path, length) in kept {
            if total <= self.max_bytes {
                return;
            }
            if let Err(e) = fs::remove_file(&path) {
                log::warn!("{}: cannot be removed to make room: {e}", path.display());
            }
            total -= length;
        }
    }

    fn pictures(&self) -> Vec<(PathBuf, u64)> {
        let Ok(entries) = fs::read_dir(&self.dir) else { return Vec::new() };
        let ours = |name: &str| name.starts_with(PREFIX) && name.ends_with(".jpg");
        let entries = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(ours));
        entries.filter_map(|entry| Some((entry.path(), entry.metadata().ok()?.len()))).collect()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::{Duration, SystemTime};

    fn at(seconds: u64) -> Moment {
        let mono = Duration::from_secs(seconds);
        Moment { wall: SystemTime::UNIX_EPOCH + mono, mono }
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn noise() -> Picture {
        Picture { width: 64, height: 48, rgb: (0..64 * 48 * 3).map(|i| (i * i % 251) as u8).collect() }
    }

    #[test]
    fn the_oldest_pictures_go_when_the_space_is_used_and_other_files_stay() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine.jpg"), [0; 100_000]).unwrap();
        Folder::open(dir.path(), 1 << 20).unwrap().add(&mut noise(), &[], at(0)).unwrap();
        let one = fs::metadata(dir.path().join("edge-rcnn-19700101T000000.000Z.jpg")).unwrap().len();
        let folder = Folder::open(dir.path(), one * 7 / 2).unwrap();
        for second in 1..10 {
            folder.add(&mut noise(), &[], at(second)).unwrap();
        }
        let kept = ["07", "08", "09"].map(|s| format!("edge-rcnn-19700101T0000{s}.000Z.jpg"));
        assert_eq!(names(dir.path())[..3], kept);
        assert_eq!(names(dir.path())[3], "mine.jpg");
        assert!(image::open(dir.path().join(&kept[0])).is_ok());
    }

    #[test]
    fn a_folder_that_goes_away_is_an_error_each_time_and_a_folder_again_when_it_is_back() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("a/b");
        let folder = Folder::open(&dir, 1 << 20).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        assert!(folder.add(&mut noise(), &[], at(0)).is_err());
        fs::create_dir_all(&dir).unwrap();
        folder.add(&mut noise(), &[], at(1)).unwrap();
        assert_eq!(names(&dir).len(), 1);
    }

    #[test]
    fn a_file_is_no_folder() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let said = Folder::open(file.path(), 1).unwrap_err().to_string();
        assert!(said.contains("need a folder"), "{said}");
    }
}
