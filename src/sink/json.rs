//! One JSON object per line: what `edge-rcnn detect` writes on standard output.
//!
//! UTF-8, `\n` after each object, one write and one flush per line, nothing else on the stream. Each object starts with
//! its `type`; readers must ignore types and fields they do not know. A field without a value is left out, never null.
//! All numbers are finite.
//!
//! `"type":"image"`: one picture was looked at.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `path` | string | the file, as it was named (bytes that are not UTF-8 become U+FFFD) |
//! | `width`, `height` | integer | size of the upright picture in pixels, EXIF orientation applied |
//! | `scale` | number | network input pixels per picture pixel |
//! | `proposals` | integer, optional | regions the head looked at |
//! | `detections` | list | the objects, best score first; empty if there are none |
//! | `detections[].label` | string | class name |
//! | `detections[].class_id` | integer | class number, from 1 |
//! | `detections[].score` | number | 0…1, at most 4 decimals |
//! | `detections[].box` | `[x1, y1, x2, y2]` | pixels, origin top left, half-open: width = x2 − x1; `0 ≤ x1 < x2 ≤ width`, likewise y; at most 2 decimals |
//! | `dropped` | integer, optional | detections left out because a number in them was not finite or the box was empty |
//! | `stage_ms` | object | milliseconds per stage, in the order they ran |
//!
//! `"type":"error"`: a picture could not be looked at; the work goes on with the next.
//!
//! | field | type | meaning |
//! |---|---|---|
//! | `path` | string | the file |
//! | `message` | string | what is wrong and what to do |
//!
//! ```json
//! {"type":"image","path":"street.jpg","width":640,"height":480,"scale":1.25,"proposals":300,"detections":[{"label":"person","class_id":15,"score":0.9421,"box":[212.5,80.1,330.0,402.7]}],"stage_ms":{"decode":4.1,"trunk":141.9}}
//! {"type":"error","path":"empty.jpg","message":"empty.jpg: is empty; copy it again from where it came"}
//! ```

use std::io::{self, Write};
use std::path::Path;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::boxes::Rect;

/// An object found, with the name of its class.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Found<'a> {
    /// Class name.
    pub label: &'a str,
    /// Class number, from 1.
    pub class_id: usize,
    /// Score in 0…1.
    pub score: f32,
    /// Where, in pixels of the picture.
    pub rect: Rect,
}

/// What is said about one picture.
#[derive(Debug, Clone, Copy)]
pub struct Image<'a> {
    /// The file.
    pub path: &'a Path,
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Network input pixels per picture pixel.
    pub scale: f32,
    /// Regions the head looked at, if counted.
    pub proposals: Option<usize>,
    /// Best score first.
    pub found: &'a [Found<'a>],
    /// Detections left out already because a number was not finite.
    pub dropped: usize,
    /// Stage names and their milliseconds.
    pub stage_ms: &'a [(&'a str, f64)],
}

/// Writes lines to a stream.
#[derive(Debug)]
pub struct JsonLines<W> {
    out: W,
    line: Vec<u8>,
}

impl<W: Write> JsonLines<W> {
    /// Lines go to `out`, which should not buffer on its own: each is complete in one write.
    pub fn new(out: W) -> Self {
        Self { out, line: Vec::new() }
    }

    /// Writes an `image` line. A closed pipe comes back as [`io::ErrorKind::BrokenPipe`].
    pub fn image(&mut self, image: &Image<'_>) -> io::Result<()> {
        let detections: Vec<DetectionLine<'_>> =
            image.found.iter().filter_map(|f| DetectionLine::new(f, image.width, image.height)).collect();
        self.write(&Line::Image(ImageLine {
            path: image.path.to_string_lossy().as_ref(),
            width: image.width,
            height: image.height,
            scale: rounded(f64::from(image.scale), 6),
            proposals: image.proposals,
            dropped: image.dropped + image.found.len() - detections.len(),
            detections,
            stage_ms: StageTimes(image.stage_ms),
        }))
    }

    /// Writes an `error` line.
    pub fn error(&mut self, path: &Path, message: &str) -> io::Result<()> {
        self.write(&Line::Error { path: path.to_string_lossy().as_ref(), message })
    }

    /// Writes an object as one line.
    pub(super) fn write(&mut self, object: &impl Serialize) -> io::Result<()> {
        self.encode(object)?;
        self.send()
    }

    /// Puts an object's line together and tells its length.
    pub(super) fn encode(&mut self, object: &impl Serialize) -> io::Result<usize> {
        self.line.clear();
        serde_json::to_writer(&mut self.line, object)?;
        self.line.push(b'\n');
        Ok(self.line.len())
    }

    /// Writes the line put together last.
    pub(super) fn send(&mut self) -> io::Result<()> {
        self.out.write_all(&self.line)?;
        self.out.flush()
    }
}

#[derive(serde::Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Line<'a> {
    Image(ImageLine<'a>),
    Error { path: &'a str, message: &'a str },
}

#[derive(serde::Serialize)]
struct ImageLine<'a> {
    path: &'a str,
    width: usize,
    height: usize,
    scale: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    proposals: Option<usize>,
    detections: Vec<DetectionLine<'a>>,
    #[serde(skip_serializing_if = "is_zero")]
    dropped: usize,
    stage_ms: StageTimes<'a>,
}

#[derive(serde::Serialize)]
pub(super) struct DetectionLine<'a> {
    label: &'a str,
    class_id: usize,
    score: f64,
    #[serde(rename = "box")]
    corners: [f64; 4],
}

impl<'a> DetectionLine<'a> {
    /// The line's part for one detection; `None` if its numbers are not finite or nothing of its box is left.
    pub(super) fn new(found: &Found<'a>, width: usize, height: usize) -> Option<Self> {
        let Rect { x1, y1, x2, y2 } = found.rect;
        if ![x1, y1, x2, y2, found.score].iter().all(|v| v.is_finite()) {
            return None;
        }
        let inside = |v: f32, max: usize| rounded(f64::from(v).clamp(0.0, max as f64), 2);
        let corners = [inside(x1, width), inside(y1, height), inside(x2, width), inside(y2, height)];
        (corners[0] < corners[2] && corners[1] < corners[3]).then(|| Self {
            label: found.label,
            class_id: found.class_id,
            score: rounded(f64::from(found.score).clamp(0.0, 1.0), 4),
            corners,
        })
    }
}

/// Names and milliseconds as an object; those that are not finite are left out.
pub(super) struct StageTimes<'a>(pub &'a [(&'a str, f64)]);

impl Serialize for StageTimes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let finite = self.0.iter().filter(|(_, ms)| ms.is_finite());
        let mut map = serializer.serialize_map(None)?;
        for (stage, ms) in finite {
            map.serialize_entry(stage, &rounded(*ms, 2))?;
        }
        map.end()
    }
}

/// `serde` wants a reference here.
pub(super) fn is_zero(n: &usize) -> bool {
    *n == 0
}

pub(super) fn rounded(value: f64, decimals: i32) -> f64 {
    let unit = 10f64.powi(decimals);
    (value * unit).round() / unit
}

#[cfg(test)]
mod tests;
