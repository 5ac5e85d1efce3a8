//! From channel-major maps (a plane per channel) to channels-last ones (the channels of a pixel together), and back.
//!
//! Channels-last is what the convolutions read; channel-major is what files and the engine have. Copies, exact.

use super::team;

/// Pixels of a task; a cache line of each plane is used up by 16 of them.
const PIXELS: usize = 256;

/// Fills `out` (pixels × channels) from `x` (channels × pixels).
///
/// # Panics
///
/// If the lengths differ or `channels` does not divide them.
pub fn to_channels_last(x: &[f32], channels: usize, out: &mut [f32]) {
    assert!(x.len() == out.len() && (x.is_empty() || x.len().is_multiple_of(channels)), "whole pixels");
    let pixels = x.len() / channels.max(1);
    team::for_each_chunk(out, PIXELS * channels, |i, out| {
        for (j, out) in out.chunks_mut(16 * channels).enumerate() {
            let first = i * PIXELS + j * 16;
            for (c, plane) in x.chunks_exact(pixels).enumerate() {
                out[c..].iter_mut().step_by(channels).zip(&plane[first..]).for_each(|(out, x)| *out = *x);
            }
        }
    });
}

/// Fills `out` (channels × pixels) from `x` (pixels × channels).
///
/// # Panics
///
/// If the lengths differ or `channels` does not divide them.
pub fn to_channel_major(x: &[f32], channels: usize, out: &mut [f32]) {
    assert!(x.len() == out.len() && (x.is_empty() || x.len().is_multiple_of(channels)), "whole pixels");
    let pixels = x.len() / channels.max(1);
    team::for_each_chunk(out, 16 * pixels, |i, planes| {
        let first = i * 16;
        for (j, x) in x.chunks(16 * channels).enumerate() {
            for (c, plane) in planes.chunks_exact_mut(pixels).enumerate() {
                let x = x[first + c..].iter().step_by(channels);
                plane[j * 16..].iter_mut().zip(x).for_each(|(out, x)| *out = *x);
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_are_transposes() {
        for (channels, pixels) in [(1, 1), (3, 700), (16, 16), (35, 17), (5, 0), (256, 33)] {
            let x: Vec<f32> = (0..channels * pixels).map(|i| i as f32).collect();
            let (mut last, mut back) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            to_channels_last(&x, channels, &mut last);
            for (i, v) in last.iter().enumerate() {
                assert_eq!(*v, x[i % channels * pixels + i / channels], "{channels}×{pixels} at {i}");
            }
            to_channel_major(&last, channels, &mut back);
            assert_eq!(back, x, "{channels}×{pixels}");
        }
    }
}
