//! Proposals computed elsewhere, read from a file (as Fast R-CNN reads those of selective search).
//!
//! JSON lines, one picture per line; blank lines are skipped:
//!
//! ```json
//! {"image":"000005","boxes":[[12,30,200.5,180],[0,0,500,375]],"scores":[0.9,0.4]}
//! ```
//!
//! * `image` — the picture's name as the caller gives it (for data sets: the identifier).
//! * `boxes` — best first, half-open `[x1,y1,x2,y2]` in pixels of the original picture, as in all our output.
//! * `scores` — optional, one per box; without it every box scores 1.

use super::{Proposal, ProposalContext, ProposalError, ProposalSource};
use crate::boxes::{BBox, Rect};
use serde::Deserialize;
use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    path::Path,
};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    image: String,
    boxes: Vec<[f32; 4]>,
    scores: Option<Vec<f32>>,
}

/// The boxes of all pictures of a file.
#[derive(Debug)]
pub struct ProposalFile {
    path: String,
    /// In pixels of the original picture, best first.
    pictures: HashMap<String, Vec<Proposal>>,
    max: usize,
}

impl ProposalFile {
    /// Reads a whole file; keeps at most `max` boxes per picture.
    pub fn open(path: &Path, max: usize) -> Result<Self, ProposalError> {
        let name = path.display().to_string();
        match std::fs::File::open(path) {
            Ok(file) => Self::read(BufReader::new(file), name, max),
            Err(source) => Err(ProposalError::File { path: name, source }),
        }
    }

    /// Reads lines from anywhere; `path` is what error messages call it.
    pub fn read(lines: impl BufRead, path: String, max: usize) -> Result<Self, ProposalError> {
        let mut pictures = HashMap::new();
        for (i, text) in lines.lines().enumerate() {
            let text = text.map_err(|source| ProposalError::File { path: path.clone(), source })?;
            if text.trim().is_empty() {
                continue;
            }
            let wrong = |reason: String| ProposalError::Line { path: path.clone(), line: i + 1, reason };
            let line: Line = serde_json::from_str(&text).map_err(|e| wrong(e.to_string()))?;
            if let Some(scores) = &line.scores
                && scores.len() != line.boxes.len()
            {
                return Err(wrong(format!("{} scores for {} boxes", scores.len(), line.boxes.len())));
            }
            let score = |k: usize| line.scores.as_ref().map_or(1.0, |s| s[k]);
            let boxes = line
                .boxes
                .iter()
                .enumerate()
                .map(|(k, &[x1, y1, x2, y2])| Proposal { bbox: BBox::from(Rect { x1, y1, x2, y2 }), score: score(k) });
            if pictures.insert(line.image.clone(), boxes.collect()).is_some() {
                return Err(wrong(format!("picture \"{}\" has a line already", line.image)));
            }
        }
        Ok(Self { path, pictures, max })
    }

    /// The boxes of a picture, in pixels of the original picture, if the file has that picture.
    pub fn boxes(&self, picture: &str) -> Option<&[Proposal]> {
        self.pictures.get(picture).map(Vec::as_slice)
    }

    /// Number of pictures in the file.
    pub fn len(&self) -> usize {
        self.pictures.len()
    }

    /// True if the file holds no picture.
    pub fn is_empty(&self) -> bool {
        self.pictures.is_empty()
    }
}

impl ProposalSource for ProposalFile {
    fn name(&self) -> &'static str {
        "file"
    }

    fn propose(&mut self, context: &ProposalContext<'_>, out: &mut Vec<Proposal>) -> Result<usize, ProposalError> {
        out.clear();
        let picture = context.name.ok_or(ProposalError::Unnamed)?;
        let Some(boxes) = self.pictures.get(picture) else {
            return Err(ProposalError::UnknownPicture { path: self.path.clone(), picture: picture.to_owned() });
        };
        let (width, height) = (context.blob_width as f32, context.blob_height as f32);
        let mut non_finite = 0;
        for p in boxes {
            if out.len() == self.max {
                break;
            }
            let bbox = p.bbox.scaled(context.scale);
            if !bbox.is_finite() || !p.score.is_finite() {
                non_finite += 1;
            } else if bbox.x1 <= bbox.x2 && bbox.y1 <= bbox.y2 {
                out.push(Proposal { bbox: bbox.clip(width, height), score: p.score });
            }
        }
        Ok(non_finite)
    }

    fn set_max(&mut self, max: usize) {
        self.max = max;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn context(name: Option<&str>) -> ProposalContext<'_> {
        ProposalContext { name, blob_height: 100, blob_width: 200, scale: 2.0, rpn: None }
    }

    fn read(text: &str) -> Result<ProposalFile, ProposalError> {
        ProposalFile::read(text.as_bytes(), "boxes.jsonl".to_owned(), 2)
    }

    #[test]
    fn boxes_are_scaled_to_the_network_input_clipped_and_limited() {
        let mut file = read(
            "{\"image\":\"a\",\"boxes\":[[10,5,21,11],[9,9,5,5],[0,0,500,500],[1,1,9,9]]}\n\n{\"image\":\"b\",\"boxes\":[]}",
        )
        .unwrap();
        let mut out = Vec::new();
        assert_eq!(file.propose(&context(Some("a")), &mut out).unwrap(), 0);
        let boxes: Vec<BBox> = out.iter().map(|p| p.bbox).collect();
        assert_eq!(boxes, [BBox::new(20.0, 10.0, 40.0, 20.0), BBox::new(0.0, 0.0, 199.0, 99.0)]);
        file.propose(&context(Some("b")), &mut out).unwrap();
        assert!(out.is_empty());
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        for (text, reason) in [
            ("{\"image\":\"a\",\"boxes\":[[1,2,3]]}", "line 1"),
            ("{\"image\":\"a\",\"boxes\":[]}\n{\"image\":\"a\",\"boxes\":[]}", "line 2"),
            ("{\"image\":\"a\",\"boxes\":[[1,2,3,4]],\"scores\":[]}", "0 scores for 1 boxes"),
            ("{\"image\":\"a\",\"bboxes\":[]}", "bboxes"),
        ] {
            let e = read(text).unwrap_err().to_string();
            assert!(e.contains("boxes.jsonl") && e.contains(reason), "{e}");
        }
        let e = read("").unwrap().propose(&context(Some("x")), &mut Vec::new()).unwrap_err();
        assert!(e.to_string().contains("\"x\""), "{e}");
        assert!(read("").unwrap().propose(&context(None), &mut Vec::new()).is_err());
    }
}
