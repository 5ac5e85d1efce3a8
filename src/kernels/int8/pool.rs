//! Max pooling of channels-last maps, of u8 or of real numbers, with Caffe's windows: they may overhang on all sides, and
//! only what is inside of the map counts.

use rayon::prelude::*;

/// Pools a map of `from` = (rows, columns) into one of `to`; windows of side `kernel`, `stride` apart, the first one
/// beginning `pad` before the map.
///
/// # Panics
///
/// If a slice has another length than its shape says.
pub fn max_pool<T: Copy + PartialOrd + Send + Sync>(
    x: &[T],
    from: (usize, usize),
    channels: usize,
    (kernel, stride, pad): (usize, usize, usize),
    out: &mut [T],
    to: (usize, usize),
) {
    assert_eq!((x.len(), out.len()), (from.0 * from.1 * channels, to.0 * to.1 * channels), "maps of {from:?}, {to:?}");
    let inside = |i: usize, len: usize| (i * stride).saturating_sub(pad)..(i * stride + kernel - pad).min(len);
    out.par_chunks_mut((to.1 * channels).max(1)).enumerate().for_each(|(row, out)| {
        for (col, out) in out.chunks_exact_mut(channels).enumerate() {
            let mut first = true;
            for r in inside(row, from.0) {
                for q in inside(col, from.1) {
                    let pixel = &x[(r * from.1 + q) * channels..][..channels];
                    if std::mem::take(&mut first) {
                        out.copy_from_slice(pixel);
                    } else {
                        out.iter_mut().zip(pixel).for_each(|(most, x)| *most = if *x > *most { *x } else { *most });
                    }
                }
            }
        }
    });
}
