//! The inference thread: from the ring, through the detector, to the output.

use crossbeam::channel::{Sender, TrySendError};

use super::counts::{Cause, Drops};
use super::output::{Event, Seen};
use super::{Look, Shared, Taken};
use crate::frame::{Picture, to_picture};
use crate::source::Frame;

/// Looks at frames until there are no more.
pub(super) fn run(shared: &Shared, look: &mut dyn Look, events: &Sender<Event>) {
    let mut picture = Picture { width: 0, height: 0, rgb: Vec::new() };
    // What was dropped since the last frame that reached the output.
    let mut missed = Drops::default();
    while let Some(Taken { frame, replaced, missed: useless }) = shared.ring.take() {
        missed.merge(&useless);
        shared.drop_frames(&mut missed, Cause::Busy, replaced);
        let going_on = match look_at(shared, &frame, &mut picture, look) {
            Ok(seen) => deliver(shared, seen, &mut missed, events),
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

/// One frame through decoder and detector.
fn look_at(
    shared: &Shared,
    frame: &Frame,
    picture: &mut Picture,
    look: &mut dyn Look,
) -> Result<Seen, (Cause, String)> {
    let named = |e: &dyn std::fmt::Display| match &frame.path {
        Some(path) => format!("{}: {e}", path.display()),
        None => format!("frame {}: {e}", frame.seq),
    };
    let started = shared.clock.now();
    to_picture(frame.layout, &frame.bytes, picture).map_err(|e| (Cause::Corrupt, named(&e)))?;
    let decoded = shared.clock.now();
    let detected = look.look(picture).map_err(|e| (Cause::Failed, named(&e)))?;
    Ok(Seen {
        seq: frame.seq,
        captured: frame.captured,
        stamp: frame.stamp,
        camera: frame.camera.clone(),
        path: frame.path.clone(),
        format: frame.layout.format,
        width: picture.width,
        height: picture.height,
        wait_ms: started.ms_since(frame.captured),
        decode_ms: decoded.ms_since(started),
        finished: shared.clock.now(),
        detected,
        missed: Drops::default(),
    })
}

/// Hands a result on. A live source does not wait for the reader: the result is dropped if there is no place.
fn deliver(shared: &Shared, mut seen: Seen, missed: &mut Drops, events: &Sender<Event>) -> bool {
    seen.missed = std::mem::take(missed);
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
