//! Opening source and model takes from a tenth of a second to many; a signal meanwhile is obeyed at once.

use std::thread;
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, bounded};
use edge_rcnn::source::Stop;

use super::super::Failure;

/// How often is looked for a signal.
const LOOK: Duration = Duration::from_millis(20);

/// Does `work` on a thread of its own. None if somebody asks to stop before it is done: the thread is left behind then,
/// as the process is about to end.
pub fn unless_stopped<T: Send + 'static>(
    stop: &Stop,
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<Option<T>, Failure> {
    let (done, result) = bounded(1);
    let body = move || drop(done.send(work()));
    let thread = thread::Builder::new().name("loading".into()).spawn(body);
    thread.map_err(|e| Failure::runtime(format!("cannot start a thread: {e}")))?;
    loop {
        match result.recv_timeout(LOOK) {
            Ok(result) => return result.map(Some),
            Err(RecvTimeoutError::Timeout) if stop.is_set() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::runtime("loading broke down; please report the message above"));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn work_is_waited_for_unless_a_signal_comes_first() {
        let stop = Stop::default();
        assert_eq!(unless_stopped(&stop, || Ok(7)).unwrap(), Some(7));
        assert!(unless_stopped(&stop, || Err::<(), _>(Failure::runtime("no"))).is_err());
        assert!(unless_stopped::<()>(&stop, || panic!("for the test")).is_err());
        stop.set(15);
        let forever = || {
            thread::sleep(Duration::from_secs(3600));
            Ok(())
        };
        assert_eq!(unless_stopped(&stop, forever).unwrap(), None);
    }
}
