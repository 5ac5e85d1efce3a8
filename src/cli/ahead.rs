//! Work that runs ahead in a second thread, so that the detector never waits for a file to be read and decoded.

use crossbeam::channel::bounded;

/// Finished results that may wait; another is in the hands of the second thread. More would only cost memory: a
/// picture may have 300 MB, and looking at it takes far longer than decoding it.
const WAITING: usize = 1;

/// Calls `prepare` on each item in a second thread and hands the results over in order, until `consume` fails.
pub fn ahead<T, R: Send, E>(
    items: impl Iterator<Item = T> + Send,
    prepare: impl Fn(T) -> R + Send,
    consume: impl FnMut(R) -> Result<(), E>,
) -> Result<(), E> {
    let (sender, receiver) = bounded(WAITING);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for item in items {
                // Sending fails when the consumer stopped; then there is nothing left to prepare for.
                if sender.send(prepare(item)).is_err() {
                    return;
                }
            }
        });
        // Leaving early drops the receiver, which ends the other thread.
        receiver.into_iter().try_for_each(consume)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn results_come_in_order_and_all_of_them() {
        let mut seen = Vec::new();
        let result = ahead(
            0..50,
            |n| n * 2,
            |n| {
                seen.push(n);
                Ok::<(), ()>(())
            },
        );
        assert_eq!(result, Ok(()));
        assert_eq!(seen, (0..50).map(|n| n * 2).collect::<Vec<_>>());
    }

    #[test]
    fn a_consumer_that_fails_stops_the_work_ahead() {
        let prepared = AtomicUsize::new(0);
        let prepare = |n: usize| {
            prepared.fetch_add(1, Ordering::Relaxed);
            n
        };
        assert_eq!(ahead(0.., prepare, |n| if n == 3 { Err("no") } else { Ok(()) }), Err("no"));
        assert!(prepared.into_inner() <= 4 + WAITING + 1);
    }
}
