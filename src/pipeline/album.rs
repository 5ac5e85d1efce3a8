//! Pictures of events: when an object appears, the frame is kept with what was found drawn into it.
//!
//! Drawing, compressing and writing take longer than a frame, so a thread of its own does them. There is one picture
//! under way at a time; an event meanwhile, or too soon after the last, has none. A full disk costs pictures, nothing else.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};

use super::RunError;
use super::output::Event;
use crate::clock::Moment;
use crate::frame::Picture;
use crate::sink::json::Found;
use crate::sink::snapshots::Folder;
use crate::sink::stream::Names;
use crate::watch::{Object, Watched};

/// Which pictures are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshots {
    /// The folder.
    pub dir: PathBuf,
    /// Time between two pictures, at least.
    pub every: Duration,
    /// The oldest pictures are removed so that all take no more than this.
    pub max_bytes: u64,
}

/// An event on its way into the folder.
struct Shot {
    picture: Picture,
    objects: Vec<Object>,
    names: Names,
    at: Moment,
}

/// Decides which frames are kept.
pub(super) struct Album {
    every: Duration,
    names: Names,
    to: Sender<Shot>,
    /// The picture written last: its memory.
    back: Receiver<Picture>,
    last: Option<Moment>,
    last_id: u64,
    /// Objects of each class in the frame before, and in this one.
    before: Vec<usize>,
    now: Vec<usize>,
}

impl Album {
    /// Opens the folder and starts the thread.
    pub fn start(wanted: Snapshots, names: Names, events: &Sender<Event>) -> Result<Self, RunError> {
        let folder = Folder::open(&wanted.dir, wanted.max_bytes).map_err(|e| RunError::Failed(e.to_string()))?;
        let ((to, shots), (give_back, back)) = (bounded(1), bounded(1));
        let events = events.clone();
        let keep = move || keep(&folder, &shots, &give_back, &events);
        thread::Builder::new().name("album".into()).spawn(keep).map_err(RunError::Thread)?;
        let (last, last_id, before, now) = Default::default();
        Ok(Self { every: wanted.every, names, to, back, last, last_id, before, now })
    }

    /// Classes are called otherwise from here on.
    pub fn rename(&mut self, names: &Names) {
        self.names = names.clone();
    }

    /// Keeps the frame if something has appeared in it.
    pub fn consider(&mut self, picture: &Picture, watched: &Watched, at: Moment) {
        let soon = self.last.is_some_and(|last| at.mono.saturating_sub(last.mono) < self.every);
        // Asked first: what has appeared is to be remembered in any case.
        if !self.has_appeared(&watched.objects) || soon || self.to.is_full() {
            return;
        }
        let mut copy = self.back.try_recv().unwrap_or_else(|_| Picture { width: 0, height: 0, rgb: Vec::new() });
        copy.copy_from(picture);
        let shot = Shot { picture: copy, objects: watched.objects.clone(), names: self.names.clone(), at };
        if self.to.try_send(shot).is_ok() {
            self.last = Some(at);
        }
    }

    /// True if an object has a number that none had before, or, without numbers, if there are more of a class.
    fn has_appeared(&mut self, objects: &[Object]) -> bool {
        self.now.clear();
        let mut news = false;
        for object in objects {
            let class = object.detection.class_id;
            if self.now.len() <= class {
                self.now.resize(class + 1, 0);
            }
            self.now[class] += 1;
            if let Some(track) = object.track {
                news |= track.id > self.last_id;
                self.last_id = self.last_id.max(track.id);
            }
        }
        let numbered = objects.iter().any(|object| object.track.is_some());
        let more = self.now.iter().enumerate().any(|(class, n)| *n > self.before.get(class).copied().unwrap_or(0));
        std::mem::swap(&mut self.now, &mut self.before);
        if numbered { news } else { more }
    }
}

/// The thread.
fn keep(folder: &Folder, shots: &Receiver<Shot>, back: &Sender<Picture>, events: &Sender<Event>) {
    for Shot { mut picture, objects, names, at } in shots {
        let found: Vec<Found<'_>> = objects.iter().map(|object| names.found(object)).collect();
        if let Err(e) = folder.add(&mut picture, &found, at) {
            // The output may wait for its reader; then the log has it.
            if events.try_send(Event::Trouble(e.to_string())).is_err() {
                log::error!("{e}");
            }
        }
        let _ = back.try_send(picture);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::boxes::Rect;
    use crate::detector::Detection;
    use crate::watch::Track;

    fn object(class_id: usize, id: Option<u64>) -> Object {
        let rect = Rect { x1: 1.0, y1: 1.0, x2: 9.0, y2: 9.0 };
        let track = id.map(|id| Track { id, age: 1 });
        Object { detection: Detection { class_id, score: 0.9, rect }, zones: 0, track }
    }

    fn album(dir: &std::path::Path) -> Album {
        let wanted = Snapshots { dir: dir.to_owned(), every: Duration::from_secs(1), max_bytes: 1 << 20 };
        Album::start(wanted, Names::default(), &bounded(1).0).unwrap()
    }

    #[test]
    fn an_event_is_an_object_that_was_not_there_before() {
        let dir = tempfile::tempdir().unwrap();
        let mut album = album(dir.path());
        let appeared: Vec<bool> = [
            vec![],
            vec![object(1, None)],
            vec![object(1, None)],
            vec![object(2, None)],
            vec![object(2, None), object(2, None)],
            vec![object(2, None)],
            vec![object(3, Some(1))],
            vec![object(3, Some(1)), object(3, Some(2))],
            vec![object(3, Some(2))],
            vec![object(3, Some(2)), object(3, Some(1))],
        ]
        .iter()
        .map(|objects| album.has_appeared(objects))
        .collect();
        assert_eq!(appeared, [false, true, false, true, true, false, true, true, false, false]);
    }
}
