//! The largest of several pixels, channel by channel: what max pooling and RoI pooling are made of. Of bytes or of f32.
//!
//! Plain code, compiled for the instruction set of the kernel it is inlined into: bytes 32 or 64 at a time. Exact; a number
//! that is not a number never is the largest.
//!
//! 1. Pixels are taken several at a time, so that the largest so far stays in registers.

use std::ops::Range;

use super::buffer::{Buffer, Plain};
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

/// Rectangles of cells in rows and columns: each of the one with each of the other, row by row. Any may be empty.
#[derive(Debug, Clone, Copy)]
pub struct Bins<'a> {
    /// Rows of the map that the rectangles of a row cover.
    pub rows: &'a [Range<usize>],
    /// Columns of the map that the rectangles of a column cover.
    pub cols: &'a [Range<usize>],
}

/// A number of which the largest is looked for.
pub trait Comparable: Plain + PartialOrd {
    /// No larger than any other.
    const LEAST: Self;
}

impl Comparable for u8 {
    const LEAST: Self = 0;
}

impl Comparable for f32 {
    const LEAST: Self = -f32::MAX;
}

/// Memory for the largest numbers of rectangles of cells, kept from map to map.
///
/// For each place of the map the largest of the 2×2 and of the 4×4 cells that begin there are found first. A rectangle of
/// 7×11 cells is then covered by six of 4×4, which may overlap: six pixels are read instead of 77.
#[derive(Debug, Clone, Default)]
pub struct Rectangles<T> {
    two: Buffer<T>,
    four: Buffer<T>,
}

impl<T: Comparable> Rectangles<T> {
    /// Makes a map ready to be asked for its rectangles, on the current team. Of one without cells `empty` is the largest.
    ///
    /// # Panics
    ///
    /// If the map's length is not what its sides say.
    pub fn prepare<'a>(&'a mut self, kernels: Kernels, map: CellMap<'a, T>, empty: T) -> Levels<'a, T> {
        let CellMap { data, rows, cols, channels } = map;
        assert_eq!(data.len(), rows * cols * channels, "a map of {rows}×{cols}×{channels}");
        self.two.resize(data.len());
        self.four.resize(data.len());
        let line = cols * channels;
        let double = |from: &[T], to: &mut [T], below: usize| {
            team::for_each_chunk(to, line, |row, out| {
                kernels.run(Doubled { from, row, line, apart: below * channels, below, out });
            });
        };
        double(data, &mut self.two, 1);
        double(&self.two, &mut self.four, 2);
        Levels { kernels, levels: [data, &self.two, &self.four], cols, channels, empty }
    }
}

/// A map whose rectangles can be asked for.
#[derive(Debug, Clone, Copy)]
pub struct Levels<'a, T> {
    kernels: Kernels,
    /// The map, and the largest of 2×2 and of 4×4 cells.
    levels: [&'a [T]; 3],
    cols: usize,
    channels: usize,
    empty: T,
}

impl<T: Comparable> Levels<'_, T> {
    /// Numbers of a cell.
    pub fn channels(&self) -> usize {
        self.channels
    }

    /// Fills `out` with the largest numbers of some rectangles, channel by channel, one rectangle after the other.
    ///
    /// # Panics
    ///
    /// If a rectangle reaches beyond the map.
    #[inline]
    pub fn largest(&self, bins: Bins<'_>, out: &mut [T]) {
        self.kernels.run(Asked { map: self, bins, out });
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
    out: &'a mut [T],
}

impl<T: Comparable> Work for Doubled<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { from, row, line, apart, below, out } = self;
        let Some(len) = line.checked_sub(apart).filter(|_| (row + below) * line < from.len()) else { return };
        let (upper, lower) = (&from[row * line..][..line], &from[(row + below) * line..][..line]);
        let pixels = upper[..len].iter().zip(&upper[apart..]).zip(lower[..len].iter().zip(&lower[apart..]));
        for (out, ((a, b), (c, d))) in out.iter_mut().zip(pixels) {
            // Not from `a`, which might be no number.
            *out = larger(larger(larger(larger(T::LEAST, *a), *b), *c), *d);
        }
    }
}

/// What [`Levels::largest`] does.
struct Asked<'a, T> {
    map: &'a Levels<'a, T>,
    bins: Bins<'a>,
    out: &'a mut [T],
}

impl<T: Comparable> Work for Asked<'_, T> {
    type Out = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let Self { map: &Levels { levels, cols: width, channels, empty, .. }, bins, out } = self;
        let mut bins = bins.rows.iter().flat_map(|rows| bins.cols.iter().map(move |cols| (rows, cols)));
        for out in out.chunks_exact_mut(channels.max(1)) {
            let Some((rows, cols)) = bins.next() else { return };
            if rows.is_empty() || cols.is_empty() {
                out.fill(empty);
                continue;
            }
            out.fill(T::LEAST);
            let level = match rows.len().min(cols.len()) {
                1 => 0,
                2 | 3 => 1,
                _ => 2,
            };
            let (map, side) = (levels[level], 1 << level);
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
                    near[count] = &map[(row * width + col) * channels..][..channels];
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
    fn plain<T: Copy + PartialOrd>(
        map: CellMap<'_, T>,
        cells: [&Range<usize>; 2],
        c: usize,
        (empty, least): (T, T),
    ) -> T {
        let places = cells[0].clone().flat_map(|r| cells[1].clone().map(move |q| r * map.cols + q));
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
            let span = |seed: usize, len: usize| (seed % (len + 1))..((seed % (len + 1)) + seed / 3 % 12).min(len);
            let spans = |step: usize, len: usize| (0..9).map(|i| span(i * step + 2, len)).collect::<Vec<_>>();
            let (down, across) = (spans(5, rows), spans(7, cols));
            let bins = Bins { rows: &down, cols: &across[..5] };
            for kernels in Kernels::available() {
                macro_rules! check {
                    ($data:expr, $empty:expr, $least:expr) => {
                        let map = CellMap { data: &$data, rows, cols, channels };
                        let mut rectangles = Rectangles::default();
                        for _ in 0..2 {
                            let mut out = vec![Default::default(); 9 * 5 * channels];
                            rectangles.prepare(kernels, map, $empty).largest(bins, &mut out);
                            for (i, got) in out.iter().enumerate() {
                                let (bin, c) = (i / channels, i % channels);
                                let want = plain(map, [&down[bin / 5], &across[bin % 5]], c, ($empty, $least));
                                assert_eq!(*got, want, "{} {rows}×{cols}×{channels} {bin} {c}", kernels.name());
                            }
                        }
                    };
                }
                check!(bytes, 9u8, 0u8);
                check!(reals, 0.0f32, -f32::MAX);
            }
        }
    }
}
