//! Windows cut out of pictures at random: objects appear larger, at the border and before other surroundings than in the
//! whole picture (after SSD, Liu et al. 2016, §2.2).

use rand::{Rng, RngExt};

use crate::boxes::BBox;
use crate::frame::Picture;

/// The shortest that a side of a window is, as a part of the picture's.
const LEAST: f32 = 0.5;

/// A part of a picture, in whole pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Left column.
    pub left: usize,
    /// Top row.
    pub top: usize,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl Window {
    /// At least half of each side of a picture, anywhere in it.
    pub fn draw(picture: &Picture, rng: &mut impl Rng) -> Self {
        let mut side = |whole: usize| {
            let len = (whole as f32 * rng.random_range(LEAST..=1.0)).ceil() as usize;
            (rng.random_range(0..=whole - len), len)
        };
        let ((left, width), (top, height)) = (side(picture.width), side(picture.height));
        Self { left, top, width, height }
    }

    /// The pixels inside.
    pub fn cut(&self, picture: &Picture) -> Picture {
        let rows = picture.rgb.chunks_exact(picture.width * 3).skip(self.top).take(self.height);
        let rgb = rows.flat_map(|row| &row[self.left * 3..][..self.width * 3]).copied().collect();
        Picture { width: self.width, height: self.height, rgb }
    }

    /// What of an object lies inside, in pixels of the window; `None` if its centre lies outside.
    pub fn see(&self, object: &BBox) -> Option<BBox> {
        let [left, top, width, height] = [self.left, self.top, self.width, self.height].map(|n| n as f32);
        let moved = BBox::new(object.x1 - left, object.y1 - top, object.x2 - left, object.y2 - top);
        let (x, y) = ((moved.x1 + moved.x2) / 2.0, (moved.y1 + moved.y2) / 2.0);
        let inside = (0.0..=width - 1.0).contains(&x) && (0.0..=height - 1.0).contains(&y);
        inside.then(|| moved.clip(width, height))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn a_window_lies_in_the_picture_and_has_half_of_each_side() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for (width, height) in [(1, 1), (2, 5), (500, 375)] {
            let picture = Picture { width, height, rgb: vec![0; width * height * 3] };
            for _ in 0..200 {
                let w = Window::draw(&picture, &mut rng);
                assert!(w.left + w.width <= width && w.top + w.height <= height, "{w:?} of {width}×{height}");
                assert!(2 * w.width >= width && 2 * w.height >= height, "{w:?} of {width}×{height}");
            }
        }
    }

    #[test]
    fn pixels_and_boxes_stay_together() {
        let rgb = (0..4 * 3).flat_map(|i| [i, i, i]).collect();
        let picture = Picture { width: 4, height: 3, rgb };
        let window = Window { left: 1, top: 1, width: 3, height: 2 };
        let cut = window.cut(&picture);
        assert_eq!(cut.rgb.iter().step_by(3).copied().collect::<Vec<u8>>(), [5, 6, 7, 9, 10, 11]);
        // Columns 0…3 and rows 1…2: their centre, (1.5, 1.5), lies inside, the left column is cut off.
        assert_eq!(window.see(&BBox::new(0.0, 1.0, 3.0, 2.0)), Some(BBox::new(0.0, 0.0, 2.0, 1.0)));
        assert_eq!(window.see(&BBox::new(0.0, 0.0, 1.0, 2.0)), None);
    }
}
