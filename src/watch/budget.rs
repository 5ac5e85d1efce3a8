//! Keeps the 95th percentile of a frame's processing time under a budget by going up and down a ladder.
//!
//! * Down when more than one in twenty of the last frames took too long, or several in a row did: to the best step that
//!   will fit, as far as the ladder's ratios tell.
//! * Up by one step when the 95th percentile leaves so much room that it will fit with a margin, and not sooner than a
//!   full window of frames after the last change.
//! * A step that was tried and had to be left soon is not tried again for twice as long as the last time, so that a load
//!   between two steps, or noise about the limit, does not make it go to and fro.
//!
//! Milliseconds come in, steps go out: no clock, no detector in here.

use super::ladder::{Rung, Step};

/// Frames the percentile is taken of. One twentieth of them may be too slow.
const WINDOW: usize = 100;

/// So many too slow frames in a row are enough to go down.
const IN_A_ROW: usize = 4;

/// A lower step is good enough if it takes this part of the budget.
const FITS: f64 = 0.92;

/// A higher step is worth a try if it takes this part of the budget.
const ROOM: f64 = 0.85;

/// A step must last so many times as long as it was waited for, or it was a failure.
const TRIAL: usize = 4;

/// No step is kept from being tried for longer than so many frames.
const LONGEST_HOLD: usize = 64 * WINDOW;

/// Frames after a change that do not count: the first at a new size pays for its plan.
const SETTLE: usize = 1;

/// Why the step in use is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It was the best that fits when the ladder was measured.
    Start,
    /// Frames took too long at a higher one.
    Over,
    /// There was room at a lower one.
    Room,
    /// It is the lowest; frames take too long nevertheless.
    Floor,
    /// The user wants this one.
    Pinned,
}

impl Reason {
    /// As `frame` lines say it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Over => "over",
            Self::Room => "room",
            Self::Floor => "floor",
            Self::Pinned => "pinned",
        }
    }
}

/// What a `frame` line says about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BudgetState {
    /// The budget, in milliseconds.
    pub limit_ms: f64,
    /// Number of the step, from 1, the cheapest.
    pub step: usize,
    /// Number of steps.
    pub of: usize,
    /// Why this one.
    pub reason: Reason,
}

/// Chooses the step.
#[derive(Debug, Clone)]
pub struct Budget {
    limit_ms: f64,
    rungs: Vec<Rung>,
    /// For each rung, frames to wait before it is tried.
    hold: Vec<usize>,
    at: usize,
    reason: Reason,
    /// Frames since the last change.
    since: usize,
    /// Times of the last frames at this step, as a ring.
    recent: Vec<f64>,
    sorted: Vec<f64>,
    in_a_row: usize,
}

impl Budget {
    /// Starts at the best rung that fits. `rungs` go from the cheapest to the dearest; there is one at least, or nothing
    /// is ever chosen.
    pub fn new(limit_ms: f64, rungs: Vec<Rung>) -> Self {
        let at = rungs.iter().rposition(|rung| rung.cost_ms <= FITS * limit_ms).unwrap_or(0);
        let reason = if rungs.len() < 2 { Reason::Pinned } else { Reason::Start };
        let (recent, sorted) = (Vec::with_capacity(WINDOW), Vec::with_capacity(WINDOW));
        Self { limit_ms, hold: vec![WINDOW; rungs.len()], rungs, at, reason, since: 0, recent, sorted, in_a_row: 0 }
    }

    /// The step to use.
    pub fn step(&self) -> Option<Step> {
        self.rungs.get(self.at).map(|rung| rung.step)
    }

    /// For the `frame` line.
    pub fn state(&self) -> BudgetState {
        BudgetState { limit_ms: self.limit_ms, step: self.at + 1, of: self.rungs.len(), reason: self.reason }
    }

    /// Takes note of a frame's processing time; a step comes back if it is time for another.
    pub fn observe(&mut self, ms: f64) -> Option<Step> {
        self.since += 1;
        if self.since <= SETTLE || self.rungs.len() < 2 {
            return None;
        }
        match self.recent.len() < WINDOW {
            true => self.recent.push(ms),
            false => self.recent[self.since % WINDOW] = ms,
        }
        self.in_a_row = if ms > self.limit_ms { self.in_a_row + 1 } else { 0 };
        if self.since == TRIAL * self.hold[self.at] {
            // The step has proved itself.
            self.hold[self.at] = (self.hold[self.at] / 2).max(WINDOW);
        }
        let slow = self.recent.iter().filter(|v| **v > self.limit_ms).count();
        if self.in_a_row >= IN_A_ROW || slow > WINDOW / 20 { self.down(ms) } else { self.up() }
    }

    fn down(&mut self, last_ms: f64) -> Option<Step> {
        // After a sudden change the window still holds good times; the last one tells more.
        let level = self.p95().max(if self.in_a_row >= IN_A_ROW { last_ms } else { 0.0 });
        if self.at == 0 {
            self.reason = Reason::Floor;
            return None;
        }
        if self.reason == Reason::Room && self.since < TRIAL * self.hold[self.at] {
            self.hold[self.at] = (2 * self.hold[self.at]).min(LONGEST_HOLD);
        }
        let fits = |to: &usize| self.predicted(level, *to) <= FITS * self.limit_ms;
        let to = (0..self.at).rev().find(fits).unwrap_or(0);
        self.go(to, Reason::Over)
    }

    fn up(&mut self) -> Option<Step> {
        let to = self.at + 1;
        if self.recent.len() < WINDOW || to == self.rungs.len() || self.since < self.hold[to] {
            return None;
        }
        let level = self.p95();
        if self.predicted(level, to) <= ROOM * self.limit_ms { self.go(to, Reason::Room) } else { None }
    }

    fn go(&mut self, to: usize, reason: Reason) -> Option<Step> {
        (self.at, self.reason, self.since, self.in_a_row) = (to, reason, 0, 0);
        self.recent.clear();
        self.step()
    }

    /// What frames will take at another rung, if they take `level` at this one.
    fn predicted(&self, level: f64, to: usize) -> f64 {
        level * self.rungs[to].cost_ms / self.rungs[self.at].cost_ms.max(1e-6)
    }

    fn p95(&mut self) -> f64 {
        self.sorted.clear();
        self.sorted.extend_from_slice(&self.recent);
        self.sorted.sort_unstable_by(f64::total_cmp);
        let rank = (self.sorted.len() * 95).div_ceil(100).max(1) - 1;
        self.sorted.get(rank).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
#[path = "budget_tests.rs"]
mod tests;
