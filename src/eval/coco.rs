//! Reader for COCO instances files.
//!
//! Classes are the categories by rising number (the numbers have gaps; class ids do not), pictures come by rising
//! number, which is also the order in which the COCO metric breaks ties. A box `[x, y, w, h]` becomes corners as in
//! the reference code: `x2 = x1 + max(0, w - 1)`, clipped to the picture.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use super::{Dataset, DatasetError, DatasetKind, GroundTruth, ImageRecord};
use crate::boxes::BBox;

#[derive(Deserialize)]
struct File {
    images: Vec<Image>,
    // Files of test splits have none.
    #[serde(default)]
    annotations: Vec<Annotation>,
    categories: Vec<Category>,
}

#[derive(Deserialize)]
struct Image {
    id: u64,
    file_name: String,
    width: Option<u32>,
    height: Option<u32>,
}

#[derive(Deserialize)]
struct Annotation {
    #[serde(default)]
    id: u64,
    image_id: u64,
    category_id: u64,
    bbox: [f64; 4],
    area: Option<f64>,
    #[serde(default)]
    iscrowd: u8,
}

#[derive(Deserialize)]
struct Category {
    id: u64,
    name: String,
}

/// Reads the annotations; pictures are `image_dir/<file_name>`.
pub(super) fn read(file: &Path, image_dir: &Path) -> Result<Dataset, DatasetError> {
    let bytes = fs::read(file).map_err(|source| DatasetError::Io {
        path: file.to_path_buf(),
        source,
        hint: "give the COCO instances JSON",
    })?;
    parse(&bytes, file, image_dir)
}

/// Reads the bytes of a file; `path` is for messages.
pub(super) fn parse(bytes: &[u8], path: &Path, image_dir: &Path) -> Result<Dataset, DatasetError> {
    let format = |what: String| DatasetError::Format { path: path.to_path_buf(), what };
    let file: File = serde_json::from_slice(bytes).map_err(|e| format(format!("not a COCO instances file: {e}")))?;

    let mut categories = BTreeMap::new();
    for c in file.categories {
        if categories.insert(c.id, c.name).is_some() {
            return Err(format(format!("category {} is listed twice", c.id)));
        }
    }
    let class_of: HashMap<u64, usize> = categories.keys().enumerate().map(|(i, &id)| (id, i + 1)).collect();

    let mut images = BTreeMap::new();
    for i in file.images {
        let size = i.width.zip(i.height).filter(|&(w, h)| w > 0 && h > 0);
        let record =
            ImageRecord { id: i.id.to_string(), path: image_dir.join(&i.file_name), size, objects: Vec::new() };
        if images.insert(i.id, record).is_some() {
            return Err(format(format!("image {} is listed twice", i.id)));
        }
    }
    if images.is_empty() || categories.is_empty() {
        return Err(format("no image or no category in it".into()));
    }

    for a in &file.annotations {
        let wrong = |what: String| DatasetError::Object {
            path: path.to_path_buf(),
            object: format!("annotation {} (image {})", a.id, a.image_id),
            what,
        };
        let image = images.get_mut(&a.image_id).ok_or_else(|| wrong("the image is not listed".into()))?;
        let &class_id =
            class_of.get(&a.category_id).ok_or_else(|| wrong(format!("category {} is not listed", a.category_id)))?;
        let object = ground_truth(a, class_id, image.size).map_err(wrong)?;
        image.objects.push(object);
    }
    let (category_ids, classes) = categories.into_iter().unzip();
    Ok(Dataset { kind: DatasetKind::Coco, classes, category_ids, images: images.into_values().collect() })
}

fn ground_truth(a: &Annotation, class_id: usize, size: Option<(u32, u32)>) -> Result<GroundTruth, String> {
    let [x, y, w, h] = a.bbox;
    if a.bbox.iter().any(|v| v.abs() >= 1e9) || w < 0.0 || h < 0.0 {
        return Err(format!("the box [{x}, {y}, {w}, {h}] is not x, y, width, height in pixels"));
    }
    let (last_x, last_y) = size.map_or((f64::MAX, f64::MAX), |(w, h)| (f64::from(w) - 1.0, f64::from(h) - 1.0));
    // The corners may cross when the box lies outside; such objects count in the metric but are never trained on.
    let (x1, y1) = (x.max(0.0), y.max(0.0));
    let (x2, y2) = ((x1 + (w - 1.0).max(0.0)).min(last_x), (y1 + (h - 1.0).max(0.0)).min(last_y));
    Ok(GroundTruth {
        class_id,
        bbox: BBox::new(x1 as f32, y1 as f32, x2 as f32, y2 as f32),
        rect: [x, y, x + w, y + h],
        difficult: false,
        crowd: a.iscrowd != 0,
        area: a.area.unwrap_or(w * h),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = r#"{"info":{},"images":[{"id":7,"file_name":"b.jpg","width":20,"height":10},
        {"id":3,"file_name":"a.jpg","width":20,"height":10}],
        "categories":[{"id":18,"name":"dog"},{"id":2,"name":"bicycle"}],
        "annotations":[{"id":1,"image_id":7,"category_id":18,"bbox":[1.5,2,30,4],"area":9.5,"iscrowd":0},
        {"id":2,"image_id":7,"category_id":2,"bbox":[0,0,0.5,4],"iscrowd":1,"segmentation":{"counts":[1]}}]}"#;

    fn parsed(text: &str) -> Result<Dataset, DatasetError> {
        parse(text.as_bytes(), Path::new("i.json"), Path::new("dir"))
    }

    #[test]
    fn classes_and_pictures_come_by_rising_number() {
        let set = parsed(GOOD).unwrap();
        assert_eq!(set.classes, ["bicycle", "dog"]);
        assert_eq!(set.category_ids, [2, 18]);
        assert_eq!(set.images.iter().map(|i| i.id.as_str()).collect::<Vec<_>>(), ["3", "7"]);
        assert_eq!(set.images[1].path, Path::new("dir/b.jpg"));
    }

    #[test]
    fn boxes_become_inclusive_corners_inside_the_picture() {
        let set = parsed(GOOD).unwrap();
        let [dog, bicycle] = set.images[1].objects.as_slice() else { panic!() };
        assert_eq!(dog.bbox, BBox::new(1.5, 2.0, 19.0, 5.0));
        assert_eq!((dog.class_id, dog.area, dog.rect), (2, 9.5, [1.5, 2.0, 31.5, 6.0]));
        assert_eq!(bicycle.bbox, BBox::new(0.0, 0.0, 0.0, 3.0));
        assert!(bicycle.crowd && bicycle.area == 2.0);
    }

    #[test]
    fn a_bad_annotation_is_named_with_its_file() {
        for (from, to, word) in [
            ("[1.5,2,30,4]", "[1.5,2,-30,4]", "annotation 1 (image 7)"),
            ("[1.5,2,30,4]", "[1.5,2,1e12,4]", "annotation 1"),
            ("[1.5,2,30,4]", "[1.5,2,1e999,4]", "out of range"),
            ("[1.5,2,30,4]", "[1.5,2]", "i.json"),
            ("\"image_id\":7,\"category_id\":18", "\"image_id\":8,\"category_id\":18", "not listed"),
            ("\"category_id\":18", "\"category_id\":19", "category 19"),
            ("\"id\":3,", "\"id\":7,", "image 7 is listed twice"),
            ("{\"info\"", "[{\"info\"", "i.json"),
        ] {
            let e = parsed(&GOOD.replace(from, to)).unwrap_err().to_string();
            assert!(e.starts_with("i.json: ") && e.contains(word), "{e}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_damaged_file_is_read_or_refused_but_never_panics(
            places in proptest::collection::vec((0..GOOD.len(), proptest::prelude::any::<u8>()), 1..6),
            length in 0..=GOOD.len(),
        ) {
            let mut bytes = GOOD.as_bytes().to_vec();
            for (at, byte) in places {
                bytes[at] = byte;
            }
            bytes.truncate(length.max(GOOD.len() / 2));
            let _ = parse(&bytes, Path::new("i.json"), Path::new("dir"));
        }
    }
}
