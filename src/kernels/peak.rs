//! What the machine could do at best: multiply-adds of the innermost loop on numbers that stay in the first-level cache.
//!
//! The unit that speeds of layers are compared with; not a constant of the processor, because clocks and neighbours change.
#![allow(unsafe_code)]

use std::sync::Barrier;
use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::choice::Kernels;
use super::simd::{Simd, Work};
use super::team::{self, Pieces};
use super::tile::{F32, Left, Panels, Plainly, Target, rows};

/// Length of the sums: a tile's rows and a panel take 22 KB.
const K: usize = 128;

/// Floating-point operations per second of all threads of the current team, each busy for about `time`.
pub fn peak_flops(kernels: Kernels, time: Duration) -> f64 {
    let threads = team::threads();
    // Nobody takes two of the tasks: each lasts until all threads have begun one.
    let waiting = Barrier::new(threads);
    let speeds = team::map(threads, |_| {
        waiting.wait();
        let started = Instant::now();
        let mut done = 0usize;
        let panels = Panels::pack(kernels.panel_width(), 1, K, kernels.panel_width(), |k, n| (k + n) as f32 * 1e-3);
        let left = Buffer::zeros(K * 16);
        let mut out = Buffer::zeros(kernels.panel_width() * 16);
        while started.elapsed() < time {
            done += kernels.run(Loop { panels: &panels, left: &left, out: &mut out });
        }
        done as f64 / started.elapsed().as_secs_f64()
    });
    speeds.into_iter().sum()
}

struct Loop<'a> {
    panels: &'a Panels,
    left: &'a [f32],
    out: &'a mut [f32],
}

impl Work for Loop<'_> {
    /// Operations done.
    type Out = usize;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> usize {
        const TIMES: usize = 200;
        let left = Left { data: self.left, first: 0, step: K, runs: &[0], run: K };
        for _ in 0..TIMES {
            // What is computed is always the same; the compiler must not know.
            let pieces = Pieces::new(std::hint::black_box(&mut *self.out));
            let target = Target { pieces: &pieces, at: 0, step: 2 * S::LANES };
            // SAFETY: `out` is borrowed mutably.
            unsafe { rows(F32(simd), &[left], S::ROWS, self.panels.panel(0), Plainly::default(), target) };
        }
        TIMES * S::ROWS * 2 * S::LANES * K * 2
    }
}
