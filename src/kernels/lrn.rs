//! Caffe's local response normalisation of channels-last maps: `y = x / (k + alpha/n · Σ x²)^beta`.
//!
//! The sum runs over `size` neighbouring channels at one place (n = size), or over a `size`×`size` window of one channel
//! with zeros outside (n = size²). Vectors run along the channels. The usual beta, 0.75, is an inverse square root and the
//! root of that; any other a power. Agrees with the definition in f64 to 1e-6 relative.

use std::ops::Range;

use super::choice::Kernels;
use super::pool::MapShape;
use super::simd::{MOST_LANES, Simd, Work, load_some, store_some};
use super::team;

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

/// Normalises a map into `out`, on the current team.
///
/// # Panics
///
/// If a slice has another length than the shape says, or a square is higher than 16.
pub fn lrn(kernels: Kernels, params: LrnParams, x: &[f32], shape: MapShape, out: &mut [f32]) {
    assert_eq!((x.len(), out.len()), (shape.iter().product(), shape.iter().product()), "maps of {shape:?}");
    let line = shape[1] * shape[2];
    team::for_each_chunk(out, line, |row, out| {
        let lines = params.lines(row, shape[0]);
        let near = &x[lines.start * line..lines.end * line];
        kernels.run(LrnLine { params, near: [near, &[]], here: row - lines.start, channels: shape[2], out });
    });
}

impl LrnParams {
    /// The lines that line `row` of `rows` depends on.
    pub fn lines(&self, row: usize, rows: usize) -> Range<usize> {
        match self.window {
            LrnWindow::Channels(_) => row..row + 1,
            LrnWindow::Square(size) => near(row, rows, size),
        }
    }
}

/// Places of a window of `size` around `i` inside of `len`.
#[inline(always)]
fn near(i: usize, len: usize, size: usize) -> Range<usize> {
    let half = size.saturating_sub(1) / 2;
    i.saturating_sub(half)..(i + size - half).min(len)
}

/// Numbers of a pixel and around it that need no memory of the heap, as many as networks have.
const SHORT: usize = 1024;

/// One line of the result.
pub struct LrnLine<'a> {
    /// The numbers of the layer.
    pub params: LrnParams,
    /// The [lines](LrnParams::lines) it depends on, one after another, maybe in two pieces.
    pub near: [&'a [f32]; 2],
    /// Which of them it is.
    pub here: usize,
    /// Numbers of a pixel.
    pub channels: usize,
    /// The result.
    pub out: &'a mut [f32],
}

impl Work for LrnLine<'_> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let params = self.params;
        match params.beta {
            0.75 => self.scaled(Scale::<S, true>::new(simd, params)),
            _ => self.scaled(Scale::<S, false>::new(simd, params)),
        }
    }
}

impl<'a> LrnLine<'a> {
    #[inline(always)]
    fn scaled<S: Simd, const ROOTS: bool>(self, scale: Scale<S, ROOTS>) {
        match self.params.window {
            LrnWindow::Channels(size) => self.across(scale, size),
            LrnWindow::Square(3) if self.channels.is_multiple_of(S::LANES) => self.within_three(scale),
            LrnWindow::Square(size) => self.within(scale, size),
        }
    }

    /// Numbers of the lines it depends on.
    #[inline(always)]
    fn len(&self) -> usize {
        self.near[0].len() + self.near[1].len()
    }

    /// Line `i` of those it depends on.
    #[inline(always)]
    fn line(&self, i: usize) -> &'a [f32] {
        let ([a, b], len) = (self.near, self.out.len());
        if i * len < a.len() { &a[i * len..][..len] } else { &b[i * len - a.len()..][..len] }
    }

    #[inline(always)]
    fn across<S: Simd, const ROOTS: bool>(self, scale: Scale<S, ROOTS>, size: usize) {
        let (channels, simd) = (self.channels, scale.simd);
        let half = size.saturating_sub(1) / 2;
        // The squares of a pixel, with zeros on both sides for the windows that overhang, and room for the last vector.
        let len = channels + size + S::LANES;
        let (mut short, mut long) = ([0.0; SHORT], Vec::new());
        let squares = if len <= SHORT {
            &mut short[..len]
        } else {
            long.resize(len, 0.0);
            &mut long[..]
        };
        let x = self.line(0);
        for (x, out) in x.chunks_exact(channels).zip(self.out.chunks_exact_mut(channels)) {
            squares[half..].iter_mut().zip(x).for_each(|(s, x)| *s = x * x);
            for c in (0..channels).step_by(S::LANES) {
                let near = (0..size).map(|shift| simd.load(&squares[c + shift..]));
                let sum = near.fold(simd.splat(0.0), |sum, s| simd.add(sum, s));
                store_some(simd, scale.of(load_some(simd, &x[c..]), sum), &mut out[c..]);
            }
        }
    }

    #[inline(always)]
    fn within<S: Simd, const ROOTS: bool>(self, scale: Scale<S, ROOTS>, size: usize) {
        let (channels, simd) = (self.channels, scale.simd);
        let (count, cols) = (self.len() / self.out.len(), self.out.len() / channels);
        let mut lines: [&'a [f32]; MOST_LINES] = [&[]; MOST_LINES];
        assert!(count <= MOST_LINES, "a window of {size} lines");
        lines.iter_mut().zip(0..count).for_each(|(line, i)| *line = self.line(i));
        for col in 0..cols {
            let at = near(col, cols, size);
            for c in (0..channels).step_by(S::LANES) {
                let mut sum = simd.splat(0.0);
                for line in &lines[..count] {
                    for q in at.clone() {
                        let x = load_some(simd, &line[q * channels + c..][..S::LANES.min(channels - c)]);
                        sum = simd.mul_add(x, x, sum);
                    }
                }
                let here = (col * channels + c, S::LANES.min(channels - c));
                let x = load_some(simd, &lines[self.here][here.0..][..here.1]);
                store_some(simd, scale.of(x, sum), &mut self.out[here.0..][..here.1]);
            }
        }
    }

    /// The usual size, of whole vectors: sums of columns are added up once, and three of them at each pixel. Memory is read in
    /// its order, which is why the sums wait in memory and not in registers.
    #[inline(always)]
    fn within_three<S: Simd, const ROOTS: bool>(self, scale: Scale<S, ROOTS>) {
        let (channels, simd) = (self.channels, scale.simd);
        let (count, pixels) = (self.len() / self.out.len(), self.out.len() / channels);
        // Beyond the last pixel, and in lines that there are not, all is zero.
        let mut lines = [None; 3];
        lines.iter_mut().zip(0..count).for_each(|(line, i)| *line = Some(self.line(i)));
        let zeros = [0.0; BLOCK];
        for block in (0..channels).step_by(BLOCK) {
            let width = BLOCK.min(channels - block);
            let pixel = |line: Option<&'a [f32]>, p: usize| match line {
                Some(line) if p < pixels => &line[p * channels + block..][..width],
                _ => &zeros[..width],
            };
            let mut sums = [[0.0; BLOCK]; 3];
            let [mut left, mut middle, mut right] = sums.each_mut();
            squares(simd, lines.map(|line| pixel(line, 0)), middle);
            for p in 0..pixels {
                squares(simd, lines.map(|line| pixel(line, p + 1)), right);
                let (columns, out) = ([&left[..width], &middle[..width], &right[..width]], p * channels + block);
                scale.all(pixel(lines[self.here], p), columns, &mut self.out[out..][..width]);
                (left, middle, right) = (middle, right, left);
            }
        }
    }
}

/// Channels whose sums are kept: a multiple of a vector.
const BLOCK: usize = 256;

/// Lines of the highest window.
const MOST_LINES: usize = 16;

/// The sums of three squares. All pixels are as long, and whole vectors.
#[inline(always)]
fn squares<S: Simd>(simd: S, [a, b, c]: [&[f32]; 3], sums: &mut [f32]) {
    let abc = a.chunks_exact(S::LANES).zip(b.chunks_exact(S::LANES)).zip(c.chunks_exact(S::LANES));
    for (((a, b), c), sum) in abc.zip(sums.chunks_exact_mut(S::LANES)) {
        let (a, b, c) = (simd.load(a), simd.load(b), simd.load(c));
        simd.store(simd.mul_add(c, c, simd.mul_add(b, b, simd.mul(a, a))), sum);
    }
}

/// `x / (k + strength·sum)^beta`; with `ROOTS` beta is 0.75.
#[derive(Clone, Copy)]
struct Scale<S: Simd, const ROOTS: bool> {
    simd: S,
    strength: S::F32,
    k: S::F32,
    beta: f32,
}

impl<S: Simd, const ROOTS: bool> Scale<S, ROOTS> {
    #[inline(always)]
    fn new(simd: S, params: LrnParams) -> Self {
        let LrnParams { window, alpha, beta, k } = params;
        let n = match window {
            LrnWindow::Channels(size) => size,
            LrnWindow::Square(side) => side * side,
        };
        Self { simd, strength: simd.splat(alpha / n as f32), k: simd.splat(k), beta }
    }

    #[inline(always)]
    fn of(self, x: S::F32, sum: S::F32) -> S::F32 {
        let simd = self.simd;
        let base = simd.mul_add(self.strength, sum, self.k);
        if ROOTS {
            return simd.mul(x, simd.inverse_power(base));
        }
        let mut power = [0.0; MOST_LANES];
        simd.store(base, &mut power);
        power.iter_mut().take(S::LANES).for_each(|v| *v = v.powf(self.beta));
        simd.div(x, simd.load(&power))
    }

    /// Of a pixel, from the sums of three columns. All are as long, and whole vectors.
    #[inline(always)]
    fn all(self, x: &[f32], [left, middle, right]: [&[f32]; 3], out: &mut [f32]) {
        let simd = self.simd;
        let columns = left.chunks_exact(S::LANES).zip(middle.chunks_exact(S::LANES)).zip(right.chunks_exact(S::LANES));
        for ((((left, middle), right), x), out) in
            columns.zip(x.chunks_exact(S::LANES)).zip(out.chunks_exact_mut(S::LANES))
        {
            let sum = simd.add(simd.add(simd.load(left), simd.load(middle)), simd.load(right));
            simd.store(self.of(simd.load(x), sum), out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition, in f64.
    fn plain(x: &[f32], [rows, cols, channels]: MapShape, p: LrnParams) -> Vec<f64> {
        let square = |c: usize, r: usize, q: usize| {
            if c < channels && r < rows && q < cols { f64::from(x[(r * cols + q) * channels + c]).powi(2) } else { 0.0 }
        };
        let at = |i: usize| (i % channels, i / (cols * channels), i / channels % cols);
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
        for shape in [[1, 1, 1], [2, 1, 1], [5, 7, 3], [4, 9, 7], [9, 4, 16], [3, 5, 96]] {
            let x: Vec<f32> = (0..shape.iter().product()).map(|i: usize| (i as f32 * 0.7).sin() * 3.0).collect();
            for window in [Channels(1), Channels(4), Channels(5), Square(1), Square(3), Square(4), Square(5)] {
                for (kernels, beta) in Kernels::available().into_iter().flat_map(|k| [(k, 0.75), (k, 0.5)]) {
                    let params = LrnParams { window, alpha: 0.7, beta, k: 1.5 };
                    let mut got = vec![f32::NAN; x.len()];
                    lrn(kernels, params, &x, shape, &mut got);
                    for (i, (got, want)) in got.iter().zip(plain(&x, shape, params)).enumerate() {
                        let error = (f64::from(*got) - want).abs();
                        let name = kernels.name();
                        assert!(
                            error <= 1e-6 * want.abs().max(0.1),
                            "{name} {shape:?} {params:?} [{i}]: {got}, want {want}"
                        );
                    }
                }
            }
        }
    }
}
