#![allow(clippy::unwrap_used)]
use super::*;

#[test]
fn every_task_is_done_once_however_many_threads_there_are() {
    for threads in [0, 1, 2, 3, 8] {
        let team = Team::new(threads).unwrap();
        assert_eq!(team.threads(), threads.max(1));
        for tasks in [0, 1, 2, 3, 100, 1000] {
            let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
            team.install(|| {
                for_each(tasks, |i| {
                    done[i].fetch_add(1, SeqCst);
                })
            });
            assert!(done.iter().all(|d| d.load(SeqCst) == 1), "{tasks} tasks on {threads} threads");
        }
    }
}

#[test]
fn jobs_follow_each_other_and_workers_wake_from_sleep() {
    let team = Team::new(3).unwrap();
    let mut numbers = vec![0u32; 1000];
    for round in 0..2000u32 {
        if round % 500 == 0 {
            std::thread::sleep(WATCH * 3);
        }
        team.install(|| for_each_chunk(&mut numbers, 7, |_, piece| piece.iter_mut().for_each(|n| *n += 1)));
        assert!(numbers.iter().all(|n| *n == round + 1));
    }
}

#[test]
fn all_threads_take_part() {
    let team = Team::new(2).unwrap();
    // Two tasks that wait for each other can only end on two threads.
    let barrier = std::sync::Barrier::new(2);
    team.install(|| {
        for_each(2, |_| {
            barrier.wait();
        })
    });
}

#[test]
fn a_caller_sleeps_while_a_worker_is_held_up() {
    /// Time that this thread has spent on a processor.
    fn spent() -> Duration {
        let line = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        Duration::from_nanos(line.split(' ').next().unwrap().parse().unwrap())
    }
    let (team, caller) = (Team::new(2).unwrap(), std::thread::current().id());
    let held_up = Duration::from_millis(400);
    let barrier = std::sync::Barrier::new(2);
    let (before, started) = (spent(), Instant::now());
    team.install(|| {
        for_each(2, |_| {
            barrier.wait();
            if std::thread::current().id() != caller {
                std::thread::sleep(held_up);
            }
        })
    });
    assert!(started.elapsed() >= held_up);
    let spent = spent() - before;
    assert!(spent < held_up / 20, "{spent:?} of {held_up:?} on a processor");
}

#[test]
fn pieces_come_in_order_and_cover_everything() {
    let team = Team::new(2).unwrap();
    for (len, piece) in [(0, 3), (1, 3), (3, 3), (10, 3), (4, 0)] {
        let mut numbers = vec![usize::MAX; len];
        team.install(|| for_each_chunk(&mut numbers, piece, |i, out| out.fill(i)));
        assert_eq!(numbers, (0..len).map(|i| i / piece.max(1)).collect::<Vec<_>>());
    }
    assert_eq!(team.install(|| map(5, |i| i * i)), [0, 1, 4, 9, 16]);
}

#[test]
fn the_team_is_the_installed_one_and_none_inside_of_tasks() {
    assert_eq!(threads(), 1);
    let (two, three) = (Team::new(2).unwrap(), Team::new(3).unwrap());
    two.install(|| {
        assert_eq!(threads(), 2);
        three.install(|| assert_eq!(threads(), 3));
        for_each(4, |_| {
            assert_eq!(threads(), 1);
            for_each(4, |_| ());
        });
        assert_eq!(threads(), 2);
    });
    assert_eq!(threads(), 1);
}

#[test]
fn a_panic_reaches_the_caller_and_the_team_goes_on() {
    let team = Team::new(2).unwrap();
    for bad in [0, 63] {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            team.install(|| for_each(64, |i| assert_ne!(i, bad)));
        }));
        assert!(panicked.is_err());
        assert_eq!(threads(), 1);
        assert_eq!(team.install(|| map(3, |i| i)), [0, 1, 2]);
    }
}

#[test]
fn two_threads_may_use_one_team() {
    let team = Team::new(2).unwrap();
    let sum = || (0..500).map(|_| team.install(|| map(8, |i| i)).iter().sum::<usize>()).sum::<usize>();
    std::thread::scope(|scope| {
        let other = scope.spawn(sum);
        assert_eq!(sum(), 500 * 28);
        assert_eq!(other.join().unwrap(), 500 * 28);
    });
}

#[test]
fn bands_of_several_slices_go_together() {
    let team = Team::new(2).unwrap();
    let (mut a, mut b) = (vec![0; 10], vec![0; 10]);
    let mut memory = [0; 4];
    team.install(|| {
        for_each_band(&mut memory, [&mut a, &mut b], 3, |i, memory, [a, b]| {
            a.fill(i);
            b.fill(10 * i);
            *memory += a.len();
        });
    });
    assert_eq!((a, memory), (vec![0, 0, 0, 1, 1, 1, 2, 2, 2, 3], [3, 3, 3, 1]));
    assert_eq!(b, [0, 0, 0, 10, 10, 10, 20, 20, 20, 30]);
}

#[test]
fn pinned_threads_stay_on_cores_of_their_own() {
    let all = cores::allowed().unwrap();
    // On a thread of its own: the caller is pinned, too.
    let seen = std::thread::spawn(|| {
        let team = Team::pinned(2).unwrap();
        let barrier = std::sync::Barrier::new(2);
        team.install(|| {
            map(2, |_| {
                barrier.wait();
                cores::allowed().unwrap()
            })
        })
    });
    let mut seen = seen.join().unwrap();
    seen.sort();
    let one_each: Vec<Vec<usize>> = all.iter().take(2).map(|core| vec![*core]).collect();
    // With a single core, the worker is left alone.
    if all.len() > 1 {
        assert_eq!(seen, one_each);
    }
    assert_eq!(cores::allowed().unwrap(), all, "this thread is pinned");
}

#[test]
fn a_sleeper_wakes_off_its_wakers_core_and_may_run_there_again() {
    let all = cores::allowed().unwrap();
    let sleeper = Sleeper::here().unwrap();
    // The waker stays on a core, so that it is known which.
    let wake = move || {
        let mut sleeper = sleeper;
        cores::stay_on(cores::allowed().unwrap()[0]).unwrap();
        sleeper.wake_elsewhere();
        sleeper
    };
    let sleeper = std::thread::spawn(wake).join().unwrap();
    assert!(sleeper.is_here());
    if all.len() > 1 {
        assert_eq!(cores::allowed().unwrap(), all[1..]);
    }
    sleeper.run_anywhere();
    assert_eq!(cores::allowed().unwrap(), all);
}
