//! RoI max pooling, exactly as Caffe's `ROIPooling` layer (Fast R-CNN §2.1).
//!
//! In words, for a box, a channel and the cell (p, q) of a P×P grid:
//!
//! ```text
//! x1, y1, x2, y2 = round(corner · spatial_scale)                  half away from zero; inclusive cells of the map
//! w, h           = max(x2 - x1 + 1, 1), max(y2 - y1 + 1, 1)       so a reversed box counts as one cell at (x1, y1)
//! columns        = x1 + [floor(q·w/P), ceil((q+1)·w/P))           clipped to the map; w/P is rounded to f32 first
//! rows           = y1 + [floor(p·h/P), ceil((p+1)·h/P))
//! out            = the largest value in rows × columns, 0 if there is none
//! ```
//!
//! Maps are channel, row, column; the output is RoI, channel, p, q. Of equal values the first in row-by-row order is the
//! maximum; a NaN never wins, and a bin of nothing but NaN gives `-f32::MAX`, as in Caffe. Exact: the tests hold the
//! loops of the definition and demand the same bits.
//!
//! 1. The maximum over the cells of a bin runs over contiguous channels in vector registers, without a branch; a map with
//!    channels outermost is turned first. What the detector hands to its head stays cell by cell ([`pool_cells`]): the
//!    head's weights are put in that order once.
//! 2. In 8 bits the map's bytes are pooled: the largest value has the largest byte.
//! 3. RoIs run in parallel on the current team.

use crate::boxes::BBox;
use crate::kernels::{Bins, CellMap, Comparable, Kernels, Levels, Rectangles, team, to_channels_last};
use std::ops::Range;

/// A map of features, channels outermost.
#[derive(Debug, Clone, Copy)]
pub struct MapView<'a> {
    /// `channels`×`rows`×`cols` values.
    pub data: &'a [f32],
    /// Planes.
    pub channels: usize,
    /// Rows of each plane.
    pub rows: usize,
    /// Columns of each plane.
    pub cols: usize,
}

/// Pools every RoI (in pixels of the network input) into `pool_size`² cells per channel; `out` becomes
/// RoIs × channels × pool_size². `argmax`, if wanted, becomes as long: the position `row·cols + col` in the channel's
/// plane of each maximum, -1 for an empty bin.
///
/// # Panics
///
/// If the map's length is not `channels·rows·cols`.
pub fn roi_pool(
    map: MapView<'_>,
    rois: &[BBox],
    spatial_scale: f32,
    pool_size: usize,
    out: &mut Vec<f32>,
    argmax: Option<&mut Vec<i32>>,
) {
    let mut pooler = RoiPooler::default();
    match argmax {
        None => pooler.pool(map, rois, spatial_scale, pool_size, out),
        Some(argmax) => pooler.pool_with_argmax(map, rois, spatial_scale, pool_size, out, argmax),
    }
}

/// RoIs as the cells of a map that their bins cover, in memory that is kept from picture to picture.
#[derive(Debug, Clone, Default)]
pub struct RoiBins {
    pool_size: usize,
    /// Of each RoI the rows of its bins, then their columns.
    spans: Vec<Range<usize>>,
}

impl RoiBins {
    /// Replaces the RoIs, of a map of `rows`×`cols` cells.
    pub fn set(&mut self, rois: &[BBox], spatial_scale: f32, pool_size: usize, rows: usize, cols: usize) {
        self.pool_size = pool_size;
        self.spans.clear();
        for roi in rois {
            let grid = Grid::new(roi, spatial_scale, pool_size, rows, cols);
            self.spans.extend((0..pool_size).map(|p| grid.rows_of(p)));
            self.spans.extend((0..pool_size).map(|q| grid.cols_of(q)));
        }
    }

    /// How many RoIs.
    pub fn len(&self) -> usize {
        self.spans.len() / (2 * self.pool_size).max(1)
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    fn of(&self, roi: usize) -> Bins<'_> {
        let (rows, cols) = self.spans[2 * roi * self.pool_size..][..2 * self.pool_size].split_at(self.pool_size);
        Bins { rows, cols }
    }
}

/// Pools RoIs of a map that they were set for, cell by cell: row, column, channel. What becomes of them begins `step` numbers
/// apart in `out`. On the current team.
///
/// # Panics
///
/// If `step` is less than the numbers of a pooled RoI, or `out` is not as many steps long.
pub fn pool_cells<T: Comparable>(map: &Levels<'_, T>, rois: &RoiBins, out: &mut [T], step: usize) {
    let features = map.channels() * rois.pool_size * rois.pool_size;
    assert_eq!(out.len(), rois.len() * step, "{} pooled RoIs", rois.len());
    team::for_each_chunk(out, step, |roi, out| map.largest(rois.of(roi), &mut out[..features]));
}

/// [`roi_pool`] that keeps its working memory from picture to picture.
#[derive(Debug)]
pub struct RoiPooler {
    kernels: Kernels,
    /// The map as row, column, channel.
    turned: Vec<f32>,
    /// Pooled RoIs as row, column, channel.
    cells: Vec<f32>,
    rectangles: Rectangles<f32>,
    bins: RoiBins,
}

impl Default for RoiPooler {
    fn default() -> Self {
        let (turned, cells, rectangles, bins) = Default::default();
        Self { kernels: Kernels::best(), turned, cells, rectangles, bins }
    }
}

impl RoiPooler {
    /// [`roi_pool`] without argmax.
    ///
    /// # Panics
    ///
    /// If the map's length is not `channels·rows·cols`.
    pub fn pool(&mut self, map: MapView<'_>, rois: &[BBox], spatial_scale: f32, pool_size: usize, out: &mut Vec<f32>) {
        let per_roi = map.channels * pool_size * pool_size;
        if !prepare(map, rois.len() * per_roi, out) {
            return;
        }
        let Self { kernels, turned, cells, rectangles, bins } = self;
        let turned = turn(map, turned);
        bins.set(rois, spatial_scale, pool_size, map.rows, map.cols);
        cells.resize(out.len(), 0.0);
        pool_cells(&rectangles.prepare(*kernels, turned, 0.0), bins, cells, per_roi);
        team::for_each_chunk(out, per_roi, |roi, out| {
            turn_back(&cells[roi * per_roi..][..per_roi], map.channels, out);
        });
    }

    /// [`roi_pool`] with argmax.
    ///
    /// # Panics
    ///
    /// If the map's length is not `channels·rows·cols`.
    pub fn pool_with_argmax(
        &mut self,
        map: MapView<'_>,
        rois: &[BBox],
        spatial_scale: f32,
        pool_size: usize,
        out: &mut Vec<f32>,
        argmax: &mut Vec<i32>,
    ) {
        let (channels, per_roi) = (map.channels, map.channels * pool_size * pool_size);
        argmax.clear();
        argmax.resize(rois.len() * per_roi, -1);
        if !prepare(map, rois.len() * per_roi, out) {
            return;
        }
        let turned = turn(map, &mut self.turned).data;
        let mut tiles: Vec<(Vec<f32>, Vec<i32>)> = vec![(vec![0.0; per_roi], vec![-1; per_roi]); rois.len()];
        team::for_each_chunk(&mut tiles, 1, |roi, tile| {
            let (tile, positions) = &mut tile[0];
            let grid = Grid::new(&rois[roi], spatial_scale, pool_size, map.rows, map.cols);
            let bins = tile.chunks_exact_mut(channels).zip(positions.chunks_exact_mut(channels));
            for (bin, (best, position)) in bins.enumerate() {
                let window = grid.bin(bin / pool_size, bin % pool_size);
                best.fill(start_value(&window));
                for at in cells(window, map.cols) {
                    raise_with_position(best, position, &turned[at * channels..][..channels], at as i32);
                }
            }
        });
        let results = out.chunks_exact_mut(per_roi).zip(argmax.chunks_exact_mut(per_roi));
        for ((tile, positions), (out, argmax)) in tiles.iter().zip(results) {
            turn_back(tile, channels, out);
            turn_back(positions, channels, argmax);
        }
    }
}

/// The map as row, column, channel.
fn turn<'a>(map: MapView<'_>, turned: &'a mut Vec<f32>) -> CellMap<'a, f32> {
    let MapView { data, channels, rows, cols } = map;
    turned.resize(data.len(), 0.0);
    to_channels_last(data, channels, turned);
    CellMap { data: turned, rows, cols, channels }
}

/// Raises each value to the other if that is larger, and notes `at` where.
fn raise_with_position(best: &mut [f32], position: &mut [i32], values: &[f32], at: i32) {
    for ((best, position), &v) in best.iter_mut().zip(position).zip(values) {
        // All ones where `v` wins: a select on `v > *best` became a branch, at six times the time.
        let wins = -i32::from(v > *best);
        *position = (at & wins) | (*position & !wins);
        *best = if v > *best { v } else { *best };
    }
}

/// One RoI's bins × channels as channels × bins.
fn turn_back<T: Copy>(tile: &[T], channels: usize, out: &mut [T]) {
    for (channel, out) in out.chunks_exact_mut(tile.len() / channels).enumerate() {
        for (out, &v) in out.iter_mut().zip(tile[channel..].iter().step_by(channels)) {
            *out = v;
        }
    }
}

/// Rows and columns of the map, either may be empty.
type Window = (Range<usize>, Range<usize>);

/// What the maximum of a window starts from.
fn start_value((rows, columns): &Window) -> f32 {
    if rows.is_empty() || columns.is_empty() { 0.0 } else { -f32::MAX }
}

/// Positions of the cells of a window, row by row.
fn cells((rows, columns): Window, cols: usize) -> impl Iterator<Item = usize> {
    rows.flat_map(move |row| columns.clone().map(move |col| row * cols + col))
}

/// Sizes `out`; false if there is nothing to look at and all of it is 0 already.
fn prepare(map: MapView<'_>, len: usize, out: &mut Vec<f32>) -> bool {
    assert_eq!(map.data.len(), map.channels * map.rows * map.cols, "map of {}×{}×{}", map.channels, map.rows, map.cols);
    if map.data.is_empty() {
        out.clear();
    }
    out.resize(len, 0.0);
    len > 0 && !map.data.is_empty()
}

/// The cells of the map that the bins of one RoI cover.
struct Grid {
    x: i64,
    y: i64,
    bin_width: f32,
    bin_height: f32,
    rows: i64,
    cols: i64,
}

impl Grid {
    fn new(roi: &BBox, spatial_scale: f32, pool_size: usize, rows: usize, cols: usize) -> Self {
        // `round` is half away from zero like C's; `as` saturates, so wild corners do no harm.
        let cell = |corner: f32| i64::from((corner * spatial_scale).round() as i32);
        let (x, y) = (cell(roi.x1), cell(roi.y1));
        let (width, height) = ((cell(roi.x2) - x + 1).max(1), (cell(roi.y2) - y + 1).max(1));
        let pool = pool_size as f32;
        let (rows, cols) = (rows as i64, cols as i64);
        Self { x, y, bin_width: width as f32 / pool, bin_height: height as f32 / pool, rows, cols }
    }

    /// Rows of the bins of row p, clipped to the map; maybe none.
    fn rows_of(&self, p: usize) -> Range<usize> {
        span(p, self.bin_height, self.y, self.rows)
    }

    /// Columns of the bins of column q, clipped to the map; maybe none.
    fn cols_of(&self, q: usize) -> Range<usize> {
        span(q, self.bin_width, self.x, self.cols)
    }

    /// Rows and columns of bin (p, q).
    fn bin(&self, p: usize, q: usize) -> Window {
        (self.rows_of(p), self.cols_of(q))
    }
}

fn span(index: usize, bin: f32, start: i64, len: i64) -> Range<usize> {
    // In f32 as in Caffe: where (index+1)·bin lands just above a whole number, the bin gets one more cell.
    let first = (index as f32 * bin).floor() as i64 + start;
    let end = ((index + 1) as f32 * bin).ceil() as i64 + start;
    first.clamp(0, len) as usize..end.clamp(0, len) as usize
}

#[cfg(test)]
#[path = "roi_pool_tests.rs"]
mod tests;
