//! Drawing on a picture: filled rectangles, frames, text. Everything outside of the picture is cut off.

use ab_glyph::{Font, FontRef, PxScale, ScaleFont, point};

use super::palette::Colour;
use crate::frame::Picture;

/// A rectangle of whole pixels, half-open; may reach outside of the picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// Left.
    pub x1: i64,
    /// Top.
    pub y1: i64,
    /// One past the right.
    pub x2: i64,
    /// One past the bottom.
    pub y2: i64,
}

impl Area {
    /// Larger by `by` on each side.
    pub fn grown(self, by: i64) -> Self {
        Self { x1: self.x1 - by, y1: self.y1 - by, x2: self.x2 + by, y2: self.y2 + by }
    }

    /// The part of it that lies in the picture.
    pub fn inside(self, picture: &Picture) -> Self {
        let (w, h) = (picture.width as i64, picture.height as i64);
        Self { x1: self.x1.clamp(0, w), y1: self.y1.clamp(0, h), x2: self.x2.clamp(0, w), y2: self.y2.clamp(0, h) }
    }

    /// True if the two share a pixel.
    pub fn meets(self, other: Self) -> bool {
        self.x1 < other.x2 && other.x1 < self.x2 && self.y1 < other.y2 && other.y1 < self.y2
    }
}

/// Mixes `colour` into a rectangle; `opacity` 1 covers it.
pub fn fill(picture: &mut Picture, area: Area, colour: Colour, opacity: f32) {
    let Area { x1, y1, x2, y2 } = area.inside(picture);
    let (x1, y1, x2, y2) = (x1 as usize, y1 as usize, x2.max(x1) as usize, y2 as usize);
    for y in y1..y2 {
        let row = y * picture.width;
        for pixel in picture.rgb[(row + x1) * 3..(row + x2) * 3].chunks_exact_mut(3) {
            mix(pixel, colour, opacity);
        }
    }
}

/// The four bars between `outer` and `outer` made smaller by `width`.
pub fn frame(picture: &mut Picture, outer: Area, width: i64, colour: Colour, opacity: f32) {
    let Area { x1, y1, x2, y2 } = outer;
    // Thin boxes: the bars may not overlap, or a mixed colour would be mixed twice.
    let (top, bottom) = ((y1 + width).min(y2), (y2 - width).max(y1 + width).min(y2));
    let (left, right) = ((x1 + width).min(x2), (x2 - width).max(x1 + width).min(x2));
    for bar in [
        Area { x1, y1, x2, y2: top },
        Area { x1, y1: bottom, x2, y2 },
        Area { x1, y1: top, x2: left, y2: bottom },
        Area { x1: right, y1: top, x2, y2: bottom },
    ] {
        fill(picture, bar, colour, opacity);
    }
}

/// Letters of one size.
#[derive(Debug)]
pub struct Type<'a> {
    font: &'a FontRef<'a>,
    scale: PxScale,
}

impl<'a> Type<'a> {
    /// Letters of `font`, `size` pixels from the lowest to the highest.
    pub fn new(font: &'a FontRef<'a>, size: f32) -> Self {
        Self { font, scale: PxScale::from(size) }
    }

    /// Width of the text in pixels.
    pub fn width(&self, text: &str) -> f32 {
        self.placed(text).last().map_or(0.0, |(_, _, end)| end)
    }

    /// Height of a line in pixels.
    pub fn height(&self) -> f32 {
        self.font.as_scaled(self.scale).height()
    }

    /// Writes `text` with its line's top left corner at `x`, `y`.
    pub fn write(&self, picture: &mut Picture, (x, y): (f32, f32), text: &str, colour: Colour) {
        let base = y + self.font.as_scaled(self.scale).ascent();
        // Twice, a little apart: the font is a light one, and plates are small and bright.
        for bolder in [0.0, self.scale.x * 0.025] {
            for (letter, start, _) in self.placed(text) {
                let position = point(x + start + bolder, base);
                let glyph = self.font.glyph_id(letter).with_scale_and_position(self.scale, position);
                let Some(outline) = self.font.outline_glyph(glyph) else { continue };
                let (left, top) = (outline.px_bounds().min.x as i64, outline.px_bounds().min.y as i64);
                outline.draw(|dx, dy, coverage| {
                    let (px, py) = (left + i64::from(dx), top + i64::from(dy));
                    fill(picture, Area { x1: px, y1: py, x2: px + 1, y2: py + 1 }, colour, coverage.min(1.0));
                });
            }
        }
    }

    /// Each letter with the positions where it starts and where the next may start.
    fn placed(&self, text: &str) -> impl Iterator<Item = (char, f32, f32)> {
        let font = self.font.as_scaled(self.scale);
        let mut pen = 0.0;
        let mut before = None;
        text.chars().map(move |letter| {
            // Line breaks and the like have no place on a plate.
            let letter = if letter.is_control() { ' ' } else { letter };
            let id = font.glyph_id(letter);
            let start = pen + before.map_or(0.0, |b| font.kern(b, id));
            before = Some(id);
            pen = start + font.h_advance(id);
            (letter, start, pen)
        })
    }
}

fn mix(pixel: &mut [u8], colour: Colour, opacity: f32) {
    for (value, wanted) in pixel.iter_mut().zip(colour) {
        *value = (f32::from(*value) * (1.0 - opacity) + f32::from(wanted) * opacity).round() as u8;
    }
}
