//! Pictures sorted into class folders, in a directory or a zip file, for pre-training a trunk as a classifier.
//!
//! Everything is decoded once and kept in memory; pictures whose shorter side exceeds [`KEEP_SHORT_SIDE`] are shrunk
//! first. Meant for data sets of small pictures (Tiny-ImageNet takes 1 GiB).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use image::imageops::FilterType;
use rand::{Rng, RngExt};

use super::TrainError;
use super::ahead::side_by_side;

/// Larger pictures are shrunk to this shorter side when they are loaded.
pub const KEEP_SHORT_SIDE: u32 = 160;

/// One decoded picture.
#[derive(Debug)]
pub struct Sample {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
    /// Index into [`ClassFolders::classes`].
    pub class: usize,
}

/// A classification data set.
#[derive(Debug)]
pub struct ClassFolders {
    /// Folder names, sorted.
    pub classes: Vec<String>,
    /// All pictures, by class and name.
    pub samples: Vec<Sample>,
}

impl ClassFolders {
    /// Reads `path/<class>/<picture>` from a directory or zip file.
    pub fn load(path: &Path) -> Result<Self, TrainError> {
        let io = |source| TrainError::Io { path: path.to_owned(), source };
        let mut files: BTreeMap<(String, String), Vec<u8>> = BTreeMap::new();
        if path.is_dir() {
            for class in fs::read_dir(path).map_err(io)? {
                let class = class.map_err(io)?;
                if !class.path().is_dir() {
                    continue;
                }
                let name = class.file_name().to_string_lossy().into_owned();
                for file in fs::read_dir(class.path()).map_err(io)? {
                    let file = file.map_err(io)?;
                    let bytes = fs::read(file.path()).map_err(io)?;
                    files.insert((name.clone(), file.file_name().to_string_lossy().into_owned()), bytes);
                }
            }
        } else {
            let bad = |e: zip::result::ZipError| TrainError::Config(format!("{}: {e}", path.display()));
            let mut archive = zip::ZipArchive::new(File::open(path).map_err(io)?).map_err(bad)?;
            for i in 0..archive.len() {
                let mut entry = archive.by_index(i).map_err(bad)?;
                let name = entry.name().map_err(bad)?.into_owned();
                let Some((class, file)) = name.rsplit_once('/') else { continue };
                if file.is_empty() {
                    continue;
                }
                let key = (class.to_owned(), file.to_owned());
                let mut bytes = Vec::with_capacity(entry.size().min(1 << 24) as usize);
                entry.read_to_end(&mut bytes).map_err(io)?;
                files.insert(key, bytes);
            }
        }
        Self::decode(path, files)
    }

    fn decode(path: &Path, files: BTreeMap<(String, String), Vec<u8>>) -> Result<Self, TrainError> {
        let mut classes: Vec<String> = files.keys().map(|k| k.0.clone()).collect();
        classes.dedup();
        if classes.len() < 2 {
            return Err(TrainError::Config(format!(
                "{}: found {} class folders, training a classifier needs at least 2 (layout: <class>/<picture>)",
                path.display(),
                classes.len()
            )));
        }
        let index: BTreeMap<&str, usize> = classes.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
        let files: Vec<_> = files.into_iter().collect();
        let decode_one = |((class, name), bytes): ((String, String), Vec<u8>)| {
            let decoded = image::load_from_memory(&bytes).map_err(|e| {
                TrainError::Config(format!("{}: {class}/{name}: cannot be decoded: {e}", path.display()))
            })?;
            let short = decoded.width().min(decoded.height());
            let decoded = if short > KEEP_SHORT_SIDE {
                let s = f64::from(KEEP_SHORT_SIDE) / f64::from(short);
                let side = |n: u32| ((f64::from(n) * s).round() as u32).max(1);
                decoded.resize_exact(side(decoded.width()), side(decoded.height()), FilterType::Triangle)
            } else {
                decoded
            };
            let rgb = decoded.to_rgb8();
            let (width, height) = (rgb.width() as usize, rgb.height() as usize);
            Ok(Sample { width, height, rgb: rgb.into_raw(), class: index[class.as_str()] })
        };
        let samples: Result<Vec<Sample>, TrainError> = side_by_side(files, decode_one).into_iter().collect();
        Ok(Self { samples: samples?, classes })
    }
}

impl Sample {
    /// A random window (35–100 % of the area, aspect 3:4 to 4:3), half of the time mirrored, with a brightness and
    /// contrast change, as `side`×`side` BGR bytes appended to `out`.
    pub fn random_crop(&self, side: usize, rng: &mut impl Rng, out: &mut Vec<u8>) {
        let (w, h) = (self.width as f32, self.height as f32);
        let area = w * h * rng.random_range(0.35f32..1.0);
        let aspect = rng.random_range((0.75f32).ln()..(4.0f32 / 3.0).ln()).exp();
        let cw = (area * aspect).sqrt().min(w);
        let ch = (area / aspect).sqrt().min(h);
        let x0 = rng.random_range(0.0..=(w - cw).max(f32::MIN_POSITIVE));
        let y0 = rng.random_range(0.0..=(h - ch).max(f32::MIN_POSITIVE));
        let flip = rng.random_range(0..2) == 1;
        let gain = rng.random_range(0.7f32..1.3);
        let offset = rng.random_range(-20.0f32..20.0) + 128.0 * (1.0 - gain);
        self.window([x0, y0, cw, ch], side, flip, gain, offset, out);
    }

    /// The central square, as `side`×`side` BGR bytes appended to `out`.
    pub fn centre(&self, side: usize, out: &mut Vec<u8>) {
        let short = self.width.min(self.height) as f32;
        let x0 = (self.width as f32 - short) * 0.5;
        let y0 = (self.height as f32 - short) * 0.5;
        self.window([x0, y0, short, short], side, false, 1.0, 0.0, out);
    }

    /// Bilinear sampling of the window `[x, y, width, height]`.
    fn window(&self, [x0, y0, cw, ch]: [f32; 4], side: usize, flip: bool, gain: f32, offset: f32, out: &mut Vec<u8>) {
        let tap = |i: usize, start: f32, len: f32, limit: usize| {
            let pos = (start + (i as f32 + 0.5) * len / side as f32 - 0.5).clamp(0.0, (limit - 1) as f32);
            let lo = pos as usize;
            (lo, (lo + 1).min(limit - 1), pos - lo as f32)
        };
        let columns: Vec<(usize, usize, f32)> =
            (0..side).map(|i| tap(if flip { side - 1 - i } else { i }, x0, cw, self.width)).collect();
        for y in 0..side {
            let (y1, y2, fy) = tap(y, y0, ch, self.height);
            let (r1, r2) = (&self.rgb[y1 * self.width * 3..], &self.rgb[y2 * self.width * 3..]);
            for &(x1, x2, fx) in &columns {
                for c in [2, 1, 0] {
                    let top = f32::from(r1[x1 * 3 + c]) * (1.0 - fx) + f32::from(r1[x2 * 3 + c]) * fx;
                    let low = f32::from(r2[x1 * 3 + c]) * (1.0 - fx) + f32::from(r2[x2 * 3 + c]) * fx;
                    out.push(((top * (1.0 - fy) + low * fy) * gain + offset).round() as u8);
                }
            }
        }
    }
}
