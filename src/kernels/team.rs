//! The threads that kernels run on: one team for a whole detector.
//!
//! ```text
//! caller:   post a job ─► take tasks ─► close the job ─► wait for those inside ─► go on
//! workers:  watch for a job ─► enter if it is open ─► take tasks ─► leave        after a while of watching: sleep
//! ```
//!
//! A job is a number of tasks, which whoever is free takes one by one: threads that the system holds up delay nobody who
//! has work. A frame has some fifty jobs with hardly anything between them, so workers watch for the next one for a while
//! before they sleep; waking one that sleeps costs the caller a system call and the job the time until it runs.
//!
//! Whoever wakes a worker keeps it off its own core, where it would have to wait.
//!
//! A thread whose core the system gives to another program holds up the frame in two cases, and in both it gets a core from
//! us: a worker that watches lets whoever waits for its core go first, and a caller that waits for a worker sleeps, so that
//! the worker can move to the caller's core.
//!
//! A thread works with the team it is [`install`](Team::install)ed in; without one, and inside of a task, jobs run on the
//! thread alone. So does a job while the team is at another one, of another thread.
#![allow(unsafe_code)]

mod cores;
mod pieces;

use std::cell::{Cell, RefCell, UnsafeCell};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError, TryLockError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cores::Sleeper;
pub use pieces::Pieces;

/// How long a worker watches for another job before it sleeps.
const WATCH: Duration = Duration::from_micros(500);

/// How often a caller looks whether all workers have left before it sleeps, some tenths of a millisecond. A worker that has
/// a core is through with its last task by then.
const PATIENCE: u32 = 10_000;

/// Some threads, the caller's among them. They end when the last clone is dropped.
#[derive(Debug, Clone)]
pub struct Team(Arc<Members>);

#[derive(Debug)]
struct Members {
    board: Arc<Board>,
    /// Held by whoever has a job at work.
    turn: Mutex<()>,
    /// Where callers stay, if threads are pinned.
    callers_core: Option<usize>,
    workers: Vec<JoinHandle<()>>,
}

/// On a cache line of its own, so that those who watch one number are not disturbed by writes to others.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Alone<T>(T);

/// What caller and workers share.
#[derive(Debug, Default)]
struct Board {
    /// Jobs posted so far.
    posted: Alone<AtomicU32>,
    /// The next task to be taken.
    next: Alone<AtomicUsize>,
    /// Whether workers may still enter the job.
    open: Alone<AtomicBool>,
    /// Workers that have entered, or are looking whether they may.
    inside: AtomicUsize,
    job: JobCell,
    panicked: AtomicBool,
    ended: AtomicBool,
    sleeping: AtomicUsize,
    /// Workers that sleep; all that sleep do it with this lock.
    bed: Mutex<Vec<Sleeper>>,
    bell: Condvar,
    /// Whether the caller sleeps until all workers have left, and what wakes it.
    awaited: AtomicBool,
    left: Condvar,
}

/// Tasks as a function and what it is called with.
#[derive(Debug, Clone, Copy)]
struct Job {
    call: unsafe fn(*const (), usize),
    with: *const (),
    tasks: usize,
}

#[derive(Debug, Default)]
struct JobCell(UnsafeCell<Option<Job>>);

// SAFETY: `Board` writes it only while no job is open and nobody inside, and reads it only inside of an open one; what it
// points to may be shared between threads, see `Team::run`.
unsafe impl Send for JobCell {}
// SAFETY: as above.
unsafe impl Sync for JobCell {}

thread_local! {
    static CURRENT: RefCell<Option<Arc<Members>>> = const { RefCell::new(None) };
    /// Whether this thread stays on a core already.
    static PINNED: Cell<bool> = const { Cell::new(false) };
}

impl Team {
    /// A team of so many threads, at least one: the caller's own and workers.
    pub fn new(threads: usize) -> io::Result<Self> {
        Self::on_cores(threads, &[])
    }

    /// A team whose threads stay each on a core of its own, as far as there are cores: workers from the beginning, a caller
    /// from when the team is first [installed](Self::install) on it.
    pub fn pinned(threads: usize) -> io::Result<Self> {
        Self::on_cores(threads, &cores::allowed()?)
    }

    fn on_cores(threads: usize, cores: &[usize]) -> io::Result<Self> {
        let board = Arc::new(Board::default());
        // Nothing takes memory later on.
        board.bed.lock().unwrap_or_else(PoisonError::into_inner).reserve(threads);
        let mut members =
            Members { board, turn: Mutex::default(), callers_core: cores.first().copied(), workers: Vec::new() };
        for i in 1..threads.max(1) {
            let (board, core) = (members.board.clone(), cores.get(i).copied());
            let worker = std::thread::Builder::new().name(format!("kernels-{i}"));
            // If it fails, those that have started end when `members` is dropped.
            members.workers.push(worker.spawn(move || {
                if let Some(Err(e)) = core.map(cores::stay_on) {
                    log::warn!("thread {i} is not kept on core {}: {e}", core.unwrap_or_default());
                }
                board.serve();
            })?);
        }
        Ok(Self(Arc::new(members)))
    }

    /// Number of threads.
    pub fn threads(&self) -> usize {
        self.0.workers.len() + 1
    }

    /// Calls `f`, whose kernels run on this team.
    pub fn install<R>(&self, f: impl FnOnce() -> R) -> R {
        if let Some(core) = self.0.callers_core.filter(|_| !PINNED.replace(true))
            && let Err(e) = cores::stay_on(core)
        {
            log::warn!("a thread is not kept on core {core}: {e}");
        }
        with_current(Some(self.0.clone()), f)
    }
}

/// Calls `f` with another current team.
fn with_current<R>(team: Option<Arc<Members>>, f: impl FnOnce() -> R) -> R {
    struct Restore(Option<Arc<Members>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _restore = Restore(CURRENT.replace(team));
    f()
}

/// Threads of the current team.
pub fn threads() -> usize {
    CURRENT.with_borrow(|team| team.as_ref().map_or(1, |team| team.workers.len() + 1))
}

/// Calls `f` with each number below `tasks`, on the threads of the current team.
pub fn for_each(tasks: usize, f: impl Fn(usize) + Sync) {
    let team = if tasks > 1 { CURRENT.with_borrow(Clone::clone) } else { None };
    match team {
        // Until the job is done the current team is none: a job inside of a task runs on that task's thread.
        Some(team) => with_current(None, || team.run(tasks, &f)),
        None => (0..tasks).for_each(f),
    }
}

/// Cuts `data` into pieces of `len` numbers, the last one shorter, and calls `f` with the number of each piece and it.
pub fn for_each_chunk<T: Send>(data: &mut [T], len: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let len = len.max(1);
    let pieces = Pieces::new(data);
    for_each(pieces.total().div_ceil(len), |i| {
        let end = pieces.total().min((i + 1) * len);
        // SAFETY: each task has another `i`, so the pieces do not overlap.
        f(i, unsafe { pieces.take(i * len..end) });
    });
}

/// Calls `f` with each number below `tasks` and the thread's own part of `memory`, one of [`threads`] equal parts: what tasks of
/// a thread do one after the other needs no memory for each of them.
///
/// # Panics
///
/// If there is less memory than threads.
pub fn for_each_in<T: Send>(memory: &mut [T], tasks: usize, f: impl Fn(usize, &mut [T]) + Sync) {
    let (threads, next) = (threads(), AtomicUsize::new(0));
    let part = memory.len() / threads;
    assert!(part > 0, "memory for {threads} threads");
    for_each_chunk(&mut memory[..threads * part], part, |_, memory| {
        loop {
            let task = next.fetch_add(1, SeqCst);
            if task >= tasks {
                return;
            }
            f(task, memory);
        }
    });
}

/// Cuts all of `data` into bands of `len` numbers, the last ones shorter, and calls `f` with the number of a band, memory of
/// its own, and the bands.
///
/// # Panics
///
/// If there is less memory than bands, or the slices differ in length.
pub fn for_each_band<S: Send, T: Send, const N: usize>(
    memory: &mut [S],
    data: [&mut [T]; N],
    len: usize,
    f: impl Fn(usize, &mut S, [&mut [T]; N]) + Sync,
) {
    let (data, memory, len) = (data.map(Pieces::new), Pieces::new(memory), len.max(1));
    let whole = data.iter().map(Pieces::total).max().unwrap_or(0);
    let tasks = whole.div_ceil(len);
    assert!(memory.total() >= tasks && data.iter().all(|d| d.total() == whole), "memory for bands of equal slices");
    for_each(tasks, |i| {
        let (start, end) = (i * len, whole.min((i + 1) * len));
        // SAFETY: each task has another `i`, so neither bands nor memory overlap.
        let (memory, bands) = unsafe { (memory.take(i..i + 1), data.each_ref().map(|d| d.take(start..end))) };
        f(i, &mut memory[0], bands);
    });
}

/// What `f` makes of each number below `tasks`, in their order.
pub fn map<R: Send>(tasks: usize, f: impl Fn(usize) -> R + Sync) -> Vec<R> {
    let mut results: Vec<Option<R>> = (0..tasks).map(|_| None).collect();
    for_each_chunk(&mut results, 1, |i, result| result[0] = Some(f(i)));
    results.into_iter().flatten().collect()
}

impl Members {
    fn run<F: Fn(usize) + Sync>(&self, tasks: usize, f: &F) {
        let turn = match self.turn.try_lock() {
            Ok(turn) => turn,
            Err(TryLockError::Poisoned(turn)) => turn.into_inner(),
            Err(TryLockError::WouldBlock) => return (0..tasks).for_each(f),
        };
        if self.workers.is_empty() {
            return (0..tasks).for_each(f);
        }
        /// # Safety
        ///
        /// `f` must point to an `F`.
        unsafe fn call<F: Fn(usize)>(f: *const (), task: usize) {
            // SAFETY: says the caller.
            unsafe { (*f.cast::<F>())(task) }
        }
        let board = &*self.board;
        // SAFETY: no job is open (the last one's `Close` has seen to it, and `turn` is ours), and so nobody reads it.
        unsafe { *board.job.0.get() = Some(Job { call: call::<F>, with: std::ptr::from_ref(f).cast(), tasks }) };
        board.next.0.store(0, SeqCst);
        board.panicked.store(false, SeqCst);
        board.open.0.store(true, SeqCst);
        let close = Close(board);
        board.posted.0.fetch_add(1, SeqCst);
        if board.sleeping.load(SeqCst) > 0 {
            let mut bed = board.bed.lock().unwrap_or_else(PoisonError::into_inner);
            bed.iter_mut().for_each(Sleeper::wake_elsewhere);
            board.bell.notify_all();
        }
        board.take_tasks();
        // Now nobody has `f` any more.
        drop(close);
        drop(turn);
        assert!(!board.panicked.load(SeqCst), "a task on another thread has panicked; its message is above");
    }
}

/// Closes the job and waits until all workers have left it, also when a task panics.
struct Close<'a>(&'a Board);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        let board = self.0;
        board.open.0.store(false, SeqCst);
        for _ in 0..PATIENCE {
            if board.inside.load(SeqCst) == 0 {
                return;
            }
            std::hint::spin_loop();
        }
        // The system has taken a worker's core from it.
        let mut bed = board.bed.lock().unwrap_or_else(PoisonError::into_inner);
        board.awaited.store(true, SeqCst);
        while board.inside.load(SeqCst) != 0 {
            bed = board.left.wait(bed).unwrap_or_else(PoisonError::into_inner);
        }
        board.awaited.store(false, SeqCst);
    }
}

impl Board {
    /// Takes tasks until there are none. Only inside of an open job, or by its caller.
    fn take_tasks(&self) {
        // SAFETY: written before the job was opened, and not again until everybody has left.
        let Some(job) = (unsafe { *self.job.0.get() }) else { return };
        loop {
            let task = self.next.0.fetch_add(1, SeqCst);
            if task >= job.tasks {
                return;
            }
            // SAFETY: `with` is the function that `call` was made for; it lives until the caller has closed the job and
            // everybody has left, and may be called by several threads at once, being `Sync`.
            unsafe { (job.call)(job.with, task) };
        }
    }

    /// A worker's life.
    fn serve(&self) {
        let mut seen = 0;
        while let Some(posted) = self.another(seen) {
            seen = posted;
            self.inside.fetch_add(1, SeqCst);
            if self.open.0.load(SeqCst) && catch_unwind(AssertUnwindSafe(|| self.take_tasks())).is_err() {
                self.panicked.store(true, SeqCst);
            }
            // Either the caller sees that nobody is inside, or it is seen here that it waits: each writes, then reads.
            if self.inside.fetch_sub(1, SeqCst) == 1 && self.awaited.load(SeqCst) {
                let _bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
                self.left.notify_one();
            }
        }
    }

    /// Waits for a job after the `seen`th; `None` when the team ends.
    fn another(&self, seen: u32) -> Option<u32> {
        let news = || {
            let posted = self.posted.0.load(SeqCst);
            let ended = self.ended.load(SeqCst);
            (ended || posted != seen).then_some((!ended).then_some(posted))
        };
        let started = Instant::now();
        loop {
            for _ in 0..64 {
                if let Some(news) = news() {
                    return news;
                }
                std::hint::spin_loop();
            }
            if started.elapsed() > WATCH {
                break;
            }
            std::thread::yield_now();
        }
        let me = Sleeper::here();
        let mut bed = self.bed.lock().unwrap_or_else(PoisonError::into_inner);
        bed.extend(me);
        self.sleeping.fetch_add(1, SeqCst);
        let news = loop {
            if let Some(news) = news() {
                break news;
            }
            bed = self.bell.wait(bed).unwrap_or_else(PoisonError::into_inner);
        };
        self.sleeping.fetch_sub(1, SeqCst);
        let me = bed.iter().position(Sleeper::is_here).map(|i| bed.swap_remove(i));
        drop(bed);
        me.into_iter().for_each(Sleeper::run_anywhere);
        news
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        {
            let _bed = self.board.bed.lock().unwrap_or_else(PoisonError::into_inner);
            self.board.ended.store(true, SeqCst);
            self.board.bell.notify_all();
        }
        for worker in self.workers.drain(..) {
            // A worker catches its tasks' panics.
            let _ = worker.join();
        }
    }
}

#[cfg(test)]
mod tests;
