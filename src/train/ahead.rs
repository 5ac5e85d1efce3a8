//! Work done ahead of the trainer, on all cores but its own, and handed over in order.

use std::num::NonZero;
use std::ops::Range;
use std::thread::{self, Scope};

use crossbeam::channel::{Receiver, bounded};

/// Results of each worker that may wait for the trainer.
const WAITING: usize = 2;

/// Results of the steps of a run, in order.
#[derive(Debug)]
pub struct Ahead<T> {
    /// Worker `k` of `n` makes every `n`-th step, from the `k`-th on.
    workers: Vec<Receiver<T>>,
    next: usize,
}

/// Calls `make` for each step on threads of the scope. Each thread has a state of its own, from `state`.
pub fn start<'scope, S, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    steps: Range<u64>,
    state: impl Fn() -> S,
    make: impl Fn(&mut S, u64) -> T + Copy + Send + 'scope,
) -> Ahead<T>
where
    S: Send + 'scope,
{
    let threads = cores().saturating_sub(1).max(1);
    let worker = |first: usize| {
        let (sender, receiver) = bounded(WAITING);
        let (mut state, steps) = (state(), steps.clone());
        scope.spawn(move || {
            for step in steps.skip(first).step_by(threads) {
                // Sending fails when the trainer stopped with an error.
                if sender.send(make(&mut state, step)).is_err() {
                    return;
                }
            }
        });
        receiver
    };
    Ahead { workers: (0..threads).map(worker).collect(), next: 0 }
}

impl<T> Iterator for Ahead<T> {
    type Item = T;

    /// The next step's result; nothing after the last one, or if its worker died.
    fn next(&mut self) -> Option<T> {
        let result = self.workers[self.next].recv().ok();
        self.next = (self.next + 1) % self.workers.len();
        result
    }
}

/// Calls `work` on each item, on as many threads as there are cores, and returns the results in order.
pub fn side_by_side<T: Send, R: Send>(items: Vec<T>, work: impl Fn(T) -> R + Sync) -> Vec<R> {
    let share = items.len().div_ceil(cores()).max(1);
    if share >= items.len() {
        return items.into_iter().map(work).collect();
    }
    let mut items = items.into_iter();
    let work = &work;
    thread::scope(|scope| {
        let shares: Vec<Vec<T>> =
            std::iter::from_fn(|| Some(items.by_ref().take(share).collect()).filter(|s: &Vec<T>| !s.is_empty()))
                .collect();
        let threads: Vec<_> = shares
            .into_iter()
            .map(|share| scope.spawn(move || share.into_iter().map(work).collect::<Vec<R>>()))
            .collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Vec<R>>| match thread.join() {
            Ok(results) => results,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        threads.into_iter().flat_map(join).collect()
    })
}

/// Cores this process may use.
fn cores() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_come_in_order_and_all_of_them() {
        let seen: Vec<u64> = thread::scope(|scope| start(scope, 3..50, || 0u64, |_, step| step * 2).collect());
        assert_eq!(seen, (3..50).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_trainer_that_stops_ends_the_workers() {
        // The scope would never end if they went on.
        let first = thread::scope(|scope| start(scope, 0..u64::MAX, || (), |(), step| step).next());
        assert_eq!(first, Some(0));
    }

    #[test]
    fn results_side_by_side_keep_their_order() {
        for n in [0, 1, 2, 7, 100] {
            assert_eq!(side_by_side((0..n).collect(), |i| i * i), (0..n).map(|i| i * i).collect::<Vec<_>>());
        }
    }
}
