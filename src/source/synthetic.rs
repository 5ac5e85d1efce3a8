//! Known shapes moving over a background: frames without a camera, whose right answer is known.
//!
//! Frame `n` is a function of `n` and the size alone. The background is smooth light with a fine grain, like a wall in a
//! photograph; a disc, a box and a triangle move over it in straight lines and bounce off the edges.

use super::{Context, Frame, Next, Pace, Source, SourceError};
use crate::boxes::Rect;
use crate::frame::{Layout, MAX_PIXELS, PixelFormat};

/// A shape, its colour and its movement: size and way per frame in thousandths of the shorter side.
struct Mover {
    kind: Kind,
    rgb: [u8; 3],
    size: usize,
    step: [usize; 2],
    start: [usize; 2],
}

#[derive(Clone, Copy)]
enum Kind {
    Disc,
    Box,
    Triangle,
}

const MOVERS: [Mover; 3] = [
    Mover { kind: Kind::Disc, rgb: [214, 69, 48], size: 220, step: [11, 7], start: [100, 50] },
    Mover { kind: Kind::Box, rgb: [38, 84, 171], size: 180, step: [6, 13], start: [600, 400] },
    Mover { kind: Kind::Triangle, rgb: [240, 190, 40], size: 260, step: [9, 4], start: [300, 700] },
];

/// A source of drawn frames.
pub struct Synthetic {
    width: usize,
    height: usize,
    background: Vec<u8>,
    live: bool,
    pace: Pace,
    context: Context,
    seq: u64,
}

impl Synthetic {
    /// Frames of this size, `fps` a second.
    pub fn new(width: usize, height: usize, fps: f64, context: Context) -> Result<Self, SourceError> {
        if width < 16 || height < 16 || (width as u64).saturating_mul(height as u64) > MAX_PIXELS {
            let reason = "must be at least 16x16 and at most 100 million pixels";
            return Err(SourceError::Setting { name: "size", value: format!("{width}x{height}"), reason });
        }
        let pace = Pace::new(Some(fps), &context)?;
        Ok(Self { width, height, background: background(width, height), live: true, pace, context, seq: 0 })
    }

    /// Waits until each frame was looked at.
    pub fn every_frame(&mut self) {
        self.live = false;
    }

    /// Where the shapes are in a frame, in the order they are drawn.
    pub fn truth(width: usize, height: usize, seq: u64) -> [Rect; 3] {
        MOVERS.each_ref().map(|mover| {
            let (x, y, side) = mover.place(width, height, seq);
            Rect { x1: x as f32, y1: y as f32, x2: (x + side) as f32, y2: (y + side) as f32 }
        })
    }

    fn draw(&self, to: &mut Vec<u8>) {
        to.clear();
        to.extend_from_slice(&self.background);
        for mover in &MOVERS {
            let (left, top, side) = mover.place(self.width, self.height, self.seq);
            for row in 0..side {
                let (from, len) = mover.kind.span(row, side);
                let at = ((top + row) * self.width + left + from) * 3;
                to[at..at + len * 3].as_chunks_mut::<3>().0.fill(mover.rgb);
            }
        }
    }
}

impl Mover {
    /// Left, top and side length in pixels.
    fn place(&self, width: usize, height: usize, seq: u64) -> (usize, usize, usize) {
        let shorter = width.min(height);
        let side = (self.size * shorter / 1000).max(1);
        let along = |axis: usize, length: usize| {
            let room = length - side;
            // There and back again; less than a period, so that it fits in any usize.
            let way = self.start[axis] as u64 + seq.wrapping_mul(self.step[axis] as u64);
            let position = (way.wrapping_mul(shorter as u64) / 1000) % (2 * room as u64 + 1);
            let position = position as usize;
            if position > room { 2 * room - position } else { position }
        };
        (along(0, width), along(1, height), side)
    }
}

impl Kind {
    /// First column and length of a row of the shape.
    fn span(self, row: usize, side: usize) -> (usize, usize) {
        let half = match self {
            Self::Box => return (0, side),
            Self::Triangle => (row + 1) as f64 / 2.0,
            Self::Disc => {
                let (radius, dy) = (side as f64 / 2.0, row as f64 + 0.5 - side as f64 / 2.0);
                (radius * radius - dy * dy).max(0.25).sqrt()
            }
        };
        let from = (side as f64 / 2.0 - half).round().max(0.0) as usize;
        (from.min(side - 1), (side - 2 * from.min((side - 1) / 2)).max(1))
    }
}

/// Light that falls off to the corners, and a grain.
fn background(width: usize, height: usize) -> Vec<u8> {
    let mut grain = 0x9E37_79B9_u32;
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in 0..height {
        for x in 0..width {
            let (dx, dy) = (x as f32 / width as f32 - 0.4, y as f32 / height as f32 - 0.3);
            let light = 190.0 - 120.0 * (dx * dx + dy * dy).sqrt();
            grain = grain.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let noise = (grain >> 28) as f32 - 7.5;
            rgb.extend([light + noise, 0.96 * light + noise, 0.85 * light + noise].map(|v| v as u8));
        }
    }
    rgb
}

impl Source for Synthetic {
    fn name(&self) -> &str {
        "synthetic"
    }

    fn live(&self) -> bool {
        self.live
    }

    fn endless(&self) -> bool {
        true
    }

    fn next(&mut self, frame: &mut Frame) -> Result<Next, SourceError> {
        if !self.pace.wait() {
            return Ok(Next::End);
        }
        self.draw(&mut frame.bytes);
        frame.layout = Layout::new(PixelFormat::Rgb24, self.width, self.height);
        (frame.seq, frame.captured, frame.path) = (self.seq, self.context.clock.now(), None);
        self.seq += 1;
        Ok(Next::Frame)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::sync::Arc;

    use super::super::Stop;
    use super::*;
    use crate::clock::SystemClock;

    fn source(width: usize, height: usize) -> Synthetic {
        let context = Context { clock: Arc::new(SystemClock), stop: Stop::default() };
        Synthetic::new(width, height, 10_000.0, context).unwrap()
    }

    #[test]
    fn the_boxes_of_the_truth_hold_exactly_what_moves() {
        let (width, height) = (96, 64);
        let mut synthetic = source(width, height);
        for seq in (0..3000).step_by(37) {
            synthetic.seq = seq;
            let mut drawn = Vec::new();
            synthetic.draw(&mut drawn);
            // The last one is covered by nothing.
            let (truth, rgb) = (Synthetic::truth(width, height, seq)[2], MOVERS[2].rgb);
            let there = |i: &usize| drawn[i * 3..][..3] == rgb;
            let (xs, ys): (Vec<_>, Vec<_>) =
                (0..width * height).filter(there).map(|i| ((i % width) as f32, (i / width) as f32)).unzip();
            let most = |values: &[f32]| values.iter().copied().fold(0.0, f32::max) + 1.0;
            let least = |values: &[f32]| values.iter().copied().fold(f32::MAX, f32::min);
            assert_eq!((least(&xs), least(&ys), most(&xs), most(&ys)), (truth.x1, truth.y1, truth.x2, truth.y2));
        }
    }

    #[test]
    fn any_size_and_number_of_frame_stays_inside() {
        for (width, height) in [(16, 16), (640, 480), (17, 900)] {
            for seq in [0, 1, 999, 123_456_789, u64::MAX] {
                for b in Synthetic::truth(width, height, seq) {
                    assert!(b.x1 >= 0.0 && b.x2 <= width as f32 && b.y2 <= height as f32 && b.x1 < b.x2, "{b:?}");
                }
                source(width, height).draw(&mut Vec::new());
            }
        }
    }

    #[test]
    fn the_same_frame_is_the_same_on_every_run() {
        let (mut a, mut b) = (Frame::default(), Frame::default());
        source(64, 48).next(&mut a).unwrap();
        source(64, 48).next(&mut b).unwrap();
        assert_eq!((a.bytes, a.seq, a.layout), (b.bytes, b.seq, b.layout));
    }
}
