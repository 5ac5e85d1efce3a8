//! Max pooling of channels-last maps, of u8 or of real numbers, with Caffe's windows: they may overhang on all sides, and
//! only what is inside of the map counts.

use super::dot::{Dot, IntDot, IntWork};
use crate::kernels::largest::{NEAR, largest, raise};
use crate::kernels::pool::{MapShape, PoolShape};
use crate::kernels::team;

/// Pools `x` into `out`, whose rows and columns say how many windows there are, on the current team.
///
/// # Panics
///
/// If a slice has another length than its shape says, or the channels differ, or a window lies outside of the map.
pub fn max_pool<T>(dot: Dot, pool: PoolShape, x: &[T], from: MapShape, out: &mut [T], to: MapShape)
where
    T: Copy + PartialOrd + Send + Sync,
{
    assert_eq!((x.len(), out.len()), (from.iter().product(), to.iter().product()), "maps of {from:?} and {to:?}");
    pool.check(from, to);
    team::for_each_chunk(out, to[1] * to[2], |row, out| dot.run(PoolRow { pool, x, from, row, out }));
}

struct PoolRow<'a, T> {
    pool: PoolShape,
    x: &'a [T],
    from: MapShape,
    row: usize,
    out: &'a mut [T],
}

impl<T: Copy + PartialOrd> IntWork for PoolRow<'_, T> {
    #[inline(always)]
    fn run<D: IntDot>(self, _: D) {
        let [rows, cols, channels] = self.from;
        let line = cols * channels;
        let lines = self.pool.inside(self.row, rows).map(|r| &self.x[r * line..][..line]);
        max_line(self.pool, lines, channels, self.out);
    }
}

/// One row of results, from the lines of the map that its windows cover. Plain code that is compiled for the instruction set
/// it is inlined into.
#[inline(always)]
pub fn max_line<'a, T: Copy + PartialOrd + 'a>(
    pool: PoolShape,
    lines: impl Iterator<Item = &'a [T]> + Clone,
    channels: usize,
    out: &mut [T],
) {
    for (col, out) in out.chunks_exact_mut(channels).enumerate() {
        let mut near: [&[T]; NEAR] = [&[]; NEAR];
        let (mut count, mut first) = (0, true);
        for line in lines.clone() {
            for q in pool.inside(col, line.len() / channels) {
                if count == NEAR {
                    if std::mem::take(&mut first) {
                        largest(out, &near)
                    } else {
                        raise(out, &near)
                    }
                    count = 0;
                }
                near[count] = &line[q * channels..][..channels];
                count += 1;
            }
        }
        if first { largest(out, &near[..count]) } else { raise(out, &near[..count]) }
    }
}
