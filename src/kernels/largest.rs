//! The largest of several pixels, channel by channel: what max pooling and RoI pooling are made of. Of bytes or of f32.
//!
//! Plain code, compiled for the instruction set of the kernel it is inlined into: bytes 32 or 64 at a time. Exact; a number
//! that is not a number never is the largest.
//!
//! 1. Pixels are taken several at a time, so that the largest so far stays in registers.

use std::ops::Range;

use super::choice::Kernels;
use super::simd::{Simd, Work};
use super::team;

/// Pixels that are taken at a time: those of a 3×3 window.
pub const NEAR: usize = 9;
/// Channels whose largest values stay in a register.
const BLOCK: usize = 32;

/// Sets each number of `out` to the largest of those at its place in `pixels`, of which there is one at least.
#[inline(always)]
pub fn largest<T: Copy + PartialOrd>(out: &mut [T], pixels: &[&[T]]) {
    macro_rules! of_known_number {
        // A loop of a known length is no loop.
        ($($n:literal)*) => {
            match pixels.len() {
                $($n => {
                    let mut known: [&[T]; $n] = [&[]; $n];
                    known.copy_from_slice(pixels);
                    largest_of(out, known);
                })*
                0 => (),
                _ => {
                    largest_of(out, [pixels[0]]);
                    raise(out, &pixels[1..]);
                }
            }
        };
    }
    of_known_number!(1 2 3 4 6 9);
}

/// Raises each number of `out` to the largest of those at its place in `pixels`.
#[inline(always)]
pub fn raise<T: Copy + PartialOrd>(out: &mut [T], pixels: &[&[T]]) {
    let (whole, rest) = out.as_chunks_mut::<BLOCK>();
    let done = whole.len() * BLOCK;
    for (b, out) in whole.iter_mut().enumerate() {
        // By way of a copy, which the compiler keeps in registers; in place it takes the numbers one by one.
        let mut most = *out;
        for pixel in pixels {
            let pixel = &pixel[b * BLOCK..][..BLOCK];
            most.iter_mut().zip(pixel).for_each(|(most, x)| *most = larger(*most, *x));
        }
        *out = most;
    }
    for (c, out) in rest.iter_mut().enumerate() {
        *out = pixels.iter().fold(*out, |most, pixel| larger(most, pixel[done + c]));
    }
}

/// The second only if it is larger: `a` remains if `b` is not a number.
#[inline(always)]
fn larger<T: Copy + PartialOrd>(a: T, b: T) -> T {
    if b > a { b } else { a }
}

#[inline(always)]
fn largest_of<T: Copy + PartialOrd, const N: usize>(out: &mut [T], pixels: [&[T]; N]) {
    let pixels = pixels.map(|pixel| &pixel[..out.len()]);
    let (whole, rest) = out.as_chunks_mut::<BLOCK>();
    let done = whole.len() * BLOCK;
    for (b, out) in whole.iter_mut().enumerate() {
        let block = |i: usize| pixels[i].as_chunks::<BLOCK>().0[b];
        let mut most = block(0);
        for i in 1..N {
            most.iter_mut().zip(block(i)).for_each(|(most, x)| *most = larger(*most, x));
        }
        *out = most;
    }
    for (c, out) in rest.iter_mut().enumerate() {
        *out = (1..N).fold(pixels[0][done + c], |most, i| larger(most, pixels[i][done + c]));
    }
}

/// A channels-last map.
#[derive(Debug, Clone, Copy)]
pub struct CellMap<'a, T> {
    /// `rows`×`cols`×`channels` numbers.
    pub data: &'a [T],
    /// Rows.
    pub rows: usize,
    /// Columns.
    pub cols: usize,
    /// Numbers of a cell.
    pub channels: usize,
}

/// A rectangle of cells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cells {
    /// Rows of the map.
    pub rows: Range<usize>,
    /// Columns of the map.
    pub cols: Range<usize>,
}

/// Largest numbers of rectangles of cells, with memory that is kept.
///
/// For each place of the map the largest of the 2×2 and of the 4×4 cells that begin there are found first. A rectangle of
/// 7×11 cells is then covered by six of 4×4, which may overlap: six pixels are read instead of 77.
#[derive(Debug, Clone, Default)]
pub struct Rectangles<T> {
    two: Vec<T>,
    four: Vec<T>,
}

impl<T: Copy + PartialOrd + Send + Sync> Rectangles<T> {
    /// For each of `of` objects the largest numbers of `each` rectangles of cells, one rectangle after the other; the objects'
    /// results begin `step` numbers apart. `cells(object, rectangle)` may be empty: then the result is `empty`. Otherwise it
    /// is no less than `least`. On the current team.
    ///
    /// # Panics
    ///
    /// If the map's length is not what its sides say, a rectangle reaches beyond it, or `out` is too short.
    #[allow(clippy::too_many_arguments, reason = "two special values and two sizes")]
    pub fn max(
        &mut self,
        kernels: Kernels,
        map: CellMap<'_, T>,
        (of, each): (usize, usize),
        cells: impl Fn(usize, usize) -> Cells + Sync,
        (empty, least): (T, T),
        out: &mut [T],
        step: usize,
    ) {
        let CellMap { data, rows, cols, channels } = map;
        assert_eq!(data.len(), rows * cols * channels, "a map of {rows}×{cols}×{channels}");
        let len = each * channels;
        assert!(len <= step && (of == 0 || out.len() >= (of - 1) * step + len), "{of} results");
        if of == 0 || len == 0 {
            return;
        }
        self.two.resize(data.len(), least);
        self.four.resize(data.len(), least);
        let line = cols * channels;
        let Self { two, four } = self;
        let double = |from: &[T], to: &mut [T], below: usize| {
            team::for_each_chunk(to, line, |row, out| {
                kernels.run(Doubled { from, row, line, apart: below * channels, below, least, out });
            });
        };
        double(data, two, 1);
        double(two, four, 2);
        let levels = [data, &two[..], &four[..]];
        team::for_each_chunk(&mut out[..(of - 1) * step + len], step, |object, out| {
            let out = &mut out[..len];
            kernels.run(Object { levels, cols, channels, object, cells: &cells, empty, least, out });
        });
    }
}

/// A row of the largest of four: those at a place, to the right, below, and below to the right.
struct Doubled<'a, T> {
    from: &'a [T],
    row: usize,
    line: usize,
    /// Numbers to the right, rows below.
    apart: usize,
    below: usize,
    least: T,
    out: &'a mut [T],
}

impl<T: Copy + PartialOrd> Work for Doubled<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { from, row, line, apart, below, least, out } = self;
        let Some(len) = line.checked_sub(apart).filter(|_| (row + below) * line < from.len()) else { return };
        let (upper, lower) = (&from[row * line..][..line], &from[(row + below) * line..][..line]);
        let pixels = upper[..len].iter().zip(&upper[apart..]).zip(lower[..len].iter().zip(&lower[apart..]));
        for (out, ((a, b), (c, d))) in out.iter_mut().zip(pixels) {
            // Not from `a`, which might be no number.
            *out = larger(larger(larger(larger(least, *a), *b), *c), *d);
        }
    }
}

struct Object<'a, T, F> {
    /// The map, and the largest of 2×2 and of 4×4 cells.
    levels: [&'a [T]; 3],
    cols: usize,
    channels: usize,
    object: usize,
    cells: &'a F,
    empty: T,
    least: T,
    out: &'a mut [T],
}

impl<T: Copy + PartialOrd, F: Fn(usize, usize) -> Cells> Work for Object<'_, T, F> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let channels = self.channels;
        for (i, out) in self.out.chunks_exact_mut(channels.max(1)).enumerate() {
            let Cells { rows, cols } = (self.cells)(self.object, i);
            if rows.is_empty() || cols.is_empty() {
                out.fill(self.empty);
                continue;
            }
            out.fill(self.least);
            let level = match rows.len().min(cols.len()) {
                1 => 0,
                2 | 3 => 1,
                _ => 2,
            };
            let (map, side) = (self.levels[level], 1 << level);
            let mut near: [&[T]; NEAR] = [&[]; NEAR];
            let mut count = 0;
            for row in rows.clone().step_by(side) {
                let row = row.min(rows.end - side);
                for col in cols.clone().step_by(side) {
                    let col = col.min(cols.end - side);
                    if count == NEAR {
                        raise(out, &near);
                        count = 0;
                    }
                    near[count] = &map[(row * self.cols + col) * channels..][..channels];
                    count += 1;
                }
            }
            raise(out, &near[..count]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition.
    fn plain<T: Copy + PartialOrd>(map: CellMap<'_, T>, cells: &Cells, c: usize, (empty, least): (T, T)) -> T {
        let places = cells.rows.clone().flat_map(|r| cells.cols.clone().map(move |q| r * map.cols + q));
        let value = |most: Option<T>, at: usize| {
            let (most, x) = (most.unwrap_or(least), map.data[at * map.channels + c]);
            Some(if x > most { x } else { most })
        };
        places.fold(None, value).unwrap_or(empty)
    }

    #[test]
    fn every_instruction_set_takes_the_largest_of_each_rectangle() {
        for (rows, cols, channels) in [(1, 1, 1), (3, 4, 5), (5, 20, 32), (16, 17, 96), (14, 3, 67)] {
            let bytes: Vec<u8> = (0..rows * cols * channels).map(|i| (i * 7919 % 251) as u8).collect();
            let mut reals: Vec<f32> = bytes.iter().map(|b| f32::from(*b) - 300.0).collect();
            reals[0] = f32::NAN;
            let rectangle = |object: usize, i: usize| {
                let side = |seed: usize, len: usize| (seed % (len + 1))..((seed % (len + 1)) + seed / 3 % 12).min(len);
                Cells { rows: side(object * 5 + i, rows), cols: side(object + i * 3, cols) }
            };
            let (of, each) = (7, 4);
            let step = each * channels + 3;
            for kernels in Kernels::available() {
                macro_rules! check {
                    ($data:expr, $special:expr, $fill:expr) => {
                        let map = CellMap { data: &$data, rows, cols, channels };
                        let mut out = vec![$fill; of * step];
                        let mut rectangles = Rectangles::default();
                        for _ in 0..2 {
                            rectangles.max(kernels, map, (of, each), rectangle, $special, &mut out, step);
                        }
                        for (i, got) in out.iter().enumerate() {
                            let (object, i) = (i / step, i % step);
                            let want = match i < each * channels {
                                true => plain(map, &rectangle(object, i / channels), i % channels, $special),
                                false => $fill,
                            };
                            assert_eq!(*got, want, "{} {rows}×{cols}×{channels} {object} {i}", kernels.name());
                        }
                    };
                }
                check!(bytes, (9u8, 0u8), 77);
                check!(reals, (0.0f32, -f32::MAX), 77.0);
            }
        }
    }
}
