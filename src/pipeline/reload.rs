//! Another configuration and model while the run goes on.
//!
//! Asked for by a flag that a signal handler sets. A thread of its own reads and prepares everything, while frames go on
//! being looked at as before; what it has made is taken over as a whole between two frames. If anything about it is
//! wrong, an `error` line says so and nothing changes.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use crossbeam::channel::Sender;

use super::Shared;
use super::output::{Event, Settings};
use crate::sink::stream::{Model, Names};
use crate::watch::Watcher;

/// Everything that a reload exchanges.
pub struct Fresh {
    /// Looks at frames.
    pub watcher: Watcher,
    /// What the output has to know of it.
    pub face: Face,
}

/// What the output has to know of a [`Fresh`].
#[derive(Debug, Clone)]
pub struct Face {
    /// Which model.
    pub model: Model,
    /// What its trunk is computed with.
    pub kernels: &'static str,
    /// What classes and zones are called.
    pub names: Names,
    /// What is said and when.
    pub settings: Settings,
}

/// How to reload.
#[derive(Clone)]
pub struct Reload {
    /// Set when somebody asks for it.
    pub asked: Arc<AtomicBool>,
    /// Reads and prepares everything, or says why the old has to stay.
    pub load: Arc<dyn Fn() -> Result<Fresh, String> + Send + Sync>,
}

/// What waits to be taken over.
#[derive(Default)]
pub(super) struct Waiting(Mutex<Option<Fresh>>);

impl Waiting {
    /// Exchanges the watcher if there is a new one.
    pub fn adopt(&self, watcher: &mut Watcher) -> Option<Face> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        watcher.replace(fresh.watcher);
        Some(fresh.face)
    }

    fn put(&self, fresh: Fresh) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fresh);
    }
}

/// Starts reloads, one at a time.
pub(super) struct Reloader {
    reload: Option<Reload>,
    running: Arc<AtomicBool>,
}

impl Reloader {
    pub fn new(reload: Option<Reload>) -> Self {
        Self { reload, running: Arc::default() }
    }

    /// Starts one if it was asked for and none is under way.
    pub fn look(&self, shared: &Arc<Shared>, events: &Sender<Event>) {
        let Some(reload) = &self.reload else { return };
        if self.running.load(Ordering::Acquire) || !reload.asked.swap(false, Ordering::AcqRel) {
            return;
        }
        shared.notifier.reloading(shared.clock.now().mono);
        log::info!("reading configuration and model again");
        self.running.store(true, Ordering::Release);
        let (load, running) = (Arc::clone(&reload.load), Arc::clone(&self.running));
        let (for_thread, events) = (Arc::clone(shared), events.clone());
        let body = move || {
            let broke_down = |_| Err("the configuration could not be read; please report the message above".to_owned());
            match catch_unwind(AssertUnwindSafe(|| load())).unwrap_or_else(broke_down) {
                Ok(fresh) => for_thread.fresh.put(fresh),
                Err(why) => drop(events.send(Event::Notice(format!("{why}; going on with the old configuration")))),
            }
            for_thread.notifier.ready("running");
            running.store(false, Ordering::Release);
        };
        if let Err(e) = thread::Builder::new().name("reload".into()).spawn(body) {
            log::error!("cannot start a thread to read the configuration: {e}; going on with the old one");
            shared.notifier.ready("running");
            self.running.store(false, Ordering::Release);
        }
    }
}
