//! The capture thread: from the source into the ring.

use crossbeam::channel::Sender;

use super::Shared;
use super::counts::{Cause, Drops};
use super::output::Event;
use crate::source::{Next, Source, Stamp};

/// Fills buffers until the source ends or nobody wants any more.
pub(super) fn run(shared: &Shared, mut source: Box<dyn Source>, events: &Sender<Event>) {
    // What was of no use since the last frame that was.
    let mut missed = Drops::default();
    loop {
        let mut frame = shared.ring.buffer();
        let next = source.next(&mut frame);
        if shared.stop.is_set() {
            return;
        }
        if frame.lost_before > 0 && matches!(next, Ok(Next::Frame | Next::Skipped(..))) {
            missed.add(Cause::Driver, frame.lost_before);
            shared.counts.useless(Cause::Driver, frame.lost_before);
        }
        match next {
            Ok(Next::Frame) => {
                if frame.stamp == Stamp::Corrected {
                    shared.counts.time_corrected();
                }
                if !shared.ring.publish(frame, &mut missed, || shared.counts.captured()) {
                    return;
                }
            }
            Ok(Next::Skipped(flaw, message)) => {
                missed.add(flaw.into(), 1);
                shared.counts.useless(flaw.into(), 1);
                shared.ring.give_back(frame);
                if !shared.tell(events, message) {
                    return;
                }
            }
            Ok(Next::Away(away)) => {
                shared.ring.give_back(frame);
                shared.preview.iter().for_each(|preview| preview.away(away.lost, &away.trouble.message));
                // While the camera is away, nothing is lost by waiting for the reader.
                if events.send(Event::Away(away)).is_err() {
                    return;
                }
            }
            Ok(Next::End) => return,
            Err(e) => return shared.fail(&e),
        }
    }
}
