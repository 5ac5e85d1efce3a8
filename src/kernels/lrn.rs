//! Caffe's local response normalisation: `y = x / (k + alpha/n · Σ x²)^beta`.
//!
//! Channel-major f32 maps. The sum runs over `size` neighbouring channels at one place (n = size), or over a `size`×`size`
//! window of one channel with zeros outside (n = size²). Written so that every inner loop runs along a row without
//! branches and the compiler vectorises it. The usual beta, 0.75, is two square roots; any other a power. Agrees with
//! the definition in f64 to 1e-6 relative.

/// Where the squares are summed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LrnWindow {
    /// Over so many neighbouring channels.
    Channels(usize),
    /// Over a square of this side within a channel.
    Square(usize),
}

/// The numbers of an LRN layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LrnParams {
    /// Where the squares are summed.
    pub window: LrnWindow,
    /// Strength, of the mean of the squares.
    pub alpha: f32,
    /// Exponent.
    pub beta: f32,
    /// Offset inside the power.
    pub k: f32,
}

/// Positions worked on at once: their sums stay in the first-level cache.
const RUN: usize = 1024;

/// Normalises some channels of a map of planes of `rows`×`cols`: those from `first` on, as many as fit into `out`.
///
/// # Panics
///
/// If `out` is not made of whole planes that exist in `x`.
pub fn lrn(x: &[f32], rows: usize, cols: usize, params: LrnParams, first: usize, out: &mut [f32]) {
    let plane = rows * cols;
    assert!(plane > 0 && x.len().is_multiple_of(plane) && out.len().is_multiple_of(plane), "whole planes");
    assert!(first * plane + out.len() <= x.len(), "channels that exist");
    for (c, out) in out.chunks_exact_mut(plane).enumerate() {
        match params.window {
            LrnWindow::Channels(size) => across(x, plane, first + c, size, params, out),
            LrnWindow::Square(size) => {
                let plane_of_x = &x[(first + c) * plane..][..plane];
                within(plane_of_x, rows, cols, size, params, out);
            }
        }
    }
}

fn across(x: &[f32], plane: usize, channel: usize, size: usize, params: LrnParams, out: &mut [f32]) {
    let half = size.saturating_sub(1) / 2;
    let end = (channel + size - half).min(x.len() / plane);
    let mut sums = [0.0f32; RUN];
    for (i, out) in out.chunks_mut(RUN).enumerate() {
        let sums = &mut sums[..out.len()];
        sums.fill(0.0);
        for c in channel.saturating_sub(half)..end {
            let x = &x[c * plane + i * RUN..][..sums.len()];
            sums.iter_mut().zip(x).for_each(|(s, x)| *s += x * x);
        }
        scale(&x[channel * plane + i * RUN..][..sums.len()], sums, params.alpha / size as f32, params, out);
    }
}

fn within(x: &[f32], rows: usize, cols: usize, size: usize, params: LrnParams, out: &mut [f32]) {
    let half = size.saturating_sub(1) / 2;
    // Sums along the columns, with zeros to the left and right for the windows that overhang.
    let mut columns = vec![0.0f32; cols + size];
    let mut sums = vec![0.0f32; cols];
    for (r, out) in out.chunks_exact_mut(cols).enumerate() {
        let columns_here = &mut columns[half..half + cols];
        columns_here.fill(0.0);
        for near in x.chunks_exact(cols).take((r + size - half).min(rows)).skip(r.saturating_sub(half)) {
            columns_here.iter_mut().zip(near).for_each(|(s, x)| *s += x * x);
        }
        sums.copy_from_slice(&columns[..cols]);
        for shift in 1..size {
            sums.iter_mut().zip(&columns[shift..]).for_each(|(s, c)| *s += c);
        }
        scale(&x[r * cols..][..cols], &sums, params.alpha / (size * size) as f32, params, out);
    }
}

/// `out = x / (k + strength·sums)^beta`.
fn scale(x: &[f32], sums: &[f32], strength: f32, params: LrnParams, out: &mut [f32]) {
    let LrnParams { k, beta, .. } = params;
    let values = out.iter_mut().zip(x).zip(sums);
    if beta == 0.75 {
        values.for_each(|((out, x), sum)| {
            let root = (k + strength * sum).sqrt();
            *out = x / (root * root.sqrt());
        });
    } else {
        values.for_each(|((out, x), sum)| *out = x / (k + strength * sum).powf(beta));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in f64.
    fn plain(x: &[f32], [channels, rows, cols]: [usize; 3], p: LrnParams) -> Vec<f64> {
        let square = |c: usize, r: usize, q: usize| {
            if c < channels && r < rows && q < cols { f64::from(x[(c * rows + r) * cols + q]).powi(2) } else { 0.0 }
        };
        let at = |i: usize| (i / (rows * cols), i / cols % rows, i % cols);
        let near = |n: usize, size: usize| (0..size).map(move |d| (n + d).wrapping_sub((size - 1) / 2));
        let value = |i: usize| {
            let (c, r, q) = at(i);
            let (sum, n): (f64, usize) = match p.window {
                LrnWindow::Channels(s) => (near(c, s).map(|c| square(c, r, q)).sum(), s),
                LrnWindow::Square(s) => {
                    (near(r, s).flat_map(|r| near(q, s).map(move |q| square(c, r, q))).sum(), s * s)
                }
            };
            f64::from(x[i]) / (f64::from(p.k) + f64::from(p.alpha) / n as f64 * sum).powf(f64::from(p.beta))
        };
        (0..x.len()).map(value).collect()
    }

    #[test]
    fn every_window_agrees_with_the_definition_on_maps_of_any_shape() {
        use LrnWindow::{Channels, Square};
        for shape in [[1, 1, 1], [1, 2, 1], [3, 5, 7], [7, 4, 9], [2, 40, 60]] {
            let [channels, rows, cols] = shape;
            let x: Vec<f32> = (0..channels * rows * cols).map(|i| (i as f32 * 0.7).sin() * 3.0).collect();
            for window in [Channels(1), Channels(4), Channels(5), Square(1), Square(3), Square(4), Square(5)] {
                for beta in [0.75, 0.5] {
                    let params = LrnParams { window, alpha: 0.7, beta, k: 1.5 };
                    let mut got = vec![f32::NAN; x.len()];
                    // In two parts, as two threads would.
                    let (left, right) = got.split_at_mut(channels / 2 * rows * cols);
                    lrn(&x, rows, cols, params, 0, left);
                    lrn(&x, rows, cols, params, channels / 2, right);
                    for (i, (got, want)) in got.iter().zip(plain(&x, shape, params)).enumerate() {
                        let error = (f64::from(*got) - want).abs();
                        assert!(error <= 1e-6 * want.abs().max(0.1), "{shape:?} {params:?} [{i}]: {got}, want {want}");
                    }
                }
            }
        }
    }
}
