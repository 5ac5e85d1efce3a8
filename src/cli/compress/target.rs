//! Ranks chosen by measurement: the cheapest that lose at most so much accuracy.
//!
//! First fc6 and fc7 at the same share of their ranks, then what lies around the cheapest such pair that loses little enough:
//! one layer cut further, the other less. Heads differ, everything before them is the same: each picture goes through the trunk
//! once, and its pooled RoIs through all heads in turns. If the layers are pairs already, the whole layers are measured too, for
//! the time: what they compute is the same.

use std::io::{self, Write};

use edge_rcnn::detector::{Detector, DetectorOptions};
use edge_rcnn::eval::Scored;
use edge_rcnn::head::Head;
use edge_rcnn::kernels::Kernels;
use edge_rcnn::model::{Bundle, CompressError, Factors, StorageType, Weights, join_pairs};

use crate::cli::ahead::ahead;
use crate::cli::eval::MIN_SCORE;
use crate::cli::eval::detect::decode;
use crate::cli::progress::Progress;
use crate::cli::scoring::{Scoring, median};
use crate::cli::{Failure, count, model};

/// Pairs of ranks around the first choice that are measured.
const AROUND: usize = 4;

/// What to look for.
pub struct Search {
    /// Points of mAP, of 100, that may be lost.
    pub points: f64,
    /// Of the SVD.
    pub seed: u64,
    /// To measure with.
    pub threads: Option<usize>,
    /// Whether all that was measured is also said as a line of JSON.
    pub json: bool,
}

/// What fc6 and fc7 are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Choice {
    /// As the model has them.
    Now,
    /// Without any factors, of a model that has them.
    Whole,
    /// Pairs of these ranks.
    Ranks([usize; 2]),
}

/// A choice and what was measured.
struct Row {
    choice: Choice,
    /// Multiply-adds of both layers for one RoI.
    cost: usize,
    map: f64,
    ms: f64,
}

/// A row as JSON.
#[derive(serde::Serialize)]
struct Line {
    ranks: Option<[usize; 2]>,
    /// Said of layers without factors.
    whole: bool,
    mega_multiply_adds: f64,
    head_ms: f64,
    #[serde(rename = "mAP")]
    map: f64,
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
        let ladders = [factors[0].ladder(), factors[1].ladder()];
        let mut whole = weights.clone();
        let paired = join_pairs(&mut whole);
        let heads = Heads { now: &weights, whole: &whole, factors: &factors };

        let even = ladders[0].iter().zip(&ladders[1]).map(|(six, seven)| Choice::Ranks([*six, *seven]));
        let first: Vec<Choice> =
            std::iter::once(Choice::Now).chain(paired.then_some(Choice::Whole)).chain(even).collect();
        let mut rows = self.measure(bundle, &heads, &first, scoring)?;
        let second = self.around(&heads, &ladders, &rows);
        if !second.is_empty() {
            rows.extend(self.measure(bundle, &heads, &second, scoring)?);
        }
        rows[1..].sort_by_key(|row| std::cmp::Reverse(row.cost));
        self.print(&rows, scoring.set.images.len()).map_err(Failure::output)?;

        let ranks = |row: &Row| if let Choice::Ranks(ranks) = row.choice { Some(ranks) } else { None };
        let within = rows.iter().filter(|row| lost(&rows, row) <= self.points).filter(|row| ranks(row).is_some());
        let best = within.min_by_key(|row| row.cost).ok_or_else(|| {
            Failure::runtime(format!("no rank loses as little as --target-drop {}; nothing was written", self.points))
        })?;
        let notes: Vec<String> = factors
            .iter()
            .zip(ranks(best).into_iter().flatten())
            .map(|(f, r)| format!("{} rank {r}", f.layer()))
            .collect();
        let mut made = bundle.with_head(&heads.weights(best.choice), storage).map_err(model::bundle_failure)?;
        made.manifest.provenance = format!(
            "{}; truncated SVD: {}, {:.2} points of mAP lost on {}",
            bundle.manifest.provenance,
            notes.join(", "),
            lost(&rows, best),
            count(scoring.set.images.len(), "picture")
        );
        Ok(made)
    }

    /// Pairs of ranks that are cheaper than the cheapest even one that loses little enough: one layer a step or two lower, the
    /// other as it is or a step higher.
    fn around(&self, heads: &Heads, ladders: &[Vec<usize>; 2], rows: &[Row]) -> Vec<Choice> {
        let within = rows.iter().filter(|row| lost(rows, row) <= self.points);
        let ranks =
            within.filter_map(|row| if let Choice::Ranks(ranks) = row.choice { Some((row, ranks)) } else { None });
        let Some((even, [six, _])) = ranks.min_by_key(|(row, _)| row.cost) else { return Vec::new() };
        let Some(step) = ladders[0].iter().position(|rank| *rank == six) else { return Vec::new() };
        let at = |ladder: &[usize], by: isize| ladder.get(step.checked_add_signed(by)?).copied();
        let steps = [(1, 0), (0, 1), (1, -1), (2, 0), (0, 2), (-1, 1), (2, -1)];
        let pairs = steps.into_iter().filter_map(|(a, b)| Some([at(&ladders[0], a)?, at(&ladders[1], b)?]));
        let mut pairs: Vec<Choice> = pairs.map(Choice::Ranks).filter(|c| heads.cost(*c) < even.cost).collect();
        pairs.truncate(AROUND);
        pairs
    }

    /// Looks at every picture with the heads of all choices.
    fn measure(&self, bundle: &Bundle, of: &Heads, choices: &[Choice], scoring: &Scoring) -> Result<Vec<Row>, Failure> {
        let options =
            DetectorOptions { min_score: Some(MIN_SCORE), threads: self.threads, ..DetectorOptions::default() };
        let mut detector = Detector::new(bundle.clone(), options).map_err(model::detector_failure)?;
        let head = |choice: &Choice| Head::with_kernels(of.weights(*choice), Kernels::best(), detector.pool_size());
        let heads = choices.iter().map(|choice| head(choice).map_err(Failure::config));
        let mut heads = heads.collect::<Result<Vec<_>, _>>()?;
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
            cost: of.cost(*choice),
            map: scoring.map(found),
            ms: median(times),
        };
        Ok(measured.map(row).collect())
    }

    fn print(&self, rows: &[Row], pictures: usize) -> io::Result<()> {
        let mut out = io::stdout().lock();
        let said = count(pictures, "picture");
        writeln!(
            out,
            "{:>6}{:>6}{:>16}{:>10}{:>8}{:>8}   {said}, medians",
            "fc6", "fc7", "M mul-add/RoI", "head ms", "mAP", "drop"
        )?;
        for row in rows {
            let [six, seven] = match row.choice {
                Choice::Now => ["now".into(), "now".into()],
                Choice::Whole => ["whole".into(), "whole".into()],
                Choice::Ranks(ranks) => ranks.map(|rank| rank.to_string()),
            };
            let (cost, ms, map) = (row.cost as f64 / 1e6, row.ms, row.map * 100.0);
            writeln!(out, "{six:>6}{seven:>6}{cost:>16.2}{ms:>10.1}{map:>8.2}{:>8.2}", lost(rows, row))?;
        }
        if self.json {
            let line = |row: &Row| Line {
                ranks: if let Choice::Ranks(ranks) = row.choice { Some(ranks) } else { None },
                whole: row.choice == Choice::Whole,
                mega_multiply_adds: row.cost as f64 / 1e6,
                head_ms: row.ms,
                map: row.map,
            };
            let rows: Vec<Line> = rows.iter().map(line).collect();
            writeln!(out, "{}", serde_json::json!({ "pictures": pictures, "rows": rows }))?;
        }
        out.flush()
    }
}

/// Points of mAP that a row loses against the first one.
fn lost(rows: &[Row], row: &Row) -> f64 {
    (rows[0].map - row.map) * 100.0
}

/// What heads are made of.
struct Heads<'a> {
    now: &'a Weights,
    whole: &'a Weights,
    factors: &'a [Factors; 2],
}

impl Heads<'_> {
    fn weights(&self, choice: Choice) -> Weights {
        match choice {
            Choice::Now => self.now.clone(),
            Choice::Whole => self.whole.clone(),
            Choice::Ranks(ranks) => {
                let mut weights = self.now.clone();
                self.factors.iter().zip(ranks).for_each(|(factors, rank)| factors.put(rank, &mut weights));
                weights
            }
        }
    }

    fn cost(&self, choice: Choice) -> usize {
        let of = |(i, factors): (usize, &Factors)| match choice {
            Choice::Now => factors.cost_now(),
            Choice::Whole => factors.cost_whole(),
            Choice::Ranks(ranks) => factors.cost(ranks[i]),
        };
        self.factors.iter().enumerate().map(of).sum()
    }
}
