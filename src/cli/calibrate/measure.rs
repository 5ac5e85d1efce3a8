//! How good and how fast the real model and the candidates are, on the same pictures, in turns.

use std::fmt;

use edge_rcnn::detector::{Detector, DetectorOptions, Precision};
use edge_rcnn::eval::Scored;
use edge_rcnn::model::Bundle;

use super::Candidate;
use crate::cli::ahead::ahead;
use crate::cli::eval::MIN_SCORE;
use crate::cli::eval::detect::decode;
use crate::cli::progress::Progress;
use crate::cli::scoring::{Scoring, median};
use crate::cli::{Failure, count, model};

/// One model's figures.
struct Figures {
    name: String,
    map: f64,
    trunk_ms: f64,
    head_ms: f64,
    frame_ms: f64,
}

/// The real model's figures, then those of the candidates.
pub struct Measured {
    figures: Vec<Figures>,
    pictures: usize,
}

/// What the line of JSON says about it.
#[derive(serde::Serialize)]
pub struct Line {
    scored_images: usize,
    #[serde(rename = "mAP_before")]
    map_before: f64,
    #[serde(rename = "mAP_after")]
    map_after: f64,
    frame_ms_before: f64,
    frame_ms_after: f64,
    candidates: Vec<Row>,
}

#[derive(serde::Serialize)]
struct Row {
    method: String,
    #[serde(rename = "mAP")]
    map: f64,
    frame_ms: f64,
}

/// Looks at every picture with every model.
pub fn measure(
    real: &Bundle,
    candidates: &[Candidate],
    scoring: &Scoring,
    threads: usize,
) -> Result<Measured, Failure> {
    // In integers, whatever is faster here: that is what is judged.
    let options = |precision| DetectorOptions {
        min_score: Some(MIN_SCORE),
        threads: Some(threads),
        precision,
        ..DetectorOptions::default()
    };
    let open =
        |bundle: &Bundle, precision| Detector::new(bundle.clone(), options(precision)).map_err(model::detector_failure);
    let mut detectors = vec![("as it is".to_string(), open(real, Precision::F32)?)];
    for candidate in candidates {
        detectors.push((format!("int8 {}", candidate.how()), open(&candidate.bundle, Precision::Int8)?));
    }
    if let Some((_, last)) = detectors.last() {
        log::info!("8-bit models run on {} kernels", last.kernels());
    }
    let mut found: Vec<Vec<Vec<Scored>>> = vec![Vec::new(); detectors.len()];
    let mut times = vec![[const { Vec::new() }; 3]; detectors.len()];
    let mut progress = Progress::new("measuring", scoring.set.images.len());
    ahead(scoring.set.images.iter(), decode, |(image, picture)| {
        let picture = picture.map_err(Failure::runtime)?;
        for (((_, detector), found), times) in detectors.iter_mut().zip(&mut found).zip(&mut times) {
            let failed = |e| Failure::runtime(format!("{}: {e}", image.path.display()));
            detector.warm_up(picture.width, picture.height).map_err(failed)?;
            let seen = detector.detect(&picture).map_err(failed)?;
            found.push(scoring.scored(&seen.detections));
            let named = seen.timings.named();
            let of = |stage: &str| named.iter().find(|(name, _)| *name == stage).map_or(0.0, |(_, ms)| *ms);
            let frame = named.iter().map(|(_, ms)| ms).sum::<f64>();
            times.iter_mut().zip([of("trunk"), of("head"), frame]).for_each(|(all, ms)| all.push(ms));
        }
        progress.step();
        Ok(())
    })?;
    let figures = detectors.into_iter().zip(&found).zip(&mut times).map(|(((name, _), found), times)| {
        let map = scoring.map(found);
        let [trunk_ms, head_ms, frame_ms] = times.each_mut().map(|all| median(all));
        Figures { name, map, trunk_ms, head_ms, frame_ms }
    });
    Ok(Measured { figures: figures.collect(), pictures: scoring.set.images.len() })
}

impl Measured {
    /// The candidate with the highest mAP, the first of equals.
    pub fn best(&self) -> usize {
        let candidates = self.figures[1..].iter().enumerate();
        candidates.rev().max_by(|a, b| a.1.map.total_cmp(&b.1.map)).map_or(0, |(i, _)| i)
    }

    /// Points of mAP, of 100, that a candidate loses; negative if it gains.
    pub fn drop_points(&self, candidate: usize) -> f64 {
        (self.figures[0].map - self.figures[candidate + 1].map) * 100.0
    }

    /// What the line of JSON says.
    pub fn line(&self, best: usize) -> Line {
        let (before, after) = (&self.figures[0], &self.figures[best + 1]);
        let row = |f: &Figures| Row { method: f.name.replacen("int8 ", "", 1), map: f.map, frame_ms: f.frame_ms };
        Line {
            scored_images: self.pictures,
            map_before: before.map,
            map_after: after.map,
            frame_ms_before: before.frame_ms,
            frame_ms_after: after.frame_ms,
            candidates: self.figures[1..].iter().map(row).collect(),
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<42}{:>8}{:>8}{:>11}{:>11}{:>11}   {}, medians",
            "model",
            "mAP",
            "drop",
            "trunk ms",
            "head ms",
            "frame ms",
            count(self.pictures, "picture")
        )?;
        for (i, row) in self.figures.iter().enumerate() {
            let drop = if i == 0 { String::new() } else { format!("{:.2}", self.drop_points(i - 1)) };
            let Figures { name, map, trunk_ms, head_ms, frame_ms } = row;
            let map = map * 100.0;
            writeln!(f, "{name:<42}{map:>8.2}{drop:>8}{trunk_ms:>11.1}{head_ms:>11.1}{frame_ms:>11.1}")?;
        }
        Ok(())
    }
}
