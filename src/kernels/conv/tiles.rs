//! The tiles of Winograd's method F(4×4, 3×3): which pixels they see, and where their transformed numbers lie. The same for
//! real numbers and for bytes.
//!
//! Layout: transformed inputs `[36][tile][phase, channel]`, products `[36][tile][output]`, for a block of tiles.
//!
//! 1. Blocks small enough that one of the 36 left factors stays in a second-level cache while all panels pass by.
//! 2. Distances between the 36 matrices are odd numbers of cache lines: their writes do not fall into one cache set.
//! 3. A thread takes a block through all three steps: nothing that it has in its cache is needed by another one, and threads
//!    meet once for each block. Blocks are of equal size, as many as threads at a time.
#![allow(unsafe_code)]

use super::ConvShape;
use crate::kernels::buffer::{Buffer, Plain};
use crate::kernels::simd::MOST_LANES;
use crate::kernels::team::{self, Pieces};
use crate::kernels::tile::{Dot, Finish, Left, ONCE, Panels, Target, rows};
use std::ops::Range;

/// Side of a tile of outputs.
pub const OUT: usize = 4;
/// Side of the pixels it depends on.
pub const IN: usize = 6;
/// Products per tile and channel pair.
pub const POINTS: usize = IN * IN;

/// Whether a convolution is of the kind that the method computes, and has so many channels that it gains.
pub fn supports(shape: &ConvShape) -> bool {
    matches!((shape.kernel, shape.stride), (3, 1) | (5, 2)) && shape.groups == 1 && shape.input.min(shape.output) >= 16
}

/// The 3×3 kernel that a phase sees: every `stride`th tap, zero where the kernel ends.
pub fn taps<T: Copy + Default>(shape: &ConvShape, weight: &[T], phase: usize) -> [[T; 3]; 3] {
    let ConvShape { kernel, stride, .. } = *shape;
    let at = |row: usize, col: usize| match (row * stride + phase / stride, col * stride + phase % stride) {
        (y, x) if y < kernel && x < kernel => weight[y * kernel + x],
        _ => T::default(),
    };
    [0, 1, 2].map(|row| [0, 1, 2].map(|col| at(row, col)))
}

/// The tiles of a map.
#[derive(Debug, Clone, Copy)]
pub struct Tiles {
    shape: ConvShape,
    rows: usize,
    cols: usize,
    /// Tiles in a row.
    across: usize,
    down: usize,
}

/// The outputs of a tile: fewer than 4×4 at the ends of the map.
#[derive(Debug, Clone, Copy)]
pub struct Square {
    /// The first one's.
    pub row: usize,
    /// The first one's.
    pub col: usize,
    /// Rows of it.
    pub height: usize,
    /// Columns of it.
    pub width: usize,
}

impl Tiles {
    /// Those of a convolution's result on a map of so many pixels.
    pub fn new(shape: &ConvShape, rows: usize, cols: usize) -> Self {
        let [down, across] = [rows, cols].map(|len| shape.out_len(len).div_ceil(OUT));
        Self { shape: *shape, rows, cols, across, down }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.down * self.across
    }

    /// The pixels of the map that a tile sees in a phase, place by place; none where the border is.
    #[inline(always)]
    pub fn pixels(&self, tile: usize, phase: usize) -> [Option<usize>; POINTS] {
        let ConvShape { stride, pad, .. } = self.shape;
        let at = |i: usize, tile: usize, phase: usize, len: usize| {
            (stride * (OUT * tile + i) + phase).checked_sub(pad).filter(|p| *p < len)
        };
        let mut pixels = [None; POINTS];
        for (i, pixel) in pixels.iter_mut().enumerate() {
            let row = at(i / IN, tile / self.across, phase / stride, self.rows);
            let col = at(i % IN, tile % self.across, phase % stride, self.cols);
            *pixel = row.zip(col).map(|(row, col)| row * self.cols + col);
        }
        pixels
    }

    /// The outputs of a tile.
    #[inline(always)]
    pub fn square(&self, tile: usize) -> Square {
        let (row, col) = (tile / self.across * OUT, tile % self.across * OUT);
        let (rows, cols) = (self.shape.out_len(self.rows), self.shape.out_len(self.cols));
        Square { row, col, height: OUT.min(rows - row), width: OUT.min(cols - col) }
    }

    /// Calls `work` on the current team with blocks of at most so many tiles, and memory for their inputs and products, whose
    /// places `sizes` says for a number of tiles.
    pub fn each_block<A: Plain, B: Plain>(
        &self,
        most: usize,
        sizes: impl Fn(usize) -> Sizes,
        inputs: &mut Buffer<A>,
        products: &mut Buffer<B>,
        work: impl Fn(Range<usize>, Sizes, &mut [A], &mut [B]) + Sync,
    ) {
        let tiles = self.count();
        let threads = team::threads().min(tiles);
        if tiles == 0 {
            return;
        }
        let turns = tiles.div_ceil(most * threads);
        let sizes = sizes(tiles.div_ceil(turns * threads));
        let (input, product) = (POINTS * sizes.input_stride, POINTS * sizes.product_stride);
        inputs.resize(threads * input);
        products.resize(threads * product);
        let (inputs, products) = (Pieces::new(inputs), Pieces::new(products));
        for turn in 0..turns {
            team::for_each(threads, |i| {
                let cut = |part: usize| tiles * part / (turns * threads);
                let tiles = cut(turn * threads + i)..cut(turn * threads + i + 1);
                // SAFETY: each task of a turn has another `i`.
                let (inputs, products) =
                    unsafe { (inputs.take(i * input..(i + 1) * input), products.take(i * product..(i + 1) * product)) };
                work(tiles, sizes, inputs, products);
            });
        }
    }
}

/// Distances in what is kept for a block.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// From a tile's transformed input to the next one's.
    pub input_step: usize,
    /// From a place's to the next one's.
    pub input_stride: usize,
    /// The same of the products.
    pub product_step: usize,
    /// The same of the products.
    pub product_stride: usize,
}

impl Sizes {
    /// For so many tiles of inputs of type `A`, products of type `B` for so many outputs, and such weights.
    pub fn new<A: Plain, B: Plain>(weights: &Panels<A>, outputs: usize, tiles: usize) -> Self {
        // Whole cache lines; not a power of two, at which the rows of a tile would share few sets of the cache.
        let step = |len: usize, line: usize| {
            let lines = len.div_ceil(line);
            (lines + usize::from(lines.is_multiple_of(32))) * line
        };
        let odd = |len: usize, line: usize| ((len / line) | 1) * line;
        let (line, products_line) = (Buffer::<A>::LINE, Buffer::<B>::LINE);
        // A vector of the last channels may reach beyond them.
        let (input_step, product_step) = (step(weights.k() + MOST_LANES - 1, line), step(outputs, products_line));
        let (input_stride, product_stride) = (odd(tiles * input_step, line), odd(tiles * product_step, products_line));
        Self { input_step, input_stride, product_step, product_stride }
    }
}

/// Some panels of the weights of all places.
#[derive(Debug)]
pub struct Part<'a, T: Plain> {
    /// The weights of each place.
    pub points: &'a [Panels<T>],
    /// The panels.
    pub panels: Range<usize>,
}

impl<T: Plain> Part<'_, T> {
    /// The outputs that they are for.
    pub fn outputs(&self) -> Range<usize> {
        let (width, all) = (self.points[0].width(), self.points[0].n());
        self.panels.start * width..(self.panels.end * width).min(all)
    }
}

/// The products of the 36 places for so many tiles: transformed inputs times the weights of each place.
#[inline(always)]
pub fn multiply<D: Dot, F: Finish<D>>(
    dot: D,
    Part { points, panels }: &Part<D::Weight>,
    tiles: usize,
    sizes: Sizes,
    inputs: &[D::Input],
    products: &mut [F::Out],
    finish: F,
) {
    let Sizes { input_step, input_stride, product_step, product_stride } = sizes;
    for (point, weights) in points.iter().enumerate() {
        let following = points.get(point + 1);
        let data = &inputs[point * input_stride..][..input_stride];
        let left = Left { data, first: 0, step: input_step, runs: &[0], run: weights.k(), again: ONCE };
        let pieces = Pieces::new(&mut products[point * product_stride..][..product_stride]);
        for p in panels.clone() {
            let after = if p + 1 < panels.end { Some((weights, p + 1)) } else { following.map(|w| (w, panels.start)) };
            let panel = weights.panel(p).then(after.and_then(|(weights, p)| weights.get(p)));
            let at = (p - panels.start) * weights.width();
            let target = Target { pieces: &pieces, at, step: product_step };
            // SAFETY: `products` is borrowed mutably.
            unsafe { rows(dot, &[left], tiles, panel, finish, target) };
        }
    }
}
