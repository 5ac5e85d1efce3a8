//! What the machine could do at best: multiply-adds of the innermost loop on numbers that stay in the first-level cache.
//!
//! The unit that speeds of layers are compared with; not a constant of the processor, because clocks and neighbours change.
#![allow(unsafe_code)]

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::bf16::Bf16;
use super::buffer::Buffer;
use super::choice::Kernels;
use super::int8::Dot;
use super::int8::dot::{Bytes, Form, IntDot, IntWork, Scale};
use super::real::{Number, Real, RealWork};
use super::team::{self, Pieces};
use super::tile::{Left, ONCE, Panels, Plainly, Target, rows};

/// Length of the sums: a tile's rows and a panel take 22 KB.
const K: usize = 128;
/// Length of the sums of bytes: 23 KB.
const INT_K: usize = 512;
/// From a row of bytes to the next: they overlap, so that many stay in the cache.
const INT_STEP: usize = 64;
/// No more rows are computed together.
const MOST_ROWS: usize = 14 * 32;
/// Tiles between two looks at the clock.
const TIMES: usize = 200;

/// Floating-point operations per second of all threads of the current team, each busy for about `time`; with `bf16`, of numbers
/// rounded to that.
pub fn peak_flops(kernels: Kernels, bf16: Option<Bf16>, time: Duration) -> f64 {
    match bf16 {
        None => peak_of::<f32>(kernels, time),
        Some(bf16) => peak_of::<u16>(bf16, time),
    }
}

fn peak_of<T: Number>(set: T::Set, time: Duration) -> f64 {
    on_all_threads(time, || {
        let width = T::panel_width(set);
        let panels = Panels::pack(width, T::STEP, K, width, |k, n| T::nearest((k + n) as f32 * 1e-3));
        let (left, mut out) = (Buffer::zeros(K * 16), Buffer::zeros(width * 16));
        move || {
            let mut done = 0;
            T::run(set, Loop { panels: &panels, left: &left, out: &mut out, done: &mut done });
            done
        }
    })
}

/// The same of products of bytes, in integers.
pub fn peak_ops(dot: Dot, time: Duration) -> f64 {
    on_all_threads(time, || {
        let Form { width, step, .. } = dot.form();
        let mut panels = Panels::zeros(width, step, INT_K, width);
        (0..INT_K).for_each(|k| *panels.at_mut(k, k % width) = (k % 5) as i8);
        let (left, bias, factors) = (vec![3; MOST_ROWS * INT_STEP + INT_K], vec![0; width], vec![1e-3; width]);
        let mut out = vec![0; width * MOST_ROWS];
        move || {
            let mut done = 0;
            let scale = Scale { bias: &bias, factors: &factors };
            dot.run(IntLoop { panels: &panels, left: &left, scale, out: &mut out, done: &mut done });
            done
        }
    })
}

/// Operations per second of all threads; each prepares work of its own, which says how many operations it was.
fn on_all_threads<W: FnMut() -> usize>(time: Duration, prepare: impl Fn() -> W + Sync) -> f64 {
    let threads = team::threads();
    // Nobody takes two of the tasks: each lasts until all threads have begun one.
    let waiting = Barrier::new(threads);
    let speeds = team::map(threads, |_| {
        let mut work = prepare();
        waiting.wait();
        let (started, mut done) = (Instant::now(), 0);
        while started.elapsed() < time {
            done += work();
        }
        done as f64 / started.elapsed().as_secs_f64()
    });
    speeds.into_iter().sum()
}

struct Loop<'a, T: Number> {
    panels: &'a Panels<T>,
    left: &'a [T],
    out: &'a mut [f32],
    /// Operations done.
    done: &'a mut usize,
}

impl<T: Number> RealWork<T> for Loop<'_, T> {
    #[inline(always)]
    fn run<D: Real<Input = T, Weight = T>>(self, dot: D) {
        let left = Left { data: self.left, first: 0, step: K, runs: &[0], run: K, again: ONCE };
        for _ in 0..TIMES {
            // What is computed is always the same; the compiler must not know.
            let pieces = Pieces::new(std::hint::black_box(&mut *self.out));
            let target = Target { pieces: &pieces, at: 0, step: 2 * D::LANES };
            // SAFETY: `out` is borrowed mutably.
            unsafe { rows(dot, &[left], D::ROWS, self.panels.panel(0), Plainly::default(), target) };
        }
        *self.done = TIMES * D::ROWS * 2 * D::LANES * K * 2;
    }
}

struct IntLoop<'a> {
    panels: &'a Panels<i8>,
    left: &'a [u8],
    scale: Scale<'a>,
    out: &'a mut [u8],
    /// Operations done.
    done: &'a mut usize,
}

impl IntWork for IntLoop<'_> {
    #[inline(always)]
    fn run<D: IntDot>(self, dot: D) {
        let count = D::ROWS * D::SHARE;
        let left = Left { data: self.left, first: 0, step: INT_STEP, runs: &[0], run: INT_K, again: ONCE };
        for _ in 0..TIMES {
            let pieces = Pieces::new(std::hint::black_box(&mut *self.out));
            let target = Target { pieces: &pieces, at: 0, step: 2 * D::LANES };
            let finish = Bytes { scale: self.scale, zero: 0, wild: false };
            // SAFETY: `out` is borrowed mutably.
            unsafe { rows(dot, &[left], count, self.panels.panel(0), finish, target) };
        }
        *self.done = TIMES * count * 2 * D::LANES * INT_K * 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_instruction_set_reaches_some_speed() {
        let time = Duration::from_millis(2);
        for kernels in Kernels::available() {
            assert!(peak_flops(kernels, None, time) > 0.0, "{}", kernels.name());
        }
        for bf16 in Bf16::available() {
            assert!(peak_flops(Kernels::best(), Some(bf16), time) > 0.0, "{}", bf16.name());
        }
        for dot in Dot::available() {
            assert!(peak_ops(dot, time) > 0.0, "int8 {}", dot.name());
        }
    }
}
