//! Pictures with the objects marked on them, in one form for every annotation format.
//!
//! Boxes are 0-based [`BBox`]es in pixels of the original picture, clipped to it, because that is what training needs.
//! [`GroundTruth::rect`] keeps the half-open box in double precision as the annotation file states it: the COCO metric
//! is defined on unclipped, fractional boxes. Class ids are 1-based; 0 is the background, which no object has.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::boxes::{BBox, Rect};

/// One marked object.
#[derive(Debug, Clone, PartialEq)]
pub struct GroundTruth {
    /// 1-based index into [`Dataset::classes`].
    pub class_id: usize,
    /// 0-based inclusive corners, clipped to the picture.
    pub bbox: BBox,
    /// The box as the file states it, half-open `[x1, y1, x2, y2]`.
    pub rect: [f64; 4],
    /// VOC: hard to recognise; neither rewarded nor punished by the metrics, not trained on.
    pub difficult: bool,
    /// COCO: a region with many objects of the class; absorbs detections, not trained on.
    pub crowd: bool,
    /// Area of the object in pixels: that of the outline for COCO, of the box for VOC.
    pub area: f64,
}

impl GroundTruth {
    /// True for objects a detector should learn: not difficult, not a crowd, and something of the box is in the picture.
    pub fn trainable(&self) -> bool {
        let b = &self.bbox;
        !self.difficult && !self.crowd && self.area > 0.0 && b.x2 >= b.x1 && b.y2 >= b.y1
    }

    /// The objects of one VOC annotation file, with VOC's classes; `path` is for messages.
    pub fn from_voc_xml(xml: &str, path: &Path) -> Result<Vec<Self>, DatasetError> {
        super::voc::objects(xml, path)
    }

    pub(super) fn from_bbox(class_id: usize, bbox: BBox, difficult: bool) -> Self {
        let r = Rect::from(bbox);
        let rect = [r.x1, r.y1, r.x2, r.y2].map(f64::from);
        let area = (rect[2] - rect[0]) * (rect[3] - rect[1]);
        Self { class_id, bbox, rect, difficult, crowd: false, area }
    }
}

/// One picture and its objects.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageRecord {
    /// Name within the data set: the VOC id (`000005`) or the COCO image number.
    pub id: String,
    /// Where the picture is.
    pub path: PathBuf,
    /// Width and height in pixels as the annotation file states them.
    pub size: Option<(u32, u32)>,
    /// The marked objects, in the order of the file.
    pub objects: Vec<GroundTruth>,
}

impl ImageRecord {
    fn file_name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }
}

/// Which annotation format a data set came from; result files follow it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DatasetKind {
    /// A VOC devkit folder; image ids are names.
    Voc,
    /// A COCO instances file; image ids are numbers.
    Coco,
}

/// Pictures with their objects.
#[derive(Debug, Clone, PartialEq)]
pub struct Dataset {
    /// Where it came from.
    pub kind: DatasetKind,
    /// Class names without the background; class id k is `classes[k - 1]`.
    pub classes: Vec<String>,
    /// For each class its number in COCO files; `1..=K` for VOC.
    pub category_ids: Vec<u64>,
    /// The pictures: VOC in the order of the split list, COCO by rising number.
    pub images: Vec<ImageRecord>,
}

impl Dataset {
    /// Reads one split of a VOC devkit folder (`Annotations/`, `ImageSets/Main/<split>.txt`, `JPEGImages/`).
    ///
    /// The classes are the 20 of VOC unless the folder has a `classes.txt` with one name a line.
    pub fn voc(dir: &Path, split: &str) -> Result<Self, DatasetError> {
        let set = super::voc::read(dir, split)?;
        set.check_pictures()?;
        Ok(set)
    }

    /// [`Dataset::voc`] without looking whether the pictures are there: enough to score saved detections.
    pub fn voc_annotations(dir: &Path, split: &str) -> Result<Self, DatasetError> {
        super::voc::read(dir, split)
    }

    /// Reads a COCO instances file; the pictures are `image_dir/<file_name>`.
    pub fn coco(file: &Path, image_dir: &Path) -> Result<Self, DatasetError> {
        let set = super::coco::read(file, image_dir)?;
        set.check_pictures()?;
        Ok(set)
    }

    /// [`Dataset::coco`] without looking whether the pictures are there: enough to score saved detections.
    pub fn coco_annotations(file: &Path, image_dir: &Path) -> Result<Self, DatasetError> {
        super::coco::read(file, image_dir)
    }

    /// A COCO instances file already in memory; `path` is for messages.
    pub fn coco_json(bytes: &[u8], path: &Path, image_dir: &Path) -> Result<Self, DatasetError> {
        super::coco::parse(bytes, path, image_dir)
    }

    /// Name of a class by its 1-based id.
    pub fn class_name(&self, class_id: usize) -> Option<&str> {
        class_id.checked_sub(1).and_then(|i| self.classes.get(i)).map(String::as_str)
    }

    /// Keeps the first `limit` pictures.
    pub fn truncate(&mut self, limit: usize) {
        self.images.truncate(limit);
    }

    /// Keeps `limit` pictures, evenly spread over all of them.
    pub fn spread(&mut self, limit: usize) {
        let (len, mut i) = (self.images.len(), 0);
        let kept = limit.min(len);
        self.images.retain(|_| {
            // The first at or after each of the `kept` even steps.
            let keep = i * kept % len < kept;
            i += 1;
            keep
        });
    }

    /// Fails with the number and first few names of pictures that do not exist.
    pub fn check_pictures(&self) -> Result<(), DatasetError> {
        let missing: Vec<&ImageRecord> = self.images.iter().filter(|i| !i.path.is_file()).collect();
        let Some(first) = missing.first() else { return Ok(()) };
        let mut names = missing.iter().take(5).map(|i| i.file_name()).collect::<Vec<_>>().join(", ");
        if missing.len() > 5 {
            names.push_str(", …");
        }
        Err(DatasetError::MissingPictures {
            missing: missing.len(),
            total: self.images.len(),
            folder: first.path.parent().unwrap_or(Path::new("")).to_path_buf(),
            names,
            hint: match self.kind {
                DatasetKind::Voc => "take them off the split list",
                DatasetKind::Coco => "name the right folder with --images",
            },
        })
    }
}

/// The names in a text with one a line; blank lines do not count.
pub fn names_in(text: &str) -> Vec<String> {
    text.lines().map(str::trim).filter(|l| !l.is_empty()).map(String::from).collect()
}

/// Why a data set could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}; {hint}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// A file is not what its format promises.
    #[error("{path}: {what}")]
    Format {
        /// The file.
        path: PathBuf,
        /// Where in the file, and why.
        what: String,
    },
    /// An object of a picture is wrong.
    #[error("{path}: {object}: {what}")]
    Object {
        /// The annotation file.
        path: PathBuf,
        /// Which object, counted from 1, with its class where known.
        object: String,
        /// Why, and what to do.
        what: String,
    },
    /// Pictures named by the annotations do not exist.
    #[error(
        "{missing} of {total} pictures are missing from {folder}: {names}; \
         put them there or {hint}"
    )]
    MissingPictures {
        /// How many.
        missing: usize,
        /// Out of how many.
        total: usize,
        /// Where they were looked for.
        folder: PathBuf,
        /// The first few.
        names: String,
        /// What else to do.
        hint: &'static str,
    },
}

/// Class id by name.
pub(super) fn class_index(classes: &[String]) -> BTreeMap<&str, usize> {
    classes.iter().enumerate().map(|(i, c)| (c.as_str(), i + 1)).collect()
}

/// Clips a box that reaches into the picture; `None` if it is empty or lies outside altogether.
///
/// The reference code takes boxes as they come, which wraps around its unsigned storage when a labelling tool wrote
/// 0-based corners; such boxes are a pixel off, not wrong, so they are clipped here.
pub(super) fn clip_to_picture(b: BBox, size: Option<(u32, u32)>) -> Option<BBox> {
    // Without a stated size only the left and top edges are known.
    let (w, h) = size.map_or((f32::MAX, f32::MAX), |(w, h)| (w as f32, h as f32));
    let empty = b.x2 < b.x1 || b.y2 < b.y1;
    if empty || b.x2 < 0.0 || b.y2 < 0.0 || b.x1 >= w || b.y1 >= h { None } else { Some(b.clip(w, h)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_keeps_as_many_as_asked_for_from_the_first_on_in_even_steps() {
        let image = |i: usize| ImageRecord { id: i.to_string(), path: PathBuf::new(), size: None, objects: vec![] };
        for (len, limit) in [(10, 3), (7, 7), (5, 9), (2501, 200), (3, 1), (0, 4)] {
            let images = (0..len).map(image).collect();
            let mut set = Dataset { kind: DatasetKind::Voc, classes: vec![], category_ids: vec![], images };
            set.spread(limit);
            let kept: Vec<String> = set.images.into_iter().map(|i| i.id).collect();
            let want: Vec<String> =
                (0..limit.min(len)).map(|k| (k * len).div_ceil(limit.min(len)).to_string()).collect();
            assert_eq!(kept, want, "{limit} of {len}");
        }
    }

    #[test]
    fn a_box_is_clipped_to_its_picture_and_refused_outside() {
        let size = Some((10, 8));
        let clip = |x1, y1, x2, y2| clip_to_picture(BBox::new(x1, y1, x2, y2), size);
        assert_eq!(clip(-1.0, 0.0, 10.0, 7.0), Some(BBox::new(0.0, 0.0, 9.0, 7.0)));
        assert_eq!(clip(2.0, 3.0, 2.0, 3.0), Some(BBox::new(2.0, 3.0, 2.0, 3.0)));
        assert_eq!(clip(10.0, 0.0, 12.0, 7.0), None);
        assert_eq!(clip(5.0, 0.0, 4.0, 7.0), None);
        assert_eq!(clip_to_picture(BBox::new(-2.0, 1.0, 1e9, 5.0), None), Some(BBox::new(0.0, 1.0, 1e9, 5.0)));
    }

    #[test]
    fn difficult_crowd_and_empty_objects_are_not_trained_on() {
        let good = GroundTruth::from_bbox(1, BBox::new(0.0, 0.0, 4.0, 4.0), false);
        assert!(good.trainable() && good.area == 25.0 && good.rect == [0.0, 0.0, 5.0, 5.0]);
        assert!(!GroundTruth { difficult: true, ..good.clone() }.trainable());
        assert!(!GroundTruth { crowd: true, ..good.clone() }.trainable());
        assert!(!GroundTruth { area: 0.0, ..good }.trainable());
    }
}
