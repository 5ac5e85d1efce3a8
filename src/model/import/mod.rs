//! Import of the authors' Caffe models.
//!
//! A network is never run as the file describes it: the description (`.prototxt`) is compared with one of our
//! architectures and the weights (`.caffemodel`) are fetched layer by layer by name. Anything that does not match —
//! a missing or renamed layer, another stride, a blob of another shape, weights that belong to nothing — is an error
//! that names the layer, what it has and what is needed. A model is imported whole or not at all.
//!
//! Channel order stays BGR, as Caffe trained it. Dropout layers with `scale_train: false` multiply by `1 - ratio` at
//! test time (the released ZF models: 0.5); that factor goes into the weights of the layer behind.

pub mod caffemodel;
mod fetch;
mod net;
mod plan;
mod proposal;
pub mod prototxt;
#[cfg(test)]
mod tests;

use crate::model::arch::{ALL, Architecture};
use crate::model::{Manifest, Tensor, Weights};

pub use caffemodel::CaffemodelError;
pub use proposal::Proposals;
pub use prototxt::ParseError;

/// One difference between the files and the network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("layer `{layer}`: {what}")]
pub struct Problem {
    /// The layer.
    pub layer: String,
    /// What it has and what is needed.
    pub what: String,
}

impl Problem {
    fn new(layer: &str, what: String) -> Self {
        Self { layer: layer.into(), what }
    }
}

/// Why a model is not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The prototxt is no protobuf text.
    #[error("prototxt: {0}")]
    Prototxt(#[from] ParseError),
    /// The prototxt describes no network.
    #[error("prototxt: describes no layer; give the test prototxt that belongs to the caffemodel")]
    NoLayers,
    /// The caffemodel cannot be read.
    #[error("caffemodel {0}")]
    Caffemodel(#[from] CaffemodelError),
    /// The files do not fit the network.
    #[error("{}", list(architecture, *guessed, problems))]
    Mismatch {
        /// The network compared with.
        architecture: &'static Architecture,
        /// True if nobody named the network and this one is the most similar.
        guessed: bool,
        /// Every difference found.
        problems: Vec<Problem>,
    },
}

fn list(architecture: &Architecture, guessed: bool, problems: &[Problem]) -> String {
    let name = architecture.name;
    let first = if guessed {
        format!(
            "the model is none of our networks; the most similar is {name} (--architecture chooses another). Differences:"
        )
    } else {
        format!("the model does not fit {name}:")
    };
    problems.iter().fold(first, |text, p| format!("{text}\n  {p}"))
}

/// What was fetched for one tensor, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Match {
    /// Layer in the Caffe files.
    pub caffe: String,
    /// Our layer.
    pub ours: String,
    /// Shape of the weight.
    pub shape: Vec<usize>,
    /// What was done to it; empty if nothing.
    pub note: String,
}

/// A model, fetched.
#[derive(Debug, Clone, PartialEq)]
pub struct Imported {
    /// The network it is.
    pub architecture: &'static Architecture,
    /// All its weights under our names.
    pub weights: Weights,
    /// Classes without the background.
    pub classes: usize,
    /// Anchors and proposal numbers; `None` for Fast R-CNN, which has no RPN.
    pub proposals: Option<Proposals>,
    /// What went where, in network order.
    pub matches: Vec<Match>,
    /// Layers of the caffemodel that were left out on request.
    pub skipped: Vec<String>,
}

impl Imported {
    /// A manifest with what the files say; the rest is as the authors' code has it.
    pub fn manifest(&self, name: &str, classes: Vec<String>) -> Manifest {
        let mut manifest = Manifest::new(name, self.architecture, classes);
        if let Some(p) = &self.proposals {
            manifest.anchors = p.anchors.clone();
            let spec = &mut manifest.proposals;
            spec.pre_nms = p.pre_nms.unwrap_or(spec.pre_nms);
            spec.post_nms = p.post_nms.unwrap_or(spec.post_nms);
            spec.nms = p.nms.unwrap_or(spec.nms);
            spec.min_size = p.min_size.unwrap_or(spec.min_size);
        }
        manifest
    }
}

/// Compares and fetches. `architecture` of `None` takes the network that fits; `skip` names layers of the caffemodel
/// that may be left over.
pub fn import(
    prototxt: &[u8],
    caffemodel: &[u8],
    architecture: Option<&'static Architecture>,
    skip: &[String],
) -> Result<Imported, ImportError> {
    let message = prototxt::parse(prototxt)?;
    let layers = net::layers(&message)?;
    if layers.is_empty() {
        return Err(ImportError::NoLayers);
    }
    let plan = match architecture {
        Some(a) => plan::plan(&layers, a).map_err(|problems| ImportError::Mismatch {
            architecture: a,
            guessed: false,
            problems,
        })?,
        None => guess(&layers)?,
    };
    let trained = caffemodel::read(caffemodel)?;
    let architecture = plan.architecture;
    fetch::fetch(plan, trained, skip).map_err(|problems| ImportError::Mismatch {
        architecture,
        guessed: false,
        problems,
    })
}

/// The network that fits, or the differences from the one that fits best.
fn guess(layers: &[net::NetLayer<'_>]) -> Result<plan::Plan, ImportError> {
    let mut nearest: Option<(&'static Architecture, Vec<Problem>)> = None;
    for architecture in ALL.iter().copied() {
        match plan::plan(layers, architecture) {
            Ok(plan) => return Ok(plan),
            Err(problems) => {
                if nearest.as_ref().is_none_or(|(_, n)| problems.len() < n.len()) {
                    nearest = Some((architecture, problems));
                }
            }
        }
    }
    let (architecture, problems) = nearest.unwrap_or((&crate::model::arch::ZF, Vec::new()));
    Err(ImportError::Mismatch { architecture, guessed: true, problems })
}
