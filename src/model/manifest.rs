//! `model.toml`: everything about a model that its two ONNX files do not say.
//!
//! The reader is strict. An unknown key is refused with the nearest valid one, a value out of range with the field's
//! full name, so that a typing mistake never turns silently into a default.

use serde::{Deserialize, Serialize};

use super::Architecture;
use super::error::ManifestError;
use crate::boxes::AnchorSpec;

/// The format this program writes, and the newest it reads.
pub const FORMAT: u32 = 1;

/// The contents of `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the bundle format.
    pub format: u32,
    /// Name of the model, for logs and the `hello` line.
    pub name: String,
    /// Name of the network, as [`Architecture::by_name`] knows it.
    pub architecture: String,
    /// Class names without the background; class ids count from 1 in this order.
    pub classes: Vec<String>,
    /// True if the trunk has an RPN; without one, proposals must come from elsewhere (Fast R-CNN).
    pub has_rpn: bool,
    /// Licence of the weights.
    pub licence: String,
    /// Where the weights come from: data, command, dates.
    pub provenance: String,
    /// How a picture becomes the network's input.
    pub input: InputSpec,
    /// The anchors the RPN was trained with.
    pub anchors: AnchorSpec,
    /// How many proposals reach the head.
    pub proposals: ProposalSpec,
    /// What becomes a detection.
    pub thresholds: Thresholds,
    /// What the box deltas of the head mean.
    pub boxes: BoxSpec,
    /// How the numbers became 8-bit ones; absent in a model of real numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quantization: Option<Quantization>,
    /// Checksums of the files beside the manifest.
    pub files: FileHashes,
}

/// How a picture becomes the network's input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct InputSpec {
    /// Length of the shorter side after scaling, pixels.
    pub short_side: u32,
    /// Upper limit of the longer side, pixels.
    pub long_max: u32,
    /// Subtracted from the channels, in the order blue, green, red.
    pub mean_bgr: [f32; 3],
}

/// How many proposals reach the head.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProposalSpec {
    /// Best-scored boxes that enter the suppression.
    pub pre_nms: usize,
    /// Boxes that leave it.
    pub post_nms: usize,
    /// Overlap above which the lower-scored of two proposals is dropped.
    pub nms: f32,
    /// Shortest side of a proposal in pixels of the original picture.
    pub min_size: f32,
}

/// What becomes a detection.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Thresholds {
    /// Scores must be above this.
    pub score: f32,
    /// Overlap above which the lower-scored of two boxes of one class is dropped.
    pub nms: f32,
    /// At most so many detections per picture.
    pub max_detections: usize,
}

/// What the box deltas of the head mean.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BoxSpec {
    /// True if the deltas are still divided by `stds` after subtracting `means`, as they are during training.
    pub normalised: bool,
    /// Means of (dx, dy, dw, dh).
    pub means: [f32; 4],
    /// Standard deviations of (dx, dy, dw, dh).
    pub stds: [f32; 4],
}

/// How the numbers became 8-bit ones (`edge-rcnn calibrate`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantization {
    /// How ranges were chosen, for example `percentile 99.99`.
    pub method: String,
    /// True if biases were corrected by what rounding the weights changes in the mean.
    pub bias_correction: bool,
    /// Pictures that the ranges were seen on.
    pub images: usize,
    /// sha256 of the list of those pictures, in the form `calibrate --write-list` writes it.
    pub images_sha256: String,
}

/// sha256 of the bundle's files, in lower-case hexadecimal.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct FileHashes {
    /// Of `trunk.onnx`.
    pub trunk_sha256: String,
    /// Of `head.onnx`.
    pub head_sha256: String,
}

impl Default for Manifest {
    /// The numbers of the released VOC models; name, classes and provenance are left to fill in.
    fn default() -> Self {
        Self {
            format: FORMAT,
            name: "unnamed".into(),
            architecture: "zf".into(),
            classes: Vec::new(),
            has_rpn: true,
            licence: "unknown".into(),
            provenance: "unknown".into(),
            input: InputSpec { short_side: 600, long_max: 1000, mean_bgr: super::MEAN_BGR },
            anchors: AnchorSpec::default(),
            proposals: ProposalSpec { pre_nms: 6000, post_nms: 300, nms: 0.7, min_size: 16.0 },
            thresholds: Thresholds { score: 0.05, nms: 0.3, max_detections: 100 },
            boxes: BoxSpec { normalised: false, means: [0.0; 4], stds: [0.1, 0.1, 0.2, 0.2] },
            quantization: None,
            files: FileHashes::default(),
        }
    }
}

impl Manifest {
    /// A manifest with the default numbers.
    pub fn new(name: &str, architecture: &Architecture, classes: Vec<String>) -> Self {
        Self { name: name.into(), architecture: architecture.name.into(), classes, ..Self::default() }
    }

    /// Reads the text of a `model.toml` and checks every value.
    pub fn parse(text: &str) -> Result<Self, ManifestError> {
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| ManifestError::Syntax(e.to_string()))?;
        // The version decides first: a newer format may well have keys that we do not know.
        match table.get("format").and_then(toml::Value::as_integer) {
            Some(found) if found > i64::from(FORMAT) => return Err(ManifestError::NewerFormat { found }),
            Some(found) if found < 1 => return Err(ManifestError::value("format", "must be 1 or more")),
            Some(_) => {}
            None => return Err(ManifestError::value("format", "is missing or not a whole number; write `format = 1`")),
        }
        let complete = Self { quantization: Some(Quantization::default()), ..Self::default() };
        let known = toml::Table::try_from(complete).map_err(|e| ManifestError::Syntax(e.to_string()))?;
        refuse_unknown_keys(&table, &known, "")?;
        let manifest: Self = toml::from_str(text).map_err(|e| ManifestError::Syntax(e.to_string()))?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The text of `model.toml`.
    pub fn to_toml(&self) -> Result<String, ManifestError> {
        toml::to_string_pretty(self).map_err(|e| ManifestError::Syntax(e.to_string()))
    }

    /// The network this model is built on.
    pub fn network(&self) -> Result<&'static Architecture, ManifestError> {
        Architecture::by_name(&self.architecture).ok_or_else(|| ManifestError::UnknownArchitecture {
            name: self.architecture.clone(),
            known: Architecture::names(),
        })
    }

    /// Checks that every value makes sense on its own.
    pub fn check(&self) -> Result<(), ManifestError> {
        let require = |ok: bool, field: &str, reason: &str| {
            if ok { Ok(()) } else { Err(ManifestError::value(field, reason)) }
        };
        let fraction = |v: f32| (0.0..=1.0).contains(&v);
        let finite = |values: &[f32]| values.iter().all(|v| v.is_finite());
        self.network()?;
        require(!self.classes.is_empty(), "classes", "is empty; list the class names without the background")?;
        let mut seen = std::collections::BTreeSet::new();
        for class in &self.classes {
            require(!class.trim().is_empty(), "classes", "holds an empty name")?;
            require(seen.insert(class), "classes", &format!("lists `{class}` twice"))?;
        }
        let input = &self.input;
        require((16..=16384).contains(&input.short_side), "input.short_side", "must be 16 to 16384 pixels")?;
        let long = input.short_side..=16384;
        require(long.contains(&input.long_max), "input.long_max", "must be at least short_side, at most 16384")?;
        require(finite(&input.mean_bgr), "input.mean_bgr", "must be three finite numbers")?;
        let anchors = &self.anchors;
        let positive = |values: &[f32]| finite(values) && !values.is_empty() && values.iter().all(|v| *v > 0.0);
        require(positive(&[anchors.base]), "anchors.base", "must be positive")?;
        require(positive(&anchors.ratios), "anchors.ratios", "must be one or more positive numbers")?;
        require(positive(&anchors.scales), "anchors.scales", "must be one or more positive numbers")?;
        require(positive(&[anchors.stride]), "anchors.stride", "must be positive")?;
        let p = &self.proposals;
        require(p.pre_nms > 0, "proposals.pre_nms", "must be 1 or more")?;
        require(p.post_nms > 0, "proposals.post_nms", "must be 1 or more")?;
        require(fraction(p.nms), "proposals.nms", "must be 0 to 1")?;
        require(p.min_size >= 0.0 && p.min_size.is_finite(), "proposals.min_size", "must be 0 or more pixels")?;
        require(fraction(self.thresholds.score), "thresholds.score", "must be 0 to 1")?;
        require(fraction(self.thresholds.nms), "thresholds.nms", "must be 0 to 1")?;
        require(self.thresholds.max_detections > 0, "thresholds.max_detections", "must be 1 or more")?;
        require(finite(&self.boxes.means), "boxes.means", "must be four finite numbers")?;
        require(positive(&self.boxes.stds), "boxes.stds", "must be four positive numbers")
    }
}

/// Compares the keys of a file with those of the default manifest, table by table.
fn refuse_unknown_keys(found: &toml::Table, known: &toml::Table, prefix: &str) -> Result<(), ManifestError> {
    for (key, value) in found {
        let Some(expected) = known.get(key) else {
            let nearest = super::nearest::nearest(key, known.keys().map(String::as_str));
            return Err(ManifestError::UnknownKey {
                key: format!("{prefix}{key}"),
                nearest: nearest.map(|n| format!("{prefix}{n}")).unwrap_or_default(),
            });
        };
        if let (toml::Value::Table(found), toml::Value::Table(known)) = (value, expected) {
            refuse_unknown_keys(found, known, &format!("{prefix}{key}."))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
