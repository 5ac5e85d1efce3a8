//! The inference thread: from the ring, through the watcher, to the output.

use crossbeam::channel::{Receiver, Sender, TrySendError};

use super::album::Album;
use super::counts::{Cause, Drops};
use super::output::{Event, Seen};
use super::pulse::Stage;
use super::{Shared, Taken};
use crate::frame::{Picture, to_picture};
use crate::sink::preview;
use crate::source::Frame;
use crate::watch::{Watched, Watcher};

/// Looks at frames until there are no more. `spent` gives back the memory of results that were written.
pub(super) fn run(
    shared: &Shared,
    mut watcher: Watcher,
    mut album: Option<Album>,
    events: &Sender<Event>,
    spent: &Receiver<Watched>,
) {
    let mut picture = Picture { width: 0, height: 0, rgb: Vec::new() };
    // What was dropped since the last frame that reached the output.
    let mut missed = Drops::default();
    while let Some(Taken { frame, replaced, missed: useless }) = shared.take() {
        missed.merge(&useless);
        shared.drop_frames(&mut missed, Cause::Busy, replaced);
        if let Some(fresh) = shared.fresh.adopt(&mut watcher) {
            album.iter_mut().for_each(|album| album.rename(&fresh.names));
            shared.preview.iter().for_each(|preview| preview.rename(&fresh.model.name, fresh.kernels, &fresh.names));
            let _ = events.send(Event::Adopted(fresh));
        }
        let watched = spent.try_recv().unwrap_or_default();
        let going_on = match look_at(shared, &frame, &mut picture, &mut watcher, watched) {
            Ok(seen) => {
                album.iter_mut().for_each(|album| album.consider(&picture, &seen.watched, seen.captured));
                shared.show(&picture, &seen);
                deliver(shared, seen, &mut missed, events)
            }
            Err((cause, message)) => {
                shared.drop_frames(&mut missed, cause, 1);
                shared.tell(events, message)
            }
        };
        shared.ring.give_back(frame);
        if !going_on {
            break;
        }
    }
    shared.ring.close();
    let (waiting, replaced) = shared.ring.left();
    shared.counts.dropped(Cause::Stop, waiting);
    shared.counts.dropped(Cause::Busy, replaced);
}

/// One frame through decoder and watcher.
fn look_at(
    shared: &Shared,
    frame: &Frame,
    picture: &mut Picture,
    watcher: &mut Watcher,
    watched: Watched,
) -> Result<Seen, (Cause, String)> {
    let named = |e: &dyn std::fmt::Display| match &frame.path {
        Some(path) => format!("{}: {e}", path.display()),
        None => format!("frame {}: {e}", frame.seq),
    };
    let mut seen = Seen::of(frame, watched);
    let started = shared.clock.now();
    shared.pulse.enter(Stage::Decode, frame.seq);
    to_picture(frame.layout, &frame.bytes, picture).map_err(|e| (Cause::Corrupt, named(&e)))?;
    let decoded = shared.clock.now();
    shared.pulse.enter(Stage::Detect, frame.seq);
    watcher.watch(picture, &mut seen.watched).map_err(|e| (Cause::Failed, named(&e)))?;
    seen.finished = shared.clock.now();
    (seen.width, seen.height) = (picture.width, picture.height);
    (seen.wait_ms, seen.decode_ms) = (started.ms_since(frame.captured), decoded.ms_since(started));
    if !seen.watched.gated {
        watcher.took(seen.finished.ms_since(started));
    }
    Ok(seen)
}

/// Hands a result on. A live source does not wait for the reader: the result is dropped if there is no place.
fn deliver(shared: &Shared, mut seen: Seen, missed: &mut Drops, events: &Sender<Event>) -> bool {
    seen.missed = std::mem::take(missed);
    shared.pulse.enter(Stage::Deliver, seen.seq);
    if !shared.live {
        return events.send(Event::Seen(seen)).is_ok();
    }
    match events.try_send(Event::Seen(seen)) {
        Ok(()) => true,
        Err(TrySendError::Full(Event::Seen(seen))) => {
            *missed = seen.missed;
            shared.drop_frames(missed, Cause::Reader, 1);
            true
        }
        Err(_) => false,
    }
}

impl Shared {
    /// Waits for a frame; waiting is no fault of the detector.
    fn take(&self) -> Option<Taken> {
        self.pulse.enter(Stage::Wait, 0);
        self.ring.take()
    }

    /// Shows a frame to whoever looks at the preview.
    fn show(&self, picture: &Picture, seen: &Seen) {
        let Some(preview) = &self.preview else { return };
        let (Watched { objects, detected, gated, budget }, (total, dropped)) = (&seen.watched, self.counts.read());
        let (captured, finished, size) = (seen.captured, seen.finished, (seen.width, seen.height));
        let (scale, proposals, budget, gated) = (seen.scale(), detected.proposals, *budget, *gated);
        let dropped = &dropped.named();
        preview.frame(
            picture,
            objects,
            &preview::Frame { captured, finished, size, scale, proposals, budget, gated, total, dropped },
        );
    }

    /// Counts dropped frames, for the next frame's line and for the whole run.
    fn drop_frames(&self, missed: &mut Drops, cause: Cause, n: u64) {
        missed.add(cause, n);
        self.counts.dropped(cause, n);
    }

    /// Tells what went wrong with a frame; false if the output is gone. Of an endless source not everything is told.
    pub(super) fn tell(&self, events: &Sender<Event>, message: String) -> bool {
        let event = Event::Trouble(message);
        match self.endless {
            true => !matches!(events.try_send(event), Err(TrySendError::Disconnected(_))),
            false => events.send(event).is_ok(),
        }
    }
}
