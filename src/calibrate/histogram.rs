//! How often which absolute values occur in a map, in bins over a range that grows as needed.
//!
//! The range is always a power of two, and doubling it joins bins two by two: so the result does not depend on the order
//! in which values come.

/// Bins; a power of two.
const BINS: usize = 4096;

/// Counts of absolute values.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Upper end of the last bin: a power of two, or 0 while nothing but zeros was seen.
    end: f32,
    bins: Vec<u64>,
    zeros: u64,
    largest: f32,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { end: 0.0, bins: vec![0; BINS], zeros: 0, largest: 0.0 }
    }
}

impl Histogram {
    /// Counts values. What is not finite is left out.
    pub fn add(&mut self, values: &[f32]) {
        let largest = values.iter().map(|v| v.abs()).filter(|v| v.is_finite()).fold(0.0, f32::max);
        self.largest = self.largest.max(largest);
        while self.end < largest {
            self.grow(largest);
        }
        let per_bin = BINS as f32 / self.end;
        for v in values.iter().map(|v| v.abs()).filter(|v| v.is_finite()) {
            if v == 0.0 {
                self.zeros += 1;
            } else {
                self.bins[((v * per_bin) as usize).min(BINS - 1)] += 1;
            }
        }
    }

    fn grow(&mut self, largest: f32) {
        if self.end == 0.0 {
            // The power of two at or above it; `log2` may be off by a rounding error, which the caller's loop mends.
            self.end = largest.log2().ceil().exp2().max(f32::MIN_POSITIVE);
            return;
        }
        for i in 0..BINS / 2 {
            self.bins[i] = self.bins[2 * i] + self.bins[2 * i + 1];
        }
        self.bins[BINS / 2..].fill(0);
        self.end *= 2.0;
    }

    /// The largest value seen.
    pub fn largest(&self) -> f32 {
        self.largest
    }

    /// Values seen, zeros included.
    pub fn count(&self) -> u64 {
        self.zeros + self.bins.iter().sum::<u64>()
    }

    /// The least bin end below which a share of all values lies, at most the largest value.
    pub fn quantile(&self, share: f64) -> f32 {
        let wanted = share * self.count() as f64;
        let mut below = self.zeros as f64;
        for (i, n) in self.bins.iter().enumerate() {
            below += *n as f64;
            if below >= wanted {
                return ((i + 1) as f32 * self.end / BINS as f32).min(self.largest);
            }
        }
        self.largest
    }

    /// Mean squared error of values stored in `steps` steps up to `range`.
    pub fn error(&self, range: f32, steps: u32) -> f64 {
        let scale = f64::from(range) / f64::from(steps);
        let width = f64::from(self.end) / BINS as f64;
        let squares = self.bins.iter().enumerate().filter(|(_, n)| **n > 0).map(|(i, n)| {
            let x = (i as f64 + 0.5) * width;
            let stored = (x / scale).round().min(f64::from(steps)) * scale;
            // Within a bin or step much narrower than it, the error of rounding is spread evenly.
            let square =
                (x - stored).powi(2) + if x <= f64::from(range) { width.min(scale).powi(2) / 12.0 } else { 0.0 };
            square * *n as f64
        });
        squares.sum::<f64>() / self.count().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_of_values_does_not_matter() {
        let values: Vec<f32> = (0..5000).map(|i| ((i * 7919) % 5000) as f32 / 37.0).collect();
        let (mut forth, mut back) = (Histogram::default(), Histogram::default());
        values.chunks(7).for_each(|v| forth.add(v));
        values.rchunks(13).for_each(|v| back.add(v));
        assert_eq!(forth, back);
        assert_eq!((forth.count(), forth.largest()), (5000, 4999.0 / 37.0));
    }

    #[test]
    fn quantiles_lie_where_they_are_counted() {
        let mut h = Histogram::default();
        h.add(&[0.0; 500]);
        h.add(&(1..=500).map(|i| i as f32).collect::<Vec<_>>());
        assert!((h.quantile(0.9) - 400.0).abs() <= 0.25, "{}", h.quantile(0.9)); // 500 zeros and 400 of the others
        assert_eq!(h.quantile(1.0), 500.0);
        h.add(&[f32::NAN, f32::INFINITY, -900.0]);
        assert_eq!((h.count(), h.largest()), (1001, 900.0));
        assert_eq!(Histogram::default().quantile(0.5), 0.0);
    }

    #[test]
    fn the_error_is_that_of_rounding_and_of_cutting_off() {
        let values: Vec<f32> = (0..20_000).map(|i| i as f32 / 20_000.0).collect();
        let mut h = Histogram::default();
        h.add(&values);
        for (range, steps) in [(1.0f32, 255u32), (1.0, 15), (0.5, 255), (0.9, 7)] {
            let scale = f64::from(range) / f64::from(steps);
            let square = |v: &f32| {
                let v = f64::from(*v);
                (v - (v / scale).round().min(f64::from(steps)) * scale).powi(2)
            };
            let want = values.iter().map(square).sum::<f64>() / values.len() as f64;
            let got = h.error(range, steps);
            assert!((got - want).abs() < 0.05 * want, "{range} in {steps}: {got}, {want}");
        }
    }
}
