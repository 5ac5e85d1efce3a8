//! The real driver: V4L2 cameras with memory-mapped buffers.
//!
//! | file | what it holds |
//! |---|---|
//! | `calls.rs` | the kernel's calls, each as a safe function |
//! | `buffers.rs` | mapped buffers, the queue, start and stop |
//! | `offers.rs` | formats, sizes, rates |
//! | `controls.rs` | controls by name |
//! | `list.rs` | all cameras of the system, for people |
//!
//! The crate `v4l` gives the kernel's structures and the numbers of the calls. Its own stream is not used: it panics when
//! a camera breaks down while it is being closed, on texts of drivers that are not UTF-8 and on controls of a kind it does
//! not know, and a signal leaves it in a state it does not come out of.

mod buffers;
mod calls;
mod controls;
mod list;
mod offers;

use std::fs;
use std::io;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};

pub use controls::{Control, control_name};
pub use list::{Found, list};

use super::choose::{self, Choice, Offer};
use super::{Device, Driver, Filled, Granted, Trouble, Wanted};
use crate::frame::{Layout, PixelFormat};
use buffers::Buffers;
use calls::Node;

/// Opens V4L2 cameras.
#[derive(Debug, Clone, Copy, Default)]
pub struct V4l2;

impl Driver for V4l2 {
    fn open(&mut self, wanted: &Wanted) -> Result<Box<dyn Device>, Trouble> {
        let name = wanted.path.display().to_string();
        let failed = |what: &'static str| {
            let name = name.clone();
            move |e: io::Error| Trouble::from_io(&name, what, &e)
        };
        let node = Node::open(&wanted.path).map_err(failed("cannot be opened"))?;
        let card = camera(&node, &name)?;
        let offers = offers::all(&node, choose::wanted_size(wanted)).map_err(failed("its formats cannot be listed"))?;
        let choice = choose::choose(&offers, wanted).ok_or_else(|| refused(&name, wanted, &offers))?;
        let format = node.set_format(choice.fourcc, choice.size).map_err(failed("the format is refused"))?;
        let layout = layout(&name, &choice, &format, &offers)?;
        let fps = offers::set_rate(&node, wanted.fps);
        controls::set(&node, &name, &wanted.controls)?;
        let device = fs::canonicalize(&wanted.path).unwrap_or_else(|_| wanted.path.clone());
        let granted = Granted { device, card, fourcc: format.fourcc, size: format.size, layout, fps };
        if let Some(difference) = choose::difference(wanted, &granted) {
            log::warn!("{name}: the camera gives {difference}; `edge-rcnn cameras` lists what it can");
        }
        let buffers = Buffers::start(node).map_err(failed("cannot be started"))?;
        Ok(Box::new(Open { buffers, granted }))
    }
}

/// The name of the camera behind a node, if one is there that we can use.
fn camera(node: &Node, name: &str) -> Result<String, Trouble> {
    let about = node.about().map_err(|e| Trouble::from_io(name, "does not answer as a camera", &e))?;
    let why = if about.captures && about.streams {
        return Ok(about.card);
    } else if about.captures_in_planes {
        "gives its pixels in several memory planes, which this program does not read; use it through libcamera or \
         `ffmpeg … | edge-rcnn run --source -`"
    } else if about.captures {
        "cannot stream through mapped memory; use it through `ffmpeg … | edge-rcnn run --source -`"
    } else {
        "gives no pictures: it is an output, a decoder, the second node of a camera, or a loopback into which nobody \
         writes; `edge-rcnn cameras` lists the cameras"
    };
    Err(Trouble::other("NOT_A_CAMERA", format!("{name}: {} {why}", about.card)))
}

fn refused(name: &str, wanted: &Wanted, offers: &[Offer]) -> Trouble {
    let format = wanted.format.map_or("a format this program reads", PixelFormat::name);
    let listed = choose::listed(offers);
    let listed = if listed.is_empty() { "no format at all" } else { &listed };
    Trouble::other("FORMAT", format!("{name}: does not give {format}; it offers {listed}"))
}

/// What the bytes are, from what the driver says it has set.
fn layout(name: &str, choice: &Choice, format: &calls::Format, offers: &[Offer]) -> Result<Layout, Trouble> {
    let (width, height) = (format.size.0 as usize, format.size.1 as usize);
    let Some(pixels) = choose::pixel_format(format.fourcc).filter(|_| width > 0 && height > 0) else {
        let (asked, got, listed) = (choice.fourcc, format.fourcc, choose::listed(offers));
        let message =
            format!("{name}: the driver has set {got} {width}x{height} instead of {asked}; it offers {listed}");
        return Err(Trouble::other("FORMAT", message));
    };
    if pixels == PixelFormat::Encoded {
        return Ok(Layout::ENCODED);
    }
    let tight = Layout::new(pixels, width, height);
    // Some drivers leave the stride open: the rows then follow each other.
    let stride = if format.stride == 0 { tight.stride } else { format.stride as usize };
    let layout = Layout { stride, full_range: format.full_range, ..tight };
    match stride >= tight.stride {
        true => Ok(layout),
        false => {
            let why =
                format!("{name}: the driver says {stride} bytes a row, less than {width} pixels of {pixels:?} take");
            Err(Trouble::other("FORMAT", why))
        }
    }
}

/// A camera that streams.
struct Open {
    buffers: Buffers,
    granted: Granted,
}

impl Device for Open {
    fn granted(&self) -> &Granted {
        &self.granted
    }

    fn next(&mut self, most: Duration) -> io::Result<Option<Filled<'_>>> {
        self.buffers.give_back()?;
        let mut files = [PollFd::new(self.buffers.node(), PollFlags::IN)];
        let most = i32::try_from(most.as_millis()).unwrap_or(i32::MAX);
        // What an error condition means, taking the buffer will say.
        match poll(&mut files, most)? {
            0 => Ok(None),
            _ => self.buffers.take().map(Some),
        }
    }
}
