//! What can be wrong with a picture, and what to do about it.

use std::io;
use std::path::PathBuf;

/// Why a picture file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PictureError {
    /// The file could not be opened or read.
    #[error("{}: cannot be read: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The path names a folder.
    #[error("{}: is a folder, not a picture; name the files in it", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
    },
    /// The file was read, but what it holds is no usable picture.
    #[error("{}: {source}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// What is wrong with its content.
        source: DecodeError,
    },
}

/// Why bytes are no usable picture.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// There are no bytes.
    #[error("is empty; copy it again from where it came")]
    Empty,
    /// Another kind of picture, or none at all.
    #[error("is {what}; only JPEG, PNG and WebP pictures are read: convert it first")]
    NotAPicture {
        /// What it looks like.
        what: String,
    },
    /// More pixels or bytes than this program is willing to hold in memory.
    #[error("{what} is more than the {limit} this program decodes; scale the picture down first")]
    TooLarge {
        /// The size that was asked for.
        what: String,
        /// The size that would be allowed.
        limit: String,
    },
    /// The picture breaks off.
    #[error("is cut off: the {format} ends before its last part; copy it again from where it came")]
    CutOff {
        /// JPEG, PNG or WebP.
        format: &'static str,
    },
    /// The picture breaks the rules of its format, or uses a part of it that nobody implements.
    #[error("is a {format} that cannot be decoded ({reason}); save it again with another program")]
    Damaged {
        /// JPEG, PNG or WebP.
        format: &'static str,
        /// What the decoder said.
        reason: String,
    },
    /// A raw frame is shorter than its size asks for.
    #[error(
        "has {got} bytes where a {format} frame of {width}×{height} with rows of {stride} bytes has {wanted}; give the \
         size and format that the writer sends"
    )]
    FrameSize {
        /// Name of the pixel format.
        format: &'static str,
        /// Columns.
        width: usize,
        /// Rows.
        height: usize,
        /// Bytes from row to row.
        stride: usize,
        /// Bytes such a frame has.
        wanted: usize,
        /// Bytes there are.
        got: usize,
    },
}
