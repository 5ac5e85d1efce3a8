//! The readers on the real VOC 2007 annotations, where they are at hand beside the project.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};

use edge_rcnn::boxes::Rect;
use edge_rcnn::eval::{Dataset, Metric, RecallCounter, Scored, VOC_CLASSES, evaluate};

/// The VOC folder outside the project, or a line that says what is skipped.
fn voc_folder() -> Option<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/voc2007");
    if !dir.is_dir() {
        println!("skipped: {} is missing", dir.display());
        return None;
    }
    Some(dir)
}

#[test]
fn every_annotation_of_voc_2007_trainval_is_read_with_its_picture() {
    let Some(dir) = voc_folder() else { return };
    let set = Dataset::voc(&dir, "trainval").unwrap();
    assert_eq!(set.classes, VOC_CLASSES);
    assert_eq!(set.images.len(), 5008);
    let objects: Vec<_> = set.images.iter().flat_map(|i| &i.objects).collect();
    // Official counts of VOC 2007 trainval are 15 662 objects, 12 608 of them not difficult, over 5 011 pictures.
    assert!((15_600..=15_662).contains(&objects.len()), "{}", objects.len());
    assert!((12_570..=12_608).contains(&objects.iter().filter(|o| !o.difficult).count()));
    assert!(objects.iter().filter(|o| !o.difficult).all(|o| o.trainable()));
    for (image, object) in set.images.iter().flat_map(|i| i.objects.iter().map(move |o| (i, o))) {
        let (w, h) = image.size.unwrap();
        assert_eq!(object.bbox.clip(w as f32, h as f32), object.bbox);
    }
}

#[test]
fn finding_exactly_the_marked_objects_scores_one() {
    let Some(dir) = voc_folder() else { return };
    let set = Dataset::voc(&dir, "val").unwrap();
    let mut recall = RecallCounter::default();
    let mut detections = Vec::new();
    for image in &set.images {
        let rects: Vec<Rect> = image.objects.iter().map(|o| o.bbox.into()).collect();
        recall.add(&image.objects, &rects);
        detections.push(image.objects.iter().zip(rects).map(|(o, r)| Scored::new(o.class_id, 0.5, r)).collect());
    }
    for metric in [Metric::Voc07, Metric::Voc, Metric::Coco] {
        let report = evaluate(&set, &detections, metric);
        // A few objects of VOC are marked twice over; then one of the two boxes fits both.
        assert!(report.map > 0.999, "{metric:?} {report}");
        assert!(report.classes.iter().all(|c| c.ap.is_some() && c.objects > 0));
    }
    assert!(recall.report().rows.iter().all(|r| r.at_50 == 1.0 && r.at_70 == 1.0));
}

#[test]
fn a_split_that_does_not_exist_is_an_error_that_names_its_file() {
    let Some(dir) = voc_folder() else { return };
    let e = Dataset::voc(&dir, "nonesuch").unwrap_err().to_string();
    assert!(e.contains("nonesuch.txt") && e.contains("split"), "{e}");
}
