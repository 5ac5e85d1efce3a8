//! Takes the planned weights out of the caffemodel, under our names and with their factors applied.

use super::caffemodel::{Blob, TrainedLayer};
use super::plan::{Plan, Wanted};
use super::{Imported, Match, Problem, Tensor, Weights};

/// Fetches everything the plan asks for. Every trained layer must be asked for or named in `skip`.
pub fn fetch(plan: Plan, mut trained: Vec<TrainedLayer>, skip: &[String]) -> Result<Imported, Vec<Problem>> {
    let mut problems = Vec::new();
    let mut weights = Weights::default();
    let mut matches = Vec::new();
    for wanted in &plan.wanted {
        let Some(at) = trained.iter().position(|t| t.name == wanted.caffe) else {
            problems.push(missing(wanted, &plan, &trained));
            continue;
        };
        match tensors(wanted, trained.swap_remove(at).blobs) {
            Ok((weight, bias)) => {
                let non_finite = |t: &Tensor| t.data.iter().any(|v| !v.is_finite());
                if non_finite(&weight) || bias.as_ref().is_some_and(non_finite) {
                    problems.push(Problem::new(&wanted.caffe, "has NaN or infinite weights; train it again".into()));
                }
                let note = if wanted.factor == 1.0 { String::new() } else { format!("× {} (dropout)", wanted.factor) };
                matches.push(Match {
                    caffe: wanted.caffe.clone(),
                    ours: wanted.ours.clone(),
                    shape: weight.shape.clone(),
                    note,
                });
                weights.insert(format!("{}.weight", wanted.ours), weight);
                if let Some(bias) = bias {
                    weights.insert(format!("{}.bias", wanted.ours), bias);
                }
            }
            Err(what) => problems.push(Problem::new(&wanted.caffe, what)),
        }
    }
    let (skipped, left): (Vec<_>, Vec<_>) = trained.into_iter().partition(|t| skip.contains(&t.name));
    for layer in left {
        let what = format!(
            "has weights in the caffemodel but no place in {}; if it may be dropped, say --skip-layer {}",
            plan.architecture.name, layer.name
        );
        problems.push(Problem::new(&layer.name, what));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    Ok(Imported {
        architecture: plan.architecture,
        weights,
        classes: plan.classes,
        proposals: plan.proposals,
        matches,
        skipped: skipped.into_iter().map(|t| t.name).collect(),
    })
}

fn missing(wanted: &Wanted, plan: &Plan, trained: &[TrainedLayer]) -> Problem {
    let spare: Vec<&str> =
        trained.iter().map(|t| t.name.as_str()).filter(|n| plan.wanted.iter().all(|w| w.caffe != *n)).collect();
    let hint = if spare.is_empty() { String::new() } else { format!("; left over there: {}", spare.join(", ")) };
    Problem::new(&wanted.caffe, format!("has no weights in the caffemodel{hint}"))
}

/// Weight and bias, checked and scaled.
fn tensors(wanted: &Wanted, blobs: Vec<Blob>) -> Result<(Tensor, Option<Tensor>), String> {
    let expected = 1 + usize::from(wanted.bias);
    let found = blobs.len();
    let mut blobs = blobs.into_iter();
    let (Some(weight), bias, None) = (blobs.next(), blobs.next(), blobs.next()) else {
        return Err(format!("has {found} blobs in the caffemodel, needs {expected}"));
    };
    if bias.is_some() != wanted.bias {
        return Err(format!("has {found} blobs in the caffemodel, needs {expected}"));
    }
    let mut weight = shaped(weight, &wanted.shape, "weight")?;
    if wanted.factor != 1.0 {
        weight.data.iter_mut().for_each(|v| *v *= wanted.factor);
    }
    let bias = bias.map(|b| shaped(b, &wanted.shape[..1], "bias")).transpose()?;
    Ok((weight, bias))
}

/// The blob as a tensor of that shape. The old form writes every blob with four dimensions, ones in front.
fn shaped(blob: Blob, need: &[usize], what: &str) -> Result<Tensor, String> {
    let extra = blob.shape.len().saturating_sub(need.len());
    let (front, rest) = blob.shape.split_at(extra);
    if rest != need || front.iter().any(|d| *d != 1) {
        return Err(format!("{what} is {:?} in the caffemodel, needs {need:?}", blob.shape));
    }
    Tensor::new(need.to_vec(), blob.data).ok_or_else(|| format!("{what} has too few or too many numbers"))
}
