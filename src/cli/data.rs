//! Marked pictures on the command line.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use edge_rcnn::eval::{Dataset, DatasetError};

/// `voc:DIR` or `coco:FILE`.
#[derive(Debug, Clone)]
pub enum Data {
    /// A VOC devkit folder.
    Voc(PathBuf),
    /// A COCO instances file.
    Coco(PathBuf),
}

impl FromStr for Data {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("voc", dir)) if !dir.is_empty() => Ok(Self::Voc(dir.into())),
            Some(("coco", file)) if !file.is_empty() => Ok(Self::Coco(file.into())),
            _ => Err("expected `voc:DIR` or `coco:FILE`".into()),
        }
    }
}

impl Data {
    /// Reads the annotations; whether the pictures are there is for [`Dataset::check_pictures`] to say. `images` is the
    /// folder of the pictures of COCO data, beside the file if absent.
    pub fn read(&self, split: &str, images: Option<&Path>) -> Result<Dataset, DatasetError> {
        match self {
            Self::Voc(dir) => Dataset::voc_annotations(dir, split),
            Self::Coco(file) => {
                let beside = file.parent().unwrap_or(Path::new(""));
                Dataset::coco_annotations(file, images.unwrap_or(beside))
            }
        }
    }
}
