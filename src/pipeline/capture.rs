//! The capture thread: from the source into the ring.

use crossbeam::channel::Sender;

use super::Shared;
use super::output::Event;
use crate::source::{Next, Source};

/// Fills buffers until the source ends or nobody wants any more.
pub(super) fn run(shared: &Shared, mut source: Box<dyn Source>, events: &Sender<Event>) {
    loop {
        let mut frame = shared.ring.buffer();
        let next = source.next(&mut frame);
        if shared.stop.is_set() {
            return;
        }
        match next {
            Ok(Next::Frame) => {
                if !shared.ring.publish(frame, || shared.counts.captured()) {
                    return;
                }
            }
            Ok(Next::Skipped(message)) => {
                shared.counts.corrupt();
                shared.ring.give_back(frame);
                if !shared.tell(events, message) {
                    return;
                }
            }
            Ok(Next::End) => return,
            Err(e) => return shared.fail(e.to_string()),
        }
    }
}
