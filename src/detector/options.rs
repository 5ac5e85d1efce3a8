//! Building a detector: the bundle's numbers, changed by options, checked once.

use super::{
    Detector, DetectorError, Precision,
    choice::Choice,
    network::{InputSize, Network},
};
use crate::{
    frame::Scaling,
    head::{BoxNormalisation, HeadOutput, PostParams, PostScratch},
    kernels::{Kernels, Team},
    model::{Bundle, Manifest, nearest::nearest},
    proposals::{ProposalError, ProposalSource, Rpn, RpnParams},
};

/// A typing mistake must not take all memory of the machine for stacks.
const MAX_THREADS: usize = 1024;

/// What to do otherwise than the bundle says. Everything absent is the bundle's.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct DetectorOptions {
    /// Length of the network input's shorter side, in pixels.
    pub short_side: Option<u32>,
    /// Upper limit of its longer side.
    pub long_max: Option<u32>,
    /// Most proposals per picture.
    pub proposals: Option<usize>,
    /// Overlap above which the worse of two detections of a class goes.
    pub nms: Option<f32>,
    /// Detections must score more than this.
    pub min_score: Option<f32>,
    /// Most detections per picture.
    pub max_detections: Option<usize>,
    /// Report only classes of these names.
    pub classes: Option<Vec<String>>,
    /// Threads inside each stage, at most 1024; absent or 0: as many as the machine has cores.
    pub threads: Option<usize>,
    /// Whether each thread stays on a core of its own, the one that calls the detector among them.
    pub pin: bool,
    /// What is computed with: one of [`Kernels::NAMES`](crate::kernels::Kernels::NAMES), or, of a model in 8 bits, one of
    /// [`Dot::NAMES`](crate::kernels::int8::Dot::NAMES); `tract` for the engine's own kernels in the trunk,
    /// on one thread; `cuda` or `cuda:1` for a GPU (feature `cuda`); or `auto`, which is what absent means: the best this
    /// processor has.
    pub kernels: Option<String>,
    /// What the model is computed in.
    pub precision: Precision,
}

impl DetectorOptions {
    fn choice(&self) -> Result<Choice, DetectorError> {
        Choice::named(self.kernels.as_deref().unwrap_or("auto"))
    }
}

impl Detector {
    /// A detector that takes its proposals from the bundle's RPN.
    pub fn new(bundle: Bundle, options: DetectorOptions) -> Result<Self, DetectorError> {
        if !bundle.manifest.has_rpn {
            return Err(ProposalError::NoRpn.into());
        }
        let kernels = options.choice()?.real.unwrap_or(Kernels::best());
        let source = Box::new(Rpn::new(rpn_params(&bundle.manifest), kernels));
        Self::with_source(bundle, options, source)
    }

    /// A detector that takes its proposals from elsewhere; the only kind for a bundle without RPN.
    pub fn with_source(
        bundle: Bundle,
        options: DetectorOptions,
        mut source: Box<dyn ProposalSource>,
    ) -> Result<Self, DetectorError> {
        let post = post_params(&bundle.manifest, &options)?;
        let scaling = scaling(&bundle.manifest, &options)?;
        if let Some(max) = options.proposals {
            require(max > 0, "proposals", max, "must be 1 or more")?;
            source.set_max(max);
        }
        let threads = options.threads.filter(|&n| n > 0).unwrap_or_else(cores);
        require(threads <= MAX_THREADS, "threads", threads, "must be at most 1024")?;
        let choice = options.choice()?;
        let bundle = options.precision.apply(bundle, choice)?;
        let team = if options.pin { Team::pinned(threads) } else { Team::new(threads) };
        let team = team.map_err(|e| DetectorError::Threads { threads, reason: e.to_string() })?;
        Ok(Self {
            scaling,
            mean_bgr: bundle.manifest.input.mean_bgr,
            network: Network::new(&bundle, &team, choice, options.precision)?,
            source,
            max_rois: usize::MAX,
            post,
            team,
            input: InputSize::default(),
            proposals: Vec::new(),
            rois: Vec::new(),
            output: HeadOutput::default(),
            post_scratch: PostScratch::default(),
            classes: bundle.manifest.classes,
        })
    }
}

/// The RPN's numbers of a bundle.
pub(crate) fn rpn_params(manifest: &Manifest) -> RpnParams {
    let p = &manifest.proposals;
    RpnParams {
        anchors: manifest.anchors.clone(),
        pre_nms: p.pre_nms,
        post_nms: p.post_nms,
        nms: p.nms,
        min_size: p.min_size,
    }
}

fn scaling(manifest: &Manifest, options: &DetectorOptions) -> Result<Scaling, DetectorError> {
    let short = options.short_side.unwrap_or(manifest.input.short_side);
    // A larger scale moves the limit of the longer side along; a smaller one leaves it, as in the reference code.
    let input = &manifest.input;
    let along = u64::from(input.long_max) * u64::from(short) / u64::from(input.short_side.max(1));
    let long_max = options.long_max.unwrap_or(u32::try_from(along).unwrap_or(u32::MAX).max(input.long_max));
    require((16..=16384).contains(&short), "short side", short, "must be 16 to 16384 pixels")?;
    require(
        (short..=32768).contains(&long_max),
        "long side",
        long_max,
        "must be at least the short side, at most 32768",
    )?;
    Ok(Scaling { short, long_max })
}

fn post_params(manifest: &Manifest, options: &DetectorOptions) -> Result<PostParams, DetectorError> {
    let t = &manifest.thresholds;
    let nms = options.nms.unwrap_or(t.nms);
    let min_score = options.min_score.unwrap_or(t.score);
    require((0.0..=1.0).contains(&nms), "nms", nms, "must be 0 to 1")?;
    require((0.0..=1.0).contains(&min_score), "min score", min_score, "must be 0 to 1")?;
    let boxes = &manifest.boxes;
    Ok(PostParams {
        min_score,
        nms,
        max_detections: options.max_detections.unwrap_or(t.max_detections),
        classes: options.classes.as_ref().map(|names| class_ids(names, &manifest.classes)).transpose()?,
        normalisation: boxes.normalised.then_some(BoxNormalisation { means: boxes.means, stds: boxes.stds }),
    })
}

fn class_ids(names: &[String], known: &[String]) -> Result<Vec<usize>, DetectorError> {
    names.iter().map(|name| class_id(name, known)).collect()
}

/// The number of a class, from 1; an unknown name is refused with the nearest one of `known`, which are in order.
pub fn class_id(name: &str, known: &[String]) -> Result<usize, DetectorError> {
    let found = known.iter().position(|k| k == name);
    found.map(|i| i + 1).ok_or_else(|| DetectorError::UnknownClass {
        name: name.to_owned(),
        hint: nearest(name, known.iter().map(String::as_str))
            .map(|n| format!(" (did you mean \"{n}\"?)"))
            .unwrap_or_default(),
        known: known.join(", "),
    })
}

fn require(ok: bool, name: &'static str, value: impl ToString, reason: &'static str) -> Result<(), DetectorError> {
    if ok { Ok(()) } else { Err(DetectorError::Option { name, value: value.to_string(), reason }) }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
