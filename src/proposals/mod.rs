//! Where to look: boxes of the network input that may hold an object, best first.
//!
//! One trait, three sources: the [RPN](rpn) of the network itself (Faster R-CNN), a [file](from_file) of boxes computed
//! elsewhere (R-CNN and Fast R-CNN used selective search that way), and a [dense] grid that needs nothing.

pub mod dense;
pub mod from_file;
pub mod rpn;

use crate::boxes::BBox;

pub use dense::Dense;
pub use from_file::ProposalFile;
pub use rpn::{ProposeScratch, Rpn, RpnParams, propose, propose_into};

/// A box of the network input that may hold an object.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Proposal {
    /// Pixels of the network input, inside it.
    pub bbox: BBox,
    /// Objectness in 0…1, comparable only within one source.
    pub score: f32,
}

/// The maps the RPN computed for one picture, channels outermost.
#[derive(Debug, Clone, Copy)]
pub struct RpnMaps<'a> {
    /// 2·A planes: A of background, then A of object, before the softmax.
    pub scores: &'a [f32],
    /// 4·A planes: (dx, dy, dw, dh) of the first anchor, then of the next.
    pub deltas: &'a [f32],
    /// Rows of each plane.
    pub rows: usize,
    /// Columns of each plane.
    pub cols: usize,
}

/// What a source may know about the picture.
#[derive(Debug, Clone, Copy)]
pub struct ProposalContext<'a> {
    /// Name of the picture, where it has one.
    pub name: Option<&'a str>,
    /// Rows of the network input.
    pub blob_height: usize,
    /// Columns of the network input.
    pub blob_width: usize,
    /// Network input pixels per picture pixel.
    pub scale: f32,
    /// The RPN's maps, where the network has an RPN.
    pub rpn: Option<RpnMaps<'a>>,
}

/// Something that proposes boxes for a picture.
pub trait ProposalSource: Send {
    /// A word for logs.
    fn name(&self) -> &'static str;

    /// Replaces the contents of `out` by the proposals for one picture, best first. Returns how many candidates were
    /// left out because they were not finite numbers.
    fn propose(&mut self, context: &ProposalContext<'_>, out: &mut Vec<Proposal>) -> Result<usize, ProposalError>;

    /// Limits the proposals per picture, for example to stay inside a time budget.
    fn set_max(&mut self, max: usize);
}

/// Why there are no proposals.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ProposalError {
    /// The RPN was asked, but the network has none.
    #[error("the model has no RPN; give it another proposal source (a file of boxes, or the dense grid)")]
    NoRpn,
    /// The RPN's maps do not fit the anchors.
    #[error(
        "RPN {map} map: {got} values, but {anchors} anchors on {rows}×{cols} cells need {want}; the anchors in model.toml \
         must be those the network was trained with"
    )]
    MapSize {
        /// Which of the two maps.
        map: &'static str,
        /// Values in the map.
        got: usize,
        /// Values the anchors need.
        want: usize,
        /// Anchors per cell.
        anchors: usize,
        /// Rows of the map.
        rows: usize,
        /// Columns of the map.
        cols: usize,
    },
    /// A proposal file could not be read.
    #[error("{path}: cannot read the proposal file: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line of a proposal file is wrong.
    #[error("{path}, line {line}: {reason}; expected {{\"image\":NAME,\"boxes\":[[x1,y1,x2,y2],…]}}")]
    Line {
        /// The file.
        path: String,
        /// Line number from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// The file has no line for the picture.
    #[error("{path}: no boxes for picture \"{picture}\"; add a line for it")]
    UnknownPicture {
        /// The file.
        path: String,
        /// The picture asked for.
        picture: String,
    },
    /// Proposals from a file need the picture's name.
    #[error("proposals from a file need the name of the picture, and this picture has none")]
    Unnamed,
}
