//! Still scenes need no detector: a cheap look at how much of the picture has changed.
//!
//! The picture is laid out as a grid of cells; of each the mean brightness of a few pixels is kept from the last frame
//! that was looked at. A cell has changed if it is lighter or darker than then by more than cameras' noise. Comparing
//! with the last frame *looked at*, not with the one before, finds slow movement too.

use crate::frame::Picture;

/// Cells in each direction.
const CELLS: usize = 48;

/// Pixels looked at in a cell, in each direction.
const SAMPLES: usize = 4;

/// Of 255: more than the noise of a mean of 16 pixels at night, less than anything that moves.
const STEP: u16 = 10;

/// Looks for motion. Its memory is taken once.
#[derive(Debug, Clone)]
pub struct MotionGate {
    /// Fraction of the cells that may change in a still scene.
    limit: f32,
    /// Size of the picture the cells are from; none was looked at yet if zero.
    size: (usize, usize),
    reference: Vec<u8>,
    now: Vec<u8>,
}

impl MotionGate {
    /// A scene is still while at most this fraction of it changes.
    pub fn new(limit: f32) -> Self {
        Self { limit, size: (0, 0), reference: vec![0; CELLS * CELLS], now: vec![0; CELLS * CELLS] }
    }

    /// True if nothing has moved since the last picture for which this was false.
    pub fn is_still(&mut self, picture: &Picture) -> bool {
        let size = (picture.width, picture.height);
        for (i, cell) in self.now.iter_mut().enumerate() {
            *cell = brightness(picture, i % CELLS, i / CELLS);
        }
        let changed = self.now.iter().zip(&self.reference);
        let changed = changed.filter(|(a, b)| u16::from(a.abs_diff(**b)) > STEP).count();
        let still = self.size == size && changed as f32 <= self.limit * (CELLS * CELLS) as f32;
        if !still {
            self.size = size;
            std::mem::swap(&mut self.now, &mut self.reference);
        }
        still
    }

    /// Has the next picture looked at, whatever is on it: nothing came of looking at the last.
    pub fn forget(&mut self) {
        self.size = (0, 0);
    }
}

/// Mean brightness of some pixels of a cell.
fn brightness(picture: &Picture, column: usize, row: usize) -> u8 {
    let place = |cell: usize, i: usize, side: usize| (cell * SAMPLES + i) * side / (CELLS * SAMPLES);
    let mut sum = 0;
    for y in (0..SAMPLES).map(|i| place(row, i, picture.height)) {
        for x in (0..SAMPLES).map(|i| place(column, i, picture.width)) {
            let at = (y * picture.width + x) * 3;
            let [r, g, b] = [picture.rgb[at], picture.rgb[at + 1], picture.rgb[at + 2]].map(u32::from);
            sum += (77 * r + 150 * g + 29 * b) >> 8;
        }
    }
    // A mean of numbers up to 255.
    (sum / (SAMPLES * SAMPLES) as u32) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A gray picture with a white square, and noise up to `noise`.
    fn noisy(width: usize, height: usize, square_at: usize, noise: u8, seed: u32) -> Picture {
        let mut rgb = vec![90u8; width * height * 3];
        for y in height / 4..height / 2 {
            rgb[(y * width + square_at) * 3..(y * width + square_at + width / 8) * 3].fill(220);
        }
        let mut state = seed;
        for value in &mut rgb {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *value = value.saturating_add((state >> 24) as u8 % (noise + 1));
        }
        Picture { width, height, rgb }
    }

    fn scene(width: usize, height: usize, square_at: usize, noise: u8) -> Picture {
        noisy(width, height, square_at, noise, 12345)
    }

    #[test]
    fn the_first_picture_is_looked_at_and_the_same_one_again_is_still() {
        let mut gate = MotionGate::new(0.005);
        assert!(!gate.is_still(&scene(320, 240, 10, 0)));
        assert!(gate.is_still(&scene(320, 240, 10, 0)));
        assert!(!gate.is_still(&scene(320, 240, 100, 0)));
        assert!(gate.is_still(&scene(320, 240, 100, 0)));
    }

    #[test]
    fn noise_is_not_motion_and_a_small_object_is() {
        let mut gate = MotionGate::new(0.005);
        gate.is_still(&noisy(320, 240, 10, 30, 1));
        (2..20).for_each(|seed| assert!(gate.is_still(&noisy(320, 240, 10, 30, seed)), "{seed}"));
        assert!(!gate.is_still(&noisy(320, 240, 24, 30, 20)));
    }

    #[test]
    fn slow_motion_is_found_although_no_two_neighbours_differ() {
        let mut gate = MotionGate::new(0.005);
        let found = (0..60).filter(|step| !gate.is_still(&scene(640, 480, 10 + step, 0))).count();
        assert!((2..40).contains(&found), "{found}");
    }

    #[test]
    fn another_size_or_a_failure_has_the_next_picture_looked_at() {
        let mut gate = MotionGate::new(1.0);
        assert!(!gate.is_still(&scene(320, 240, 10, 0)));
        assert!(!gate.is_still(&scene(160, 120, 10, 0)));
        assert!(gate.is_still(&scene(160, 120, 50, 0)));
        gate.forget();
        assert!(!gate.is_still(&scene(160, 120, 50, 0)));
        // One pixel is enough of a picture.
        assert!(!gate.is_still(&Picture { width: 1, height: 1, rgb: vec![0; 3] }));
    }
}
