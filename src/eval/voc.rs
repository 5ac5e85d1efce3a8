//! Reader for the folder layout of the Pascal VOC devkit.
//!
//! `ImageSets/Main/<split>.txt` lists the ids, `Annotations/<id>.xml` has the objects, `JPEGImages/<id>.*` is the
//! picture. Corners in the XML are 1-based and inclusive; one is subtracted on the way in, here and nowhere else.
//! Body parts (`<part>`, in the person layout subset) are not objects and are passed over.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::dataset::{class_index, clip_to_picture, names_in};
use super::{Dataset, DatasetError, DatasetKind, GroundTruth, ImageRecord};
use crate::boxes::BBox;

/// The classes of VOC 2007 to 2012 in their usual, alphabetical order; class id 1 is the first.
pub const VOC_CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// Picture files we can decode, in the order they are looked for.
const EXTENSIONS: [&str; 4] = ["jpg", "jpeg", "png", "webp"];

/// Coordinate of the first pixel in VOC files.
pub(super) const FIRST_PIXEL: f64 = 1.0;

/// Reads the annotations of one split.
pub(super) fn read(dir: &Path, split: &str) -> Result<Dataset, DatasetError> {
    let classes = read_classes(dir)?;
    let list = dir.join("ImageSets").join("Main").join(format!("{split}.txt"));
    let text = read_text(&list, "is this a VOC folder, and does it have this split?")?;
    let index = class_index(&classes);
    let mut images = Vec::new();
    // Lists of one class have a second column (1, 0, -1); the id is the first word in either form.
    for id in text.lines().filter_map(|l| l.split_whitespace().next()) {
        let file = dir.join("Annotations").join(format!("{id}.xml"));
        let xml = read_text(&file, "every id of the split list needs an annotation")?;
        let (size, objects) = parse(&xml, &file, &|name| index.get(name).copied())?;
        images.push(ImageRecord { id: id.to_owned(), path: picture_path(dir, id), size, objects });
    }
    if images.is_empty() {
        return Err(DatasetError::Format { path: list, what: "the list has no picture".into() });
    }
    let category_ids = (1..=classes.len() as u64).collect();
    Ok(Dataset { kind: DatasetKind::Voc, classes, category_ids, images })
}

/// The classes of `classes.txt` if the folder has one, else those of VOC.
fn read_classes(dir: &Path) -> Result<Vec<String>, DatasetError> {
    let path = dir.join("classes.txt");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        // Where the folder itself is wrong, the split list is what to complain of.
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            return Ok(VOC_CLASSES.map(String::from).to_vec());
        }
        Err(source) => return Err(DatasetError::Io { path, source, hint: "it should be text, one class a line" }),
    };
    let names: Vec<String> = names_in(&text);
    if names.is_empty() {
        return Err(DatasetError::Format { path, what: "no class in it; write one name a line".into() });
    }
    if let Some(twice) = names.iter().enumerate().find_map(|(i, n)| names[..i].contains(n).then_some(n)) {
        return Err(DatasetError::Format { path, what: format!("class `{twice}` is listed twice") });
    }
    Ok(names)
}

fn picture_path(dir: &Path, id: &str) -> PathBuf {
    let folder = dir.join("JPEGImages");
    let candidates = EXTENSIONS.map(|e| folder.join(format!("{id}.{e}")));
    let found = candidates.iter().find(|p| p.is_file());
    found.unwrap_or(&candidates[0]).clone()
}

fn read_text(path: &Path, hint: &'static str) -> Result<String, DatasetError> {
    fs::read_to_string(path).map_err(|source| DatasetError::Io { path: path.to_path_buf(), source, hint })
}

type Annotation = (Option<(u32, u32)>, Vec<GroundTruth>);

/// The objects of one annotation file, with VOC's classes.
pub(super) fn objects(xml: &str, path: &Path) -> Result<Vec<GroundTruth>, DatasetError> {
    let class_of = |name: &str| VOC_CLASSES.iter().position(|c| *c == name).map(|i| i + 1);
    Ok(parse(xml, path, &class_of)?.1)
}

/// One annotation file. `class_of` gives the class id of a name.
fn parse(xml: &str, path: &Path, class_of: &dyn Fn(&str) -> Option<usize>) -> Result<Annotation, DatasetError> {
    let format = |what: String| DatasetError::Format { path: path.to_path_buf(), what };
    let doc = roxmltree::Document::parse(xml).map_err(|e| format(format!("not an XML file we can read: {e}")))?;
    let root = doc.root_element();
    if root.tag_name().name() != "annotation" {
        return Err(format(format!("the root is <{}>, not <annotation>", root.tag_name().name())));
    }
    let size = child(root, "size").and_then(|s| {
        let side = |name| text(s, name).and_then(|t| t.parse::<u32>().ok()).filter(|&v| v > 0);
        Some((side("width")?, side("height")?))
    });
    let mut objects = Vec::new();
    for (i, node) in root.children().filter(|n| n.has_tag_name("object")).enumerate() {
        let name = text(node, "name").unwrap_or("");
        let object = |what: String| DatasetError::Object {
            path: path.to_path_buf(),
            object: format!("object {} (`{name}`)", i + 1),
            what,
        };
        let class_id = class_of(name).ok_or_else(|| {
            object("not one of the classes; for classes other than VOC's put a `classes.txt` into the folder".into())
        })?;
        let bbox = bounding_box(node).map_err(object)?;
        let clipped = clip_to_picture(bbox, size)
            .ok_or_else(|| object(format!("the box {} is empty or outside the picture", in_file(&bbox))))?;
        let difficult = text(node, "difficult").is_some_and(|t| t != "0");
        objects.push(GroundTruth::from_bbox(class_id, clipped, difficult));
    }
    Ok((size, objects))
}

fn bounding_box(object: roxmltree::Node) -> Result<BBox, String> {
    let node = child(object, "bndbox").ok_or("no <bndbox>")?;
    let corner = |name: &str| {
        let t = text(node, name).ok_or_else(|| format!("no <{name}> in its <bndbox>"))?;
        let v = t.parse::<f64>().ok().filter(|v| v.abs() < 1e9);
        v.map(|v| (v - FIRST_PIXEL) as f32).ok_or_else(|| format!("<{name}> is `{t}`, not a pixel position"))
    };
    Ok(BBox::new(corner("xmin")?, corner("ymin")?, corner("xmax")?, corner("ymax")?))
}

/// The corners as the file has them, for messages.
fn in_file(b: &BBox) -> String {
    let [x1, y1, x2, y2] = [b.x1, b.y1, b.x2, b.y2].map(|v| f64::from(v) + FIRST_PIXEL);
    format!("({x1}, {y1}, {x2}, {y2})")
}

fn child<'a, 'i>(node: roxmltree::Node<'a, 'i>, name: &str) -> Option<roxmltree::Node<'a, 'i>> {
    node.children().find(|n| n.has_tag_name(name))
}

fn text<'a>(node: roxmltree::Node<'a, '_>, name: &str) -> Option<&'a str> {
    child(node, name).and_then(|n| n.text()).map(str::trim)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const GOOD: &str = "<annotation><size><width>50</width><height>40</height></size><object><name>dog</name>\
                        <bndbox><xmin>1</xmin><ymin>2.5</ymin><xmax>50</xmax><ymax>40</ymax></bndbox></object>\
                        </annotation>";

    fn parse_objects(inner: &str) -> Result<Annotation, DatasetError> {
        let xml = format!("<annotation><size><width>50</width><height>40</height></size>{inner}</annotation>");
        let classes = VOC_CLASSES.map(String::from);
        parse(&xml, Path::new("a.xml"), &|n| class_index(&classes).get(n).copied())
    }

    fn object(name: &str, corners: [&str; 4]) -> String {
        let [a, b, c, d] = corners;
        format!(
            "<object><name>{name}</name><difficult>1</difficult><bndbox><xmin>{a}</xmin><ymin>{b}</ymin>\
             <xmax>{c}</xmax><ymax>{d}</ymax></bndbox><part><name>head</name><bndbox/></part></object>"
        )
    }

    #[test]
    fn corners_become_zero_based_and_parts_are_passed_over() {
        let (size, objects) = parse_objects(&object("chair", ["1", "2", "50", "40.5"])).unwrap();
        assert_eq!(size, Some((50, 40)));
        assert_eq!(objects.len(), 1);
        assert_eq!((objects[0].class_id, objects[0].difficult), (9, true));
        assert_eq!(objects[0].bbox, BBox::new(0.0, 1.0, 49.0, 39.0));
    }

    #[test]
    fn a_bad_object_is_named_with_its_file() {
        for (corners, word) in [
            (["1", "2", "x", "4"], "xmax"),
            (["NaN", "2", "3", "4"], "xmin"),
            (["1", "1e300", "3", "4"], "ymin"),
            (["9", "2", "3", "4"], "empty"),
            (["60", "2", "70", "4"], "outside"),
        ] {
            let e = parse_objects(&object("dog", corners)).unwrap_err().to_string();
            assert!(e.starts_with("a.xml: object 1 (`dog`): ") && e.contains(word), "{e}");
        }
        let e = parse_objects(&object("unicorn", ["1", "1", "2", "2"])).unwrap_err().to_string();
        assert!(e.contains("unicorn") && e.contains("classes.txt"), "{e}");
    }

    #[test]
    fn hostile_files_are_errors() {
        let bomb = "<!DOCTYPE a [<!ENTITY x \"&y;&y;\"><!ENTITY y \"&x;\">]><annotation>&x;</annotation>";
        let deep = "<a>".repeat(200_000);
        for xml in ["", "<annotation>", "<other/>", "\u{0}", bomb, deep.as_str()] {
            assert!(parse(xml, Path::new("a.xml"), &|_| None).is_err());
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
            let _ = parse(&String::from_utf8_lossy(&bytes), Path::new("a.xml"), &|n| VOC_CLASSES.iter().position(|c| *c == n).map(|i| i + 1));
        }
    }
}
