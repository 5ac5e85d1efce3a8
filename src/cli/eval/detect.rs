//! The long part of `eval`: the detector over every picture of a data set.
//!
//! A second thread reads and decodes ahead. The first picture that cannot be looked at ends the run: a score over the
//! rest would be one of another data set.

use edge_rcnn::detector::{Detection, Detector, StageTimes};
use edge_rcnn::eval::{Dataset, ImageRecord, RECALL_COUNTS, RecallCounter, RecallReport, Scored};
use edge_rcnn::frame::{Picture, PictureError};

use crate::cli::ahead::ahead;
use crate::cli::detector_args::DetectorArgs;
use crate::cli::progress::Progress;
use crate::cli::{Failure, model};

/// What the detector said about a data set.
#[derive(Debug, Default)]
pub struct Run {
    /// Per picture, with the class ids of the data set.
    pub detections: Vec<Vec<Scored>>,
    /// Of the proposals, if asked for.
    pub recall: Option<RecallReport>,
    /// Mean milliseconds of each stage.
    pub stage_ms: Vec<(&'static str, f64)>,
}

/// Looks at every picture.
pub fn detect_all(set: &Dataset, args: &DetectorArgs, min_score: f32, recall: bool) -> Result<Run, Failure> {
    let bundle = model::open(args.model.as_deref())?;
    let head_looks_at = args.proposals.unwrap_or(bundle.manifest.proposals.post_nms);
    let class_of = class_map(&bundle.manifest.classes, &set.classes)?;
    let mut detector = Detector::new(bundle, args.options(min_score)).map_err(model::detector_failure)?;
    let mut counter = recall.then(RecallCounter::default);
    if recall {
        // Suppression is greedy, so the head sees the same boxes however many more are kept for counting.
        detector.set_proposals(RECALL_COUNTS.into_iter().max().unwrap_or(0).max(head_looks_at));
        detector.set_rois(head_looks_at);
    }

    let mut run = Run::default();
    let mut times = Vec::with_capacity(set.images.len());
    let mut progress = Progress::new("detecting", set.images.len());
    ahead(set.images.iter(), decode, |(image, picture)| {
        let picture = picture.map_err(Failure::runtime)?;
        let failed = |e| Failure::runtime(format!("{}: {e}", image.path.display()));
        let found = detector.detect_named(&picture, Some(&image.id)).map_err(failed)?;
        let scored = |d: &Detection| {
            let class_id = *class_of.get(d.class_id)?;
            (class_id > 0).then(|| Scored::new(class_id, d.score, d.rect))
        };
        run.detections.push(found.detections.iter().filter_map(scored).collect());
        if let Some(counter) = &mut counter {
            counter.add(&image.objects, &detector.last_proposals());
        }
        times.push(found.timings);
        progress.step();
        Ok(())
    })?;
    run.recall = counter.map(|c| c.report());
    run.stage_ms = mean_times(&times);
    Ok(run)
}

/// Class ids of the data set by class id of the model; 0 for classes the data set lacks.
pub fn class_map(model: &[String], set: &[String]) -> Result<Vec<usize>, Failure> {
    let id = |name: &String| set.iter().position(|s| s == name).map_or(0, |i| i + 1);
    let map: Vec<usize> = std::iter::once(0).chain(model.iter().map(id)).collect();
    if map.iter().all(|&id| id == 0) {
        return Err(Failure::usage(format!(
            "the model and the data have no class in common; the model knows {}, the data have {}",
            model.join(", "),
            set.join(", ")
        )));
    }
    let unknown: Vec<&str> = set.iter().filter(|s| !model.contains(s)).map(String::as_str).collect();
    if !unknown.is_empty() {
        log::warn!("the model does not know these classes of the data, they score 0: {}", unknown.join(", "));
    }
    Ok(map)
}

/// Reads a picture of a data set.
pub fn decode(image: &ImageRecord) -> (&ImageRecord, Result<Picture, PictureError>) {
    (image, Picture::open(&image.path))
}

fn mean_times(all: &[StageTimes]) -> Vec<(&'static str, f64)> {
    let mut sums: Vec<_> = StageTimes::default().named().to_vec();
    for times in all {
        for (sum, (_, ms)) in sums.iter_mut().zip(times.named()) {
            sum.1 += ms / all.len() as f64;
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|s| (*s).to_owned()).collect()
    }

    #[test]
    fn classes_are_matched_by_name_and_something_must_match() {
        let map = class_map(&names(&["dog", "cat", "tree"]), &names(&["cat", "dog"])).unwrap();
        assert_eq!(map, [0, 2, 1, 0]);
        assert!(class_map(&names(&["dog"]), &names(&["cat"])).is_err());
    }
}
