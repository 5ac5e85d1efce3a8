//! A bundle: a model on disk, as a directory of `model.toml`, `trunk.onnx` and `head.onnx`.
//!
//! Loading checks everything that can be checked before a picture arrives: the format, every value of the manifest,
//! both checksums, every tensor's shape against the network, and that no weight is NaN or infinite. A bundle that
//! loads, runs.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::builtin;
use super::layers::{Part, check_shapes};
use super::onnx::{
    StorageType, head_onnx, head_qdq, read_quantized, read_weights, same_graph, tensor_shapes, trunk_onnx, trunk_qdq,
};
use super::quantize::{Dataflow, QuantizeError, Quantized};
use super::{Architecture, BundleError, Manifest, ManifestError, Quantization, Weights, WeightsError};

/// File name of the manifest.
pub const MANIFEST_FILE: &str = "model.toml";
/// File name of the trunk.
pub const TRUNK_FILE: &str = "trunk.onnx";
/// File name of the head.
pub const HEAD_FILE: &str = "head.onnx";

/// A model, complete and checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Bundle {
    /// What `model.toml` says.
    pub manifest: Manifest,
    /// The bytes of `trunk.onnx`.
    pub trunk_onnx: Vec<u8>,
    /// The bytes of `head.onnx`.
    pub head_onnx: Vec<u8>,
}

impl Bundle {
    /// Reads and checks the bundle in `dir`.
    pub fn load(dir: &Path) -> Result<Self, BundleError> {
        let read = |name: &str| {
            let path = dir.join(name);
            fs::read(&path).map_err(|source| match source.kind() {
                std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory => BundleError::MissingFile { path },
                _ => BundleError::Io { path, action: "read", source },
            })
        };
        let text = String::from_utf8_lossy(&read(MANIFEST_FILE)?).into_owned();
        // The manifest is judged before the large files are read.
        let manifest = Manifest::parse(&text).map_err(manifest_error(dir))?;
        Self { manifest, trunk_onnx: read(TRUNK_FILE)?, head_onnx: read(HEAD_FILE)? }.checked(dir)
    }

    /// The model that is compiled into the program.
    pub fn builtin() -> Result<Self, BundleError> {
        let dir = Path::new("built-in model");
        let [manifest, trunk_onnx, head_onnx] = builtin::files();
        let manifest = Manifest::parse(&String::from_utf8_lossy(&manifest)).map_err(manifest_error(dir))?;
        Self { manifest, trunk_onnx, head_onnx }.checked(dir)
    }

    /// Builds a bundle of real numbers in memory. Architecture, `has_rpn` and checksums of the manifest are filled in from
    /// the weights, and nothing is said about 8 bits.
    pub fn from_weights(
        network: &Architecture,
        weights: &Weights,
        mut manifest: Manifest,
        storage: StorageType,
    ) -> Result<Self, BundleError> {
        let dir = Path::new("new bundle");
        manifest.architecture = network.name.into();
        manifest.has_rpn = weights.has_layer("rpn_conv");
        manifest.quantization = None;
        manifest.check().map_err(manifest_error(dir))?;
        let shapes = weights.0.iter().map(|(n, t)| (n.as_str(), t.shape.as_slice())).collect();
        check_shapes(network, manifest.classes.len(), anchors(&manifest), &shapes, None)
            .map_err(weights_error(dir.into()))?;
        if let Some(tensor) = weights.first_non_finite() {
            return Err(weights_error(dir.into())(WeightsError::NonFinite { tensor: tensor.into() }));
        }
        let trunk_onnx = trunk_onnx(network, weights, storage).map_err(weights_error(dir.join(TRUNK_FILE)))?;
        let head_onnx = head_onnx(network, weights, storage).map_err(weights_error(dir.join(HEAD_FILE)))?;
        manifest.files.trunk_sha256 = sha256(&trunk_onnx);
        manifest.files.head_sha256 = sha256(&head_onnx);
        Ok(Self { manifest, trunk_onnx, head_onnx })
    }

    /// The network this model is built on.
    pub fn network(&self) -> Result<&'static Architecture, BundleError> {
        self.manifest.network().map_err(manifest_error(Path::new("")))
    }

    /// All weights, as f32.
    pub fn weights(&self) -> Result<Weights, BundleError> {
        let mut weights = self.trunk_weights()?;
        weights.0.extend(self.head_weights()?.0);
        Ok(weights)
    }

    /// The weights of the convolutions, as f32.
    pub fn trunk_weights(&self) -> Result<Weights, BundleError> {
        read_weights(&self.trunk_onnx).map_err(|source| BundleError::Onnx { path: TRUNK_FILE.into(), source })
    }

    /// The weights of the fully connected layers, as f32.
    pub fn head_weights(&self) -> Result<Weights, BundleError> {
        read_weights(&self.head_onnx).map_err(|source| BundleError::Onnx { path: HEAD_FILE.into(), source })
    }

    /// The same model with other weights in its head.
    pub fn with_head(&self, weights: &Weights, storage: StorageType) -> Result<Self, BundleError> {
        let path = Path::new("new bundle");
        if let Some(tensor) = weights.first_non_finite() {
            return Err(weights_error(path.join(HEAD_FILE))(WeightsError::NonFinite { tensor: tensor.into() }));
        }
        let head_onnx = head_onnx(self.network()?, weights, storage).map_err(weights_error(path.join(HEAD_FILE)))?;
        let mut manifest = self.manifest.clone();
        manifest.files.head_sha256 = sha256(&head_onnx);
        Self { manifest, trunk_onnx: self.trunk_onnx.clone(), head_onnx }.checked(path)
    }

    /// The same model in 8 bits.
    pub fn with_quantized(&self, quantized: &Quantized, how: Quantization) -> Result<Self, BundleError> {
        let path = Path::new("new bundle");
        let network = self.network()?;
        let trunk_onnx = trunk_qdq(network, quantized).map_err(weights_error(path.join(TRUNK_FILE)))?;
        let head_onnx = head_qdq(network, quantized).map_err(weights_error(path.join(HEAD_FILE)))?;
        let mut manifest = Manifest { quantization: Some(how), ..self.manifest.clone() };
        manifest.files.trunk_sha256 = sha256(&trunk_onnx);
        manifest.files.head_sha256 = sha256(&head_onnx);
        Self { manifest, trunk_onnx, head_onnx }.checked(path)
    }

    /// The numbers of a model in 8 bits; `None` if this one is of real numbers.
    pub fn quantized(&self) -> Result<Option<Quantized>, BundleError> {
        if self.manifest.quantization.is_none() {
            return Ok(None);
        }
        let read =
            |onnx, file: &str| read_quantized(onnx).map_err(|source| BundleError::Onnx { path: file.into(), source });
        let mut quantized = read(&self.trunk_onnx, TRUNK_FILE)?;
        let head = read(&self.head_onnx, HEAD_FILE)?;
        quantized.layers.extend(head.layers);
        quantized.activations.extend(head.activations);
        Ok(Some(quantized))
    }

    /// Which map each layer reads.
    pub fn dataflow(&self) -> Result<Dataflow, BundleError> {
        let shapes =
            |onnx, file: &str| tensor_shapes(onnx).map_err(|source| BundleError::Onnx { path: file.into(), source });
        let mut tensors = shapes(&self.trunk_onnx, TRUNK_FILE)?.shapes;
        tensors.extend(shapes(&self.head_onnx, HEAD_FILE)?.shapes);
        Ok(Dataflow::new(self.network()?, |layer| tensors.contains_key(&format!("{layer}.weight"))))
    }

    /// How the trunk's weights are stored, of a model of real numbers.
    pub fn storage(&self) -> Result<StorageType, BundleError> {
        let tensors =
            tensor_shapes(&self.trunk_onnx).map_err(|source| BundleError::Onnx { path: TRUNK_FILE.into(), source })?;
        Ok(if tensors.element_bytes.values().any(|b| *b == 2) { StorageType::F16 } else { StorageType::F32 })
    }

    /// One checksum for the whole model: that of its manifest, which holds those of the files.
    pub fn sha256(&self) -> Result<String, BundleError> {
        let text = self.manifest.to_toml().map_err(manifest_error(Path::new("")))?;
        Ok(sha256(text.as_bytes()))
    }

    /// Writes the bundle as the directory `dir`, replacing a bundle of that name. The files are complete on the disk
    /// under a hidden name before anything is renamed, so nobody ever sees half a bundle.
    pub fn save(&self, dir: &Path) -> Result<(), BundleError> {
        let mut manifest = self.manifest.clone();
        manifest.files.trunk_sha256 = sha256(&self.trunk_onnx);
        manifest.files.head_sha256 = sha256(&self.head_onnx);
        let text = manifest.to_toml().map_err(manifest_error(dir))?;
        if dir.exists()
            && !dir.join(MANIFEST_FILE).is_file()
            && fs::read_dir(dir).map_or(true, |mut d| d.next().is_some())
        {
            return Err(BundleError::NotABundle { path: dir.into() });
        }
        let beside = |suffix: &str| {
            let name = dir.file_name().unwrap_or_default().to_string_lossy();
            dir.with_file_name(format!(".{name}.{suffix}-{}", std::process::id()))
        };
        let (new, old) = (beside("new"), beside("old"));
        let result = write_files(
            &new,
            &[(TRUNK_FILE, &self.trunk_onnx), (HEAD_FILE, &self.head_onnx), (MANIFEST_FILE, text.as_bytes())],
        )
        .and_then(|()| exchange(&new, dir, &old));
        if result.is_err() {
            // Best effort: the error that matters is the one being returned.
            let _ = fs::remove_dir_all(&new);
        }
        result
    }

    /// Everything that can be checked about the files; `dir` is for messages.
    fn checked(self, dir: &Path) -> Result<Self, BundleError> {
        let network = self.manifest.network().map_err(manifest_error(dir))?;
        let files = &self.manifest.files;
        let parts = [
            (TRUNK_FILE, "trunk_sha256", &files.trunk_sha256, &self.trunk_onnx, Part::Trunk),
            (HEAD_FILE, "head_sha256", &files.head_sha256, &self.head_onnx, Part::Head),
        ];
        for (name, field, expected, bytes, part) in parts {
            let path = dir.join(name);
            let found = sha256(bytes);
            if *expected != found {
                return Err(BundleError::Checksum { path, field, expected: expected.clone(), found });
            }
            let tensors = tensor_shapes(bytes).map_err(|source| BundleError::Onnx { path: path.clone(), source })?;
            if let Some(tensor) = tensors.non_finite {
                return Err(weights_error(path)(WeightsError::NonFinite { tensor }));
            }
            let shapes = tensors.shapes.iter().map(|(n, s)| (n.as_str(), s.as_slice())).collect();
            check_shapes(network, self.manifest.classes.len(), anchors(&self.manifest), &shapes, Some(part))
                .map_err(weights_error(path.clone()))?;
            let said = self.manifest.quantization.is_some();
            if tensors.element_bytes.iter().any(|(name, bytes)| name.ends_with(".weight") && (*bytes == 1) != said) {
                return Err(BundleError::Quantization { path, said });
            }
        }
        self.check_quantized(network, dir)?;
        Ok(self)
    }

    /// A quantised model is not run by an engine that does what the files say but by kernels put together for the network:
    /// so the files must say exactly that.
    fn check_quantized(&self, network: &Architecture, dir: &Path) -> Result<(), BundleError> {
        let Some(quantized) = self.quantized()? else { return Ok(()) };
        let wrong = |path: PathBuf| move |source: QuantizeError| BundleError::Quantize { path: path.clone(), source };
        quantized.check(&self.dataflow()?).map_err(wrong(dir.into()))?;
        let trunk = trunk_qdq(network, &quantized).map_err(weights_error(dir.join(TRUNK_FILE)))?;
        let head = head_qdq(network, &quantized).map_err(weights_error(dir.join(HEAD_FILE)))?;
        for (name, found, expected) in [(TRUNK_FILE, &self.trunk_onnx, trunk), (HEAD_FILE, &self.head_onnx, head)] {
            let path = dir.join(name);
            let same =
                same_graph(found, &expected).map_err(|source| BundleError::Onnx { path: path.clone(), source })?;
            same.map_err(|node| wrong(path)(QuantizeError::Graph { node, network: network.name.into() }))?;
        }
        Ok(())
    }
}

/// Anchors per cell if the model has an RPN.
fn anchors(manifest: &Manifest) -> Option<usize> {
    manifest.has_rpn.then(|| manifest.anchors.per_cell())
}

fn manifest_error(dir: &Path) -> impl Fn(ManifestError) -> BundleError {
    let path = dir.join(MANIFEST_FILE);
    move |source| BundleError::Manifest { path: path.clone(), source }
}

fn weights_error(path: PathBuf) -> impl Fn(WeightsError) -> BundleError {
    move |source| BundleError::Weights { path: path.clone(), source }
}

/// sha256 in lower-case hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn io_error(path: &Path, action: &'static str) -> impl FnOnce(std::io::Error) -> BundleError {
    let path = path.to_path_buf();
    move |source| BundleError::Io { path, action, source }
}

/// Writes files into a fresh directory and pushes them to the disk.
fn write_files(dir: &Path, files: &[(&str, &[u8])]) -> Result<(), BundleError> {
    if dir.exists() {
        fs::remove_dir_all(dir).map_err(io_error(dir, "remove"))?;
    }
    fs::create_dir_all(dir).map_err(io_error(dir, "create"))?;
    for (name, bytes) in files {
        let path = dir.join(name);
        let mut file = fs::File::create(&path).map_err(io_error(&path, "create"))?;
        file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io_error(&path, "write"))?;
    }
    Ok(())
}

/// Puts `new` in the place of `target`; what was there goes to `old` first, and comes back if the second step fails.
fn exchange(new: &Path, target: &Path, old: &Path) -> Result<(), BundleError> {
    let existed = target.exists();
    if existed {
        fs::rename(target, old).map_err(io_error(target, "replace"))?;
    }
    if let Err(error) = fs::rename(new, target) {
        if existed {
            let _ = fs::rename(old, target);
        }
        return Err(io_error(target, "create")(error));
    }
    if existed {
        fs::remove_dir_all(old).map_err(io_error(old, "remove"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
