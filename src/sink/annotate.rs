//! Detections drawn into the picture: a frame per object, and a plate with its class and score.
//!
//! Frame and letters grow with the picture. A plate stands on its frame's top left corner, or moves below or inside
//! where it would leave the picture or cover another plate. The best detections are drawn last, on top.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use ab_glyph::FontRef;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder, ImageError};

use super::canvas::{Area, Type, fill, frame};
use super::json::Found;
use super::palette::{INK, of_class, text_on};
use crate::boxes::Rect;
use crate::frame::Picture;

/// Of 100; annotated pictures are for looking at.
const JPEG_QUALITY: u8 = 92;

/// Letters smaller than this (in pixels) cannot be read; a picture too small for them gets frames only.
const SMALLEST_TYPE: f32 = 8.0;

/// Why an annotated picture was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SaveError {
    /// The name does not say which kind of picture is wanted.
    #[error("{}: the name must end in .jpg, .jpeg or .png", path.display())]
    UnknownKind {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be written.
    #[error("{}: cannot be written: {reason}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system or the encoder said.
        reason: String,
    },
}

/// Draws the detections into the picture. `found` has the best first.
pub fn draw(picture: &mut Picture, found: &[Found<'_>]) {
    let size = ((picture.width * picture.height) as f32).sqrt();
    let line = (size / 260.0).round().max(1.0) as i64;
    let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).ok();

    for object in found.iter().rev() {
        let outer = outline(picture, object, line);
        let rim = (line / 3).max(1);
        frame(picture, outer.grown(rim), line + 2 * rim, INK, 0.45);
        frame(picture, outer, line, of_class(object.class_id), 1.0);
    }
    let Some(font) = font else { return };
    let mut plates: Vec<Plate> = Vec::with_capacity(found.len());
    for object in found {
        let outer = outline(picture, object, line);
        plates.extend(Plate::place(picture, object, outer, &font, (size * 0.028).clamp(13.0, 160.0), &plates));
    }
    for plate in plates.iter().rev() {
        plate.draw(picture, &font);
    }
}

/// Where the frame of a detection runs: its edge lies in the middle of the line, unless that is outside of the picture.
fn outline(picture: &Picture, object: &Found<'_>, line: i64) -> Area {
    let Rect { x1, y1, x2, y2 } = object.rect;
    let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(|v| v.round() as i64);
    Area { x1, y1, x2, y2 }.inside(picture).grown(line / 2).inside(picture)
}

/// A label with its place.
struct Plate {
    area: Area,
    text: String,
    class_id: usize,
    type_size: f32,
    margin: f32,
}

impl Plate {
    /// Finds the place for the plate of `object`, whose frame is `outer`; `None` if the picture is too small for it.
    fn place(
        picture: &Picture,
        object: &Found<'_>,
        outer: Area,
        font: &FontRef<'_>,
        wanted_size: f32,
        taken: &[Plate],
    ) -> Option<Self> {
        let text = format!("{} {:.2}", object.label, object.score);
        let extent = |size: f32| {
            let letters = Type::new(font, size);
            ((letters.width(&text) + 0.7 * size).ceil(), (letters.height() * 1.08).ceil())
        };
        // Long labels in narrow pictures get smaller letters.
        let (full_width, full_height) = extent(wanted_size);
        let fits = (picture.width as f32 / full_width).min(picture.height as f32 / full_height).min(1.0);
        let type_size = wanted_size * fits;
        if type_size < SMALLEST_TYPE {
            return None;
        }
        let (width, height) = extent(type_size);
        let (width, height) = (width as i64, height as i64);
        let x1 = outer.x1.min(picture.width as i64 - width).max(0);
        let at = |y1: i64| Area { x1, y1, x2: x1 + width, y2: y1 + height };
        let choices = [outer.y1 - height, outer.y1, outer.y2 - height, outer.y2];
        let possible = |a: &Area| a.y1 >= 0 && a.y2 <= picture.height as i64;
        let free = |a: &Area| taken.iter().all(|p| !p.area.meets(*a));
        let inside_top = outer.y1.min(picture.height as i64 - height).max(0);
        let area = choices
            .map(at)
            .into_iter()
            .filter(possible)
            .find(free)
            .or_else(|| choices.map(at).into_iter().find(possible))
            .unwrap_or(at(inside_top));
        Some(Self { area, text, class_id: object.class_id, type_size, margin: 0.35 * type_size })
    }

    fn draw(&self, picture: &mut Picture, font: &FontRef<'_>) {
        let colour = of_class(self.class_id);
        fill(picture, self.area, colour, 0.92);
        let letters = Type::new(font, self.type_size);
        let top = self.area.y1 as f32 + ((self.area.y2 - self.area.y1) as f32 - letters.height()) * 0.5;
        letters.write(picture, (self.area.x1 as f32 + self.margin, top), &self.text, text_on(colour));
    }
}

/// Writes the picture; the end of the name chooses JPEG or PNG.
pub fn save(picture: &Picture, path: &Path) -> Result<(), SaveError> {
    let kind = Kind::of(path).ok_or_else(|| SaveError::UnknownKind { path: path.to_owned() })?;
    let failed = |reason: String| SaveError::Write { path: path.to_owned(), reason };
    let file = std::fs::File::create(path).map_err(|e| failed(e.to_string()))?;
    let mut out = BufWriter::new(file);
    encode(picture, kind, &mut out).map_err(|e| failed(e.to_string()))?;
    out.flush().map_err(|e| failed(e.to_string()))
}

/// True if [`save`] can tell from the name what to write.
pub fn can_save(path: &Path) -> bool {
    Kind::of(path).is_some()
}

#[derive(Clone, Copy)]
enum Kind {
    Jpeg,
    Png,
}

impl Kind {
    fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "jpg" | "jpeg" => Some(Self::Jpeg),
            "png" => Some(Self::Png),
            _ => None,
        }
    }
}

/// The picture as a JPEG of a quality of 1 to 100.
pub fn jpeg(picture: &Picture, quality: u8, out: &mut impl Write) -> Result<(), ImageError> {
    let (width, height) = sides(picture)?;
    JpegEncoder::new_with_quality(out, quality).write_image(&picture.rgb, width, height, ExtendedColorType::Rgb8)
}

fn encode(picture: &Picture, kind: Kind, out: &mut impl Write) -> Result<(), ImageError> {
    match kind {
        Kind::Jpeg => jpeg(picture, JPEG_QUALITY, out),
        Kind::Png => {
            let (width, height) = sides(picture)?;
            PngEncoder::new(out).write_image(&picture.rgb, width, height, ExtendedColorType::Rgb8)
        }
    }
}

/// Width and height as the encoders want them.
fn sides(picture: &Picture) -> Result<(u32, u32), ImageError> {
    let too_large = |_| ImageError::IoError(io::Error::other("the picture is too large for this format"));
    Ok((u32::try_from(picture.width).map_err(too_large)?, u32::try_from(picture.height).map_err(too_large)?))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(class_id: usize, [x1, y1, x2, y2]: [f32; 4]) -> Found<'static> {
        Found { label: "potted plant", class_id, score: 0.93, rect: Rect { x1, y1, x2, y2 } }
    }

    fn gray(width: usize, height: usize) -> Picture {
        Picture::new(width, height, vec![90; width * height * 3]).unwrap()
    }

    #[test]
    fn the_frame_has_the_colour_of_its_class_and_the_inside_stays() {
        let mut p = gray(500, 400);
        draw(&mut p, &[found(7, [100.0, 100.0, 300.0, 300.0])]);
        assert_eq!(p.pixel(200, 300), Some(of_class(7)));
        assert_eq!(p.pixel(200, 200), Some([90; 3]));
        assert_eq!(p.pixel(400, 200), Some([90; 3]));
    }

    #[test]
    fn a_plate_at_the_top_or_right_edge_is_moved_into_the_picture() {
        let p = gray(400, 300);
        let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).unwrap();
        for corners in [[0.0, 0.0, 400.0, 300.0], [390.0, 0.0, 400.0, 10.0], [0.0, 295.0, 400.0, 300.0]] {
            let object = found(3, corners);
            let plate = Plate::place(&p, &object, outline(&p, &object, 1), &font, 14.0, &[]).unwrap();
            let Area { x1, y1, x2, y2 } = plate.area;
            assert!(x1 >= 0 && y1 >= 0 && x2 <= 400 && y2 <= 300, "{corners:?}: {:?}", plate.area);
        }
    }

    #[test]
    fn plates_of_the_same_box_do_not_cover_each_other() {
        let p = gray(400, 300);
        let font = FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).unwrap();
        let object = found(3, [100.0, 100.0, 300.0, 200.0]);
        let mut plates: Vec<Plate> = Vec::new();
        for _ in 0..4 {
            plates.extend(Plate::place(&p, &object, outline(&p, &object, 1), &font, 14.0, &plates));
        }
        for (i, a) in plates.iter().enumerate() {
            assert!(plates[..i].iter().all(|b| !a.area.meets(b.area)));
        }
    }

    #[test]
    fn only_jpeg_and_png_names_are_taken() {
        assert!(can_save(Path::new("a.JPG")) && can_save(Path::new("a.b.png")));
        assert!(!can_save(Path::new("a.gif")) && !can_save(Path::new("png")));
        let said = save(&gray(2, 2), Path::new("a.tiff")).unwrap_err().to_string();
        assert!(said.contains("a.tiff: the name must end in .jpg"), "{said}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_boxes_in_any_picture_are_drawn_without_panic(
            w in 1usize..200, h in 1usize..200,
            boxes in proptest::collection::vec(proptest::array::uniform4(-50f32..250.0), 0..6),
        ) {
            let mut p = gray(w, h);
            let found: Vec<_> = boxes.into_iter().enumerate().map(|(i, b)| found(i, b)).collect();
            draw(&mut p, &found);
            prop_assert_eq!(p.rgb.len(), w * h * 3);
        }
    }
}
