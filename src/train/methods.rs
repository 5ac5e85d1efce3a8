//! The training methods of the papers, composed of [phases](super::detect).
//!
//! *Approximate joint training* is one phase. *4-step alternating training* (Faster R-CNN §3.2): (1) an RPN from the
//! pre-trained trunk; (2) a detector from the pre-trained trunk, on proposals of (1); (3) an RPN on the trunk of (2),
//! which stays fixed; (4) the detector's fc layers again, on proposals of (3), trunk and RPN fixed.

use std::path::Path;

use tch::{Tensor, no_grad};

use super::TrainError;
use super::detect::{self, Learn, Phase, Proposals};
use super::feed::{self, FeedOptions, Stage};
use super::lesson::live_proposals;
use super::net::{Mode, Net};
use crate::boxes::BBox;
use crate::eval::{Dataset, ImageRecord};
use crate::proposals::ProposalFile;

/// How a detector is trained.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// RPN and head at once.
    Joint,
    /// The four steps.
    Alternating,
    /// The RPN alone.
    Rpn,
    /// The head alone, on stored proposals (Fast R-CNN).
    FastRcnn,
}

/// What is measured along the way: called with the network, returns a record for the log.
pub type Measure<'a> = dyn FnMut(&Net) -> Result<serde_json::Value, TrainError> + 'a;

/// Trains a detector. `fresh` makes a network that holds the pre-trained weights; `base` is the phase whose numbers all
/// steps share; `stored` are the proposals of Fast R-CNN training. Returns the trained network.
pub fn train(
    method: Method,
    fresh: &dyn Fn() -> Result<Net, TrainError>,
    data: &Dataset,
    base: &Phase,
    stored: Option<Vec<Vec<BBox>>>,
    measure: &mut Measure<'_>,
) -> Result<Net, TrainError> {
    let step = |name: &str, learn: Learn, freeze: &[&str]| {
        let mut freeze: Vec<String> = freeze.iter().map(|&s| s.to_owned()).collect();
        freeze.extend(base.freeze.iter().cloned());
        Phase { name: name.to_owned(), learn, freeze, out: base.out.join(name), ..base.clone() }
    };
    let mut nothing = |_: &Net| Ok(serde_json::Value::Null);
    match method {
        Method::Joint | Method::Rpn => {
            let (name, learn) = if method == Method::Joint { ("joint", Learn::Both) } else { ("rpn", Learn::Rpn) };
            let mut net = fresh()?;
            detect::run(&mut net, data, &Proposals::Live, &step(name, learn, &[]), measure)?;
            Ok(net)
        }
        Method::FastRcnn => {
            let stored = stored.ok_or_else(|| {
                TrainError::Config("training the head alone needs --proposals with stored boxes".into())
            })?;
            let mut net = fresh()?;
            detect::run(&mut net, data, &Proposals::Stored(stored), &step("fast-rcnn", Learn::Head, &[]), measure)?;
            Ok(net)
        }
        Method::Alternating => {
            let convs: Vec<&str> = fresh()?.config.arch.convs().iter().map(|c| c.name).collect();
            let rpn = ["rpn_conv", "rpn_cls_score", "rpn_bbox_pred"];
            let mut first = fresh()?;
            detect::run(&mut first, data, &Proposals::Live, &step("step1-rpn", Learn::Rpn, &[]), &mut nothing)?;
            let boxes = propose_all(&first, data, base)?;
            drop(first);

            let mut second = fresh()?;
            let phase = step("step2-detector", Learn::Head, &[]);
            detect::run(&mut second, data, &Proposals::Stored(boxes), &phase, &mut nothing)?;

            let mut third = fresh()?;
            third.copy_from(&second);
            let phase = step("step3-rpn", Learn::Rpn, &convs);
            detect::run(&mut third, data, &Proposals::Live, &phase, &mut nothing)?;
            let boxes = propose_all(&third, data, base)?;

            let mut fourth = fresh()?;
            fourth.copy_from(&third);
            let fixed: Vec<&str> = convs.into_iter().chain(rpn).collect();
            let phase = step("step4-detector", Learn::Head, &fixed);
            detect::run(&mut fourth, data, &Proposals::Stored(boxes), &phase, measure)?;
            Ok(fourth)
        }
    }
}

/// The proposals of every picture of a data set, in pixels of the original picture.
fn propose_all(net: &Net, data: &Dataset, phase: &Phase) -> Result<Vec<Vec<BBox>>, TrainError> {
    // At one size, that which training ends with.
    let mut last: Vec<Stage> = phase.feed.stages.last().cloned().into_iter().collect();
    last.iter_mut().for_each(|stage| stage.scales.truncate(1));
    let options = FeedOptions { flip: false, crop: 0.0, light: 0.0, stages: last, seed: 0 };
    let all: Vec<usize> = (0..data.images.len()).collect();
    let mut out = vec![Vec::new(); data.images.len()];
    std::thread::scope(|scope| {
        let samples = feed::start(scope, data, &all, &options, 0..all.len() as u64, net.params.device());
        let pass = net.pass(Mode::Eval);
        for sample in samples {
            let sample = sample?;
            let boxes = no_grad(|| {
                let map: Tensor = pass.trunk(&sample.input);
                let (scores, deltas) = pass.rpn(&map);
                live_proposals(&scores, &deltas, &sample.shown, &phase.anchors)
            });
            out[sample.shown.picture] = boxes.iter().map(|b| b.scaled(1.0 / sample.shown.scale)).collect();
        }
        Ok(out)
    })
}

/// Stored proposals (the format of [`ProposalFile`]) in data set order.
pub fn read_proposals(path: &Path, data: &Dataset) -> Result<Vec<Vec<BBox>>, TrainError> {
    let config = |e: &dyn std::fmt::Display| TrainError::Config(e.to_string());
    let file = ProposalFile::open(path, usize::MAX).map_err(|e| config(&e))?;
    let of = |image: &ImageRecord| match file.boxes(&image.id) {
        Some(boxes) => Ok(boxes.iter().map(|p| p.bbox).collect()),
        None => Err(config(&format!("{}: no line for picture {}", path.display(), image.id))),
    };
    data.images.iter().map(of).collect()
}
