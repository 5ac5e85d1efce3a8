//! Ranks chosen by measurement: the cheapest that lose at most so much accuracy.
//!
//! First fc6 alone and fc7 alone at falling ranks, then the cheapest pairs of ranks whose losses should add up to no more than
//! allowed. Heads differ, everything before them is the same: each picture goes through the trunk once, and its pooled RoIs
//! through all heads in turns.

use std::io::{self, Write};

use edge_rcnn::detector::{Detector, DetectorOptions};
use edge_rcnn::eval::Scored;
use edge_rcnn::head::Head;
use edge_rcnn::kernels::Kernels;
use edge_rcnn::model::{Bundle, CompressError, Factors, StorageType, Weights};

use crate::cli::ahead::ahead;
use crate::cli::eval::MIN_SCORE;
use crate::cli::eval::detect::decode;
use crate::cli::progress::Progress;
use crate::cli::scoring::{Scoring, median};
use crate::cli::{Failure, count, model};

/// Pairs of ranks that are measured together.
const PAIRS: usize = 6;

/// What to look for.
pub struct Search {
    /// Points of mAP, of 100, that may be lost.
    pub points: f64,
    /// Of the SVD.
    pub seed: u64,
    /// To measure with.
    pub threads: Option<usize>,
}

/// A choice of ranks for fc6 and fc7; `None` leaves a layer as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Choice([Option<usize>; 2]);

/// A choice and what was measured.
struct Row {
    choice: Choice,
    cost: usize,
    map: f64,
    ms: f64,
}

impl Search {
    /// The best model found, after printing all that was measured.
    pub fn run(&self, bundle: &Bundle, scoring: &Scoring, storage: StorageType) -> Result<Bundle, Failure> {
        if !(0.0..=100.0).contains(&self.points) {
            return Err(Failure::usage(format!("--target-drop {}: must be 0 to 100 points", self.points)));
        }
        if bundle.manifest.quantization.is_some() {
            return Err(Failure::usage(CompressError::Quantized));
        }
        let weights = bundle.head_weights().map_err(model::bundle_failure)?;
        log::info!("taking fc6 and fc7 apart; this takes a minute or more");
        let factors = ["fc6", "fc7"].map(|layer| Factors::of(&weights, layer, self.seed).map_err(Failure::usage));
        let [six, seven] = factors;
        let factors = [six?, seven?];
        let singles = (0..2).flat_map(|i| {
            let alone = move |rank| Choice(if i == 0 { [Some(rank), None] } else { [None, Some(rank)] });
            factors[i].ladder().into_iter().map(alone)
        });
        let first: Vec<Choice> = std::iter::once(Choice([None, None])).chain(singles).collect();
        let mut rows = self.measure(bundle, &weights, &factors, &first, scoring)?;
        let second = self.promising(&factors, &rows);
        if !second.is_empty() {
            rows.extend(self.measure(bundle, &weights, &factors, &second, scoring)?);
        }
        print(&rows, scoring.set.images.len()).map_err(Failure::output)?;

        let before = rows[0].map;
        let lost = |row: &&Row| (before - row.map) * 100.0;
        let within = rows[1..].iter().filter(|row| lost(row) <= self.points);
        let best = within.min_by_key(|row| row.cost).ok_or_else(|| {
            Failure::runtime(format!("no rank loses as little as --target-drop {}; nothing was written", self.points))
        })?;
        let mut chosen = weights;
        let mut notes = Vec::new();
        for (factors, rank) in factors.iter().zip(best.choice.0) {
            let Some(rank) = rank else { continue };
            factors.put(rank, &mut chosen);
            notes.push(format!("{} rank {rank}", factors.layer()));
        }
        let mut made = bundle.with_head(&chosen, storage).map_err(model::bundle_failure)?;
        made.manifest.provenance = format!(
            "{}; truncated SVD: {}, {:.2} points of mAP lost on {}",
            bundle.manifest.provenance,
            notes.join(", "),
            lost(&best),
            count(scoring.set.images.len(), "picture")
        );
        Ok(made)
    }

    /// The cheapest pairs of ranks, if what each loses alone adds up.
    fn promising(&self, factors: &[Factors; 2], rows: &[Row]) -> Vec<Choice> {
        let lost = |row: &Row| (rows[0].map - row.map) * 100.0;
        let mut pairs = Vec::new();
        for a in rows {
            for b in rows {
                if let (Choice([Some(six), None]), Choice([None, Some(seven)])) = (a.choice, b.choice)
                    && lost(a) + lost(b) <= self.points
                {
                    pairs.push(Choice([Some(six), Some(seven)]));
                }
            }
        }
        pairs.sort_by_key(|choice| cost(factors, *choice));
        pairs.truncate(PAIRS);
        pairs
    }

    /// Looks at every picture with the heads of all choices.
    fn measure(
        &self,
        bundle: &Bundle,
        weights: &Weights,
        factors: &[Factors; 2],
        choices: &[Choice],
        scoring: &Scoring,
    ) -> Result<Vec<Row>, Failure> {
        let options =
            DetectorOptions { min_score: Some(MIN_SCORE), threads: self.threads, ..DetectorOptions::default() };
        let mut detector = Detector::new(bundle.clone(), options).map_err(model::detector_failure)?;
        let mut heads = Vec::new();
        for choice in choices {
            let mut weights = weights.clone();
            for (factors, rank) in factors.iter().zip(choice.0) {
                if let Some(rank) = rank {
                    factors.put(rank, &mut weights);
                }
            }
            heads.push(Head::with_kernels(weights, Kernels::best(), detector.pool_size()).map_err(Failure::config)?);
        }
        let mut found: Vec<Vec<Vec<Scored>>> = vec![Vec::new(); heads.len()];
        let mut times: Vec<Vec<f64>> = vec![Vec::new(); heads.len()];
        let mut progress = Progress::new(format!("measuring {}", count(heads.len(), "head")), scoring.set.images.len());
        ahead(scoring.set.images.iter(), decode, |(image, picture)| {
            let failed = |e| Failure::runtime(format!("{}: {e}", image.path.display()));
            let picture = picture.map_err(Failure::runtime)?;
            detector.detect(&picture).map_err(failed)?;
            for ((head, found), times) in heads.iter_mut().zip(&mut found).zip(&mut times) {
                let (detections, ms) = detector.again_with(head, &picture).map_err(failed)?;
                found.push(scoring.scored(&detections));
                times.push(ms);
            }
            progress.step();
            Ok(())
        })?;
        let measured = choices.iter().zip(&found).zip(&mut times);
        let row = |((choice, found), times): ((&Choice, &Vec<Vec<Scored>>), &mut Vec<f64>)| Row {
            choice: *choice,
            cost: cost(factors, *choice),
            map: scoring.map(found),
            ms: median(times),
        };
        Ok(measured.map(row).collect())
    }
}

fn cost(factors: &[Factors; 2], Choice(ranks): Choice) -> usize {
    factors.iter().zip(ranks).map(|(f, rank)| rank.map_or(f.cost_now(), |rank| f.cost(rank))).sum()
}

fn print(rows: &[Row], pictures: usize) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let pictures = count(pictures, "picture");
    writeln!(
        out,
        "{:>6}{:>6}{:>16}{:>10}{:>8}{:>8}   {pictures}, medians",
        "fc6", "fc7", "M mul-add/RoI", "head ms", "mAP", "drop"
    )?;
    for row in rows {
        let [six, seven] = row.choice.0.map(|rank| rank.map_or("-".into(), |rank| rank.to_string()));
        let drop = (rows[0].map - row.map) * 100.0;
        let (cost, ms, map) = (row.cost as f64 / 1e6, row.ms, row.map * 100.0);
        writeln!(out, "{six:>6}{seven:>6}{cost:>16.2}{ms:>10.1}{map:>8.2}{drop:>8.2}")?;
    }
    out.flush()
}
