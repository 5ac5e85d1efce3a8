//! Latencies of the last while, and their percentiles.

use crate::sink::percentiles::percentiles;

/// So many frames are remembered; more than this in one window replace the oldest.
const MOST: usize = 4096;

/// Milliseconds of the frames of a window. Its memory is taken once.
pub struct Window {
    values: Vec<f64>,
    next: usize,
}

impl Window {
    /// An empty window.
    pub fn new() -> Self {
        Self { values: Vec::with_capacity(MOST), next: 0 }
    }

    /// One more frame.
    pub fn add(&mut self, ms: f64) {
        if self.values.len() < MOST {
            self.values.push(ms);
        } else {
            self.values[self.next] = ms;
            self.next = (self.next + 1) % MOST;
        }
    }

    /// The percentiles, and an empty window again; none without frames.
    pub fn close(&mut self) -> Option<[(&'static str, f64); 3]> {
        let all = percentiles(&mut self.values);
        self.values.clear();
        self.next = 0;
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let mut window = Window::new();
        assert_eq!(window.close(), None);
        (1..=200).rev().for_each(|ms| window.add(f64::from(ms)));
        assert_eq!(window.close(), Some([("p50", 100.0), ("p95", 190.0), ("p99", 198.0)]));
        window.add(7.0);
        assert_eq!(window.close(), Some([("p50", 7.0), ("p95", 7.0), ("p99", 7.0)]));
    }

    #[test]
    fn a_long_window_forgets_its_oldest_frames_and_takes_no_more_memory() {
        let mut window = Window::new();
        (0..3 * MOST).for_each(|i| window.add(i as f64));
        assert_eq!(window.values.capacity(), MOST);
        assert!(window.close().is_some_and(|p| p[0].1 >= 2.0 * MOST as f64));
    }
}
