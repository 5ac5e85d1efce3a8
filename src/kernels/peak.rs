//! What the machine could do at best: multiply-adds of the innermost loop on numbers that stay in the first-level cache.
//!
//! The unit that speeds of layers are compared with; not a constant of the processor, because clocks and neighbours change.

use std::time::{Duration, Instant};

use super::buffer::Buffer;
use super::choice::Kernels;
use super::simd::{Simd, Work};
use super::tile::{F32, Left, Panels, Plainly, rows};

/// Length of the sums: a tile's rows and a panel take 22 KB.
const K: usize = 128;

/// Floating-point operations per second of all threads of the current rayon pool, each busy for about `time`.
pub fn peak_flops(kernels: Kernels, time: Duration) -> f64 {
    let speeds = rayon::broadcast(|_| {
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
        let left = Left { data: self.left, step: K, runs: &[0], run: K };
        for _ in 0..TIMES {
            // What is computed is always the same; the compiler must not know.
            let out = std::hint::black_box(&mut *self.out);
            rows(F32(simd), &left, 0, S::ROWS, self.panels.panel(0), Plainly::default(), out, 2 * S::LANES);
        }
        TIMES * S::ROWS * 2 * S::LANES * K * 2
    }
}
