//! Where inference, studio and viewers meet: a frame to be drawn goes one way, the newest picture the other.
//!
//! A viewer that waits is what sets everything off: it has the studio ask for a frame, and inference gives the next one.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::frame::Picture;
use crate::sink::stream::Names;
use crate::watch::Object;

/// A frame on its way to the studio, and its memory on the way back.
pub struct Shot {
    pub picture: Picture,
    pub objects: Vec<Object>,
    pub names: Arc<Names>,
}

/// A finished picture.
#[derive(Clone, Default)]
pub struct Print {
    /// Counts up from 1.
    pub number: u64,
    /// The file.
    pub jpeg: Arc<[u8]>,
    /// What was drawn, by name, as [`figures`](super::figures) has it.
    pub seen: Arc<[Sight]>,
}

/// An object in a picture.
pub struct Sight {
    pub label: String,
    pub class_id: usize,
    pub score: f32,
    pub track: Option<u64>,
}

/// What lies on it.
struct Papers {
    names: Arc<Names>,
    /// Viewers that wait for a picture.
    waiting: usize,
    shot: Option<Shot>,
    spare: Option<Shot>,
    print: Print,
    closed: bool,
}

/// See the module.
pub struct Desk {
    /// The studio waits for a frame. Read by inference for each one.
    wanted: AtomicBool,
    papers: Mutex<Papers>,
    changed: Condvar,
}

impl Desk {
    pub fn new(names: Names) -> Self {
        let (names, print) = (Arc::new(names), Print::default());
        let papers = Papers { names, waiting: 0, shot: None, spare: None, print, closed: false };
        Self { wanted: AtomicBool::new(false), papers: Mutex::new(papers), changed: Condvar::new() }
    }

    /// For inference: leaves a copy if one is wanted. Never waits: the lock is held for moving a few pointers.
    pub fn offer(&self, picture: &Picture, objects: &[Object]) {
        if !self.wanted.load(Ordering::Acquire) {
            return;
        }
        let (spare, names) = {
            let mut papers = self.lock();
            (papers.spare.take(), Arc::clone(&papers.names))
        };
        let empty = || Shot {
            picture: Picture { width: 0, height: 0, rgb: Vec::new() },
            objects: Vec::new(),
            names: Arc::clone(&names),
        };
        let mut shot = spare.unwrap_or_else(empty);
        shot.picture.copy_from(picture);
        shot.objects.clear();
        shot.objects.extend_from_slice(objects);
        shot.names = names;
        self.wanted.store(false, Ordering::Release);
        self.lock().shot = Some(shot);
        self.changed.notify_all();
    }

    /// Classes are called otherwise from here on.
    pub fn rename(&self, names: &Names) {
        self.lock().names = Arc::new(names.clone());
    }

    /// For the studio: waits until somebody looks, but not before `rested`, then for a frame. `idle` is called when
    /// nobody has looked for a while. None at the end.
    pub fn next_shot(&self, rested: Instant, mut idle: impl FnMut()) -> Option<Shot> {
        const A_WHILE: Duration = Duration::from_secs(5);
        let mut papers = self.lock();
        while papers.waiting == 0 && !papers.closed {
            let (again, timeout) = self.changed.wait_timeout(papers, A_WHILE).unwrap_or_else(PoisonError::into_inner);
            papers = again;
            if timeout.timed_out() && papers.waiting == 0 {
                (papers.spare, papers.print.jpeg, papers.print.seen) = (None, Arc::default(), Arc::default());
                idle();
            }
        }
        while let Some(left) = rested.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
            if papers.closed {
                break;
            }
            papers = self.changed.wait_timeout(papers, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        self.wanted.store(true, Ordering::Release);
        while papers.shot.is_none() && !papers.closed {
            papers = self.changed.wait(papers).unwrap_or_else(PoisonError::into_inner);
        }
        papers.shot.take()
    }

    /// For the studio: the finished picture, and the memory of its frame.
    pub fn publish(&self, jpeg: &[u8], seen: Vec<Sight>, shot: Shot) {
        let (jpeg, seen) = (Arc::from(jpeg), Arc::from(seen));
        let mut papers = self.lock();
        let number = papers.print.number + 1;
        papers.print = Print { number, jpeg, seen };
        papers.spare = Some(shot);
        self.changed.notify_all();
    }

    /// For viewers: a picture newer than the one with this number, waiting for it for so long.
    pub fn newer(&self, than: u64, most: Duration) -> Option<Print> {
        let end = Instant::now() + most;
        let mut papers = self.lock();
        papers.waiting += 1;
        self.changed.notify_all();
        while papers.print.number <= than && !papers.closed {
            let Some(left) = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) else { break };
            papers = self.changed.wait_timeout(papers, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        papers.waiting -= 1;
        (papers.print.number > than).then(|| papers.print.clone())
    }

    /// The newest picture, however old it is. Before the first, and after nobody has looked for a while, an empty one.
    pub fn newest(&self) -> Print {
        self.lock().print.clone()
    }

    /// Sends everybody home; false if that was done before.
    pub fn close(&self) -> bool {
        let open = !std::mem::replace(&mut self.lock().closed, true);
        self.changed.notify_all();
        open
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    fn lock(&self) -> MutexGuard<'_, Papers> {
        // Each change is complete before anything can panic, so a poisoned state is a whole one.
        self.papers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
