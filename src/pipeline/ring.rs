//! Frames on their way from capture to inference.
//!
//! Three frame buffers go round: one is being filled, one waits, one is being looked at. A live source replaces the one
//! that waits by a newer one, so inference always gets the newest and nothing is ever copied; any other source waits
//! until the place is free. The lock is held for the time it takes to move a few pointers.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use ringbuf::LocalRb;
use ringbuf::storage::Heap;
use ringbuf::traits::Observer;

use super::counts::Drops;
use crate::source::Frame;

/// One filled, one waiting, one looked at.
const BUFFERS: usize = 3;

/// The way from capture to inference.
pub struct Ring {
    state: Mutex<State>,
    changed: Condvar,
    newest_wins: bool,
}

struct State {
    ready: LocalRb<Heap<Frame>>,
    free: LocalRb<Heap<Frame>>,
    /// Frames replaced by newer ones since the last was taken.
    replaced: u64,
    /// Frames of no use between the last that was taken and the one that waits.
    missed: Drops,
    /// No more frames will come.
    ended: bool,
    /// No more frames are wanted.
    closed: bool,
}

/// A frame to look at.
pub struct Taken {
    /// The frame.
    pub frame: Frame,
    /// How many it has replaced.
    pub replaced: u64,
    /// Frames that came before it and were of no use.
    pub missed: Drops,
}

impl Ring {
    /// An empty ring; with `newest_wins`, capture never waits for inference.
    pub fn new(newest_wins: bool) -> Self {
        let mut free = LocalRb::new(BUFFERS);
        free.push_iter(std::iter::repeat_with(Frame::default).take(BUFFERS));
        let state =
            State { ready: LocalRb::new(1), free, replaced: 0, missed: Drops::default(), ended: false, closed: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), newest_wins }
    }

    /// A buffer to fill.
    pub fn buffer(&self) -> Frame {
        // There is one: of three, one waits and one is looked at, at most.
        self.lock().free.try_pop().unwrap_or_default()
    }

    /// Hands a filled buffer on, with the account of what was `missed` before it, and calls `accepted` before anybody can
    /// take it. False if nobody wants it any more.
    pub fn publish(&self, frame: Frame, missed: &mut Drops, accepted: impl FnOnce()) -> bool {
        let mut state = self.lock();
        while !self.newest_wins && state.ready.is_full() && !state.closed {
            state = self.wait(state);
        }
        if state.closed {
            return false;
        }
        accepted();
        state.missed.merge(&std::mem::take(missed));
        if let Some(older) = state.ready.push_overwrite(frame) {
            state.replaced += 1;
            let _ = state.free.try_push(older);
        }
        self.changed.notify_all();
        true
    }

    /// Waits for a frame to look at; none if there will be no more.
    pub fn take(&self) -> Option<Taken> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(frame) = state.ready.try_pop() {
                self.changed.notify_all();
                let (replaced, missed) = (std::mem::take(&mut state.replaced), std::mem::take(&mut state.missed));
                return Some(Taken { frame, replaced, missed });
            }
            if state.ended {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Gives a buffer back after it was filled in vain or looked at.
    pub fn give_back(&self, frame: Frame) {
        let _ = self.lock().free.try_push(frame);
    }

    /// There will be no more frames; one that waits will still be taken.
    pub fn end(&self) {
        self.lock().ended = true;
        self.changed.notify_all();
    }

    /// No more frames are wanted.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    /// Frames that nobody has taken account of: still waiting, or replaced since the last was taken.
    pub fn left(&self) -> (u64, u64) {
        let mut state = self.lock();
        (u64::from(state.ready.try_pop().is_some()), std::mem::take(&mut state.replaced))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Each change is complete before anything can panic, so a poisoned state is a whole one.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn publish(ring: &Ring, seq: u64) -> bool {
        let mut frame = ring.buffer();
        frame.seq = seq;
        frame.bytes.resize(1000, 0);
        ring.publish(frame, &mut Drops::default(), || ())
    }

    #[test]
    fn a_slow_reader_gets_the_newest_frame_and_the_number_of_those_it_replaced() {
        let ring = Ring::new(true);
        let mut seq = 0;
        for round in 0..50 {
            for _ in 0..5 {
                assert!(publish(&ring, seq));
                seq += 1;
            }
            let taken = ring.take().unwrap();
            assert_eq!((taken.frame.seq, taken.replaced), (seq - 1, 4), "round {round}");
            // Frames go on coming while this one is looked at.
            assert!(publish(&ring, seq));
            seq += 1;
            let next = ring.take().unwrap();
            assert_eq!((next.frame.seq, next.replaced), (seq - 1, 0));
            ring.give_back(taken.frame);
            ring.give_back(next.frame);
        }
    }

    #[test]
    fn the_same_three_buffers_go_round() {
        let ring = Ring::new(true);
        let mut seen = std::collections::HashSet::new();
        for seq in 0..100 {
            let mut frame = ring.buffer();
            frame.seq = seq;
            frame.bytes.resize(1000, 0);
            seen.insert(frame.bytes.as_ptr());
            ring.publish(frame, &mut Drops::default(), || ());
            if seq % 3 == 0 {
                ring.give_back(ring.take().unwrap().frame);
            }
        }
        assert!(seen.len() <= BUFFERS, "{}", seen.len());
    }

    #[test]
    fn without_newest_wins_every_frame_arrives_in_order() {
        let ring = Ring::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..200).for_each(|seq| assert!(publish(&ring, seq)));
                ring.end();
            });
            for seq in 0..200 {
                let taken = ring.take().unwrap();
                assert_eq!((taken.frame.seq, taken.replaced), (seq, 0));
                ring.give_back(taken.frame);
            }
            assert!(ring.take().is_none());
        });
    }

    #[test]
    fn closing_wakes_whoever_waits() {
        let ring = Ring::new(false);
        assert!(publish(&ring, 0));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| publish(&ring, 1));
            ring.close();
            assert!(!waiting.join().unwrap());
        });
        assert!(ring.take().is_none());
        assert_eq!(ring.left(), (1, 0));
    }
}
