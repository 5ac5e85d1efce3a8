//! What is left over of the runs of a pixel, where runs are no multiples of four: gathered beside the map.

use super::pack::Runs;
use crate::kernels::ConvShape;
use crate::kernels::team;

/// Bytes that are copied at once.
const FAST: usize = 32;

/// Gathers the last `runs.tail` bytes that each row of the kernel covers, for every output pixel: row after row, filled up
/// with zeros. `wide` is the length of a line of the padded map `x`, `len` the pixels of a line of outputs.
pub fn gather(shape: &ConvShape, runs: &Runs, x: &[u8], wide: usize, len: usize, out: &mut [u8]) {
    let line = len * runs.tail_step();
    team::for_each_chunk(out, line * 16, |i, out| {
        for (l, out) in out.chunks_exact_mut(line).enumerate() {
            let x = &x[(i * 16 + l) * shape.stride * wide..];
            gather_line(shape, runs, x, wide, shape.stride * shape.input, out);
        }
    });
}

/// [`gather`] for one line of outputs, of which the first pixel's kernel begins at the first byte of `x`, the next one's
/// `step` bytes on.
pub fn gather_line(shape: &ConvShape, runs: &Runs, x: &[u8], wide: usize, step: usize, out: &mut [u8]) {
    let ConvShape { kernel, input, .. } = *shape;
    let (from, tail_step) = (kernel * input - runs.tail, runs.tail_step());
    match (runs.tail, tail_step) {
        (1, 8) => return gather_few::<1>(kernel, &x[from..], wide, step, out),
        (2, 16) => return gather_few::<2>(kernel, &x[from..], wide, step, out),
        _ => (),
    }
    if (16..=FAST).contains(&runs.tail) {
        // Copies of one length, the end of each of which the next one overwrites; what the last leaves meets zeros.
        for (col, out) in out.chunks_exact_mut(tail_step).enumerate() {
            for row in 0..kernel {
                let (from, to) = (row * wide + from + col * step, row * runs.tail);
                match (x.get(from..from + FAST), out.get_mut(to..to + FAST)) {
                    (Some(x), Some(out)) => out.copy_from_slice(x),
                    _ => out[to..to + runs.tail].copy_from_slice(&x[from..from + runs.tail]),
                }
            }
        }
        return;
    }
    for (col, out) in out.chunks_exact_mut(tail_step).enumerate() {
        for (row, out) in out.chunks_exact_mut(runs.tail).take(kernel).enumerate() {
            out.copy_from_slice(&x[row * wide + from + col * step..][..runs.tail]);
        }
    }
}

/// The usual case, a row of the kernel at a time in one number of `TAIL` bytes: seven rows of 21 pixels, filled up to eight.
fn gather_few<const TAIL: usize>(kernel: usize, x: &[u8], wide: usize, step: usize, out: &mut [u8]) {
    let mut lines = [x; 8];
    lines.iter_mut().zip(0..kernel).for_each(|(line, row)| *line = &x[row * wide..]);
    for (col, out) in out.as_chunks_mut::<TAIL>().0.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        for (row, (out, line)) in out.iter_mut().zip(lines).enumerate() {
            *out = match line[col * step..].first_chunk() {
                Some(bytes) if row < kernel => *bytes,
                _ => [0; TAIL],
            };
        }
    }
}
