//! The kernel's calls for video devices, each as a safe function. Interrupted calls are made again.

#![allow(unsafe_code, reason = "the kernel's interface")]

use std::fs::OpenOptions;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::OFlags;
use v4l::v4l_sys as sys;
use v4l::v4l2::vidioc::{self, _IOC_TYPE};

use super::super::FourCc;

const CAPTURE: u32 = sys::v4l2_buf_type_V4L2_BUF_TYPE_VIDEO_CAPTURE;
const MAPPED: u32 = sys::v4l2_memory_V4L2_MEMORY_MMAP;

/// Structures of the kernel in which zeros everywhere are a value.
///
/// # Safety
///
/// All fields are integers, arrays and unions of integers, or raw pointers.
unsafe trait Plain {}

macro_rules! plain {
    ($($name:ident),*) => {$(
        // SAFETY: linux/videodev2.h declares it of integers and of arrays and unions of them; v4l2_buffer and v4l2_format
        // have raw pointers in unions besides.
        unsafe impl Plain for sys::$name {}
    )*};
}

plain!(v4l2_capability, v4l2_fmtdesc, v4l2_frmsizeenum, v4l2_frmivalenum, v4l2_format, v4l2_streamparm);
plain!(v4l2_requestbuffers, v4l2_buffer, v4l2_queryctrl, v4l2_control);

fn zeros<T: Plain>() -> T {
    // SAFETY: zeros everywhere are a value of every plain structure.
    unsafe { mem::zeroed() }
}

/// An open video device.
#[derive(Debug)]
pub struct Node(OwnedFd);

impl AsFd for Node {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// What a device says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    pub driver: String,
    pub card: String,
    pub bus: String,
    pub captures: bool,
    pub captures_in_planes: bool,
    pub streams: bool,
}

/// A format as the driver has set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    pub fourcc: FourCc,
    pub size: (u32, u32),
    /// Bytes from row to row; 0 if the driver does not say.
    pub stride: u32,
    pub full_range: bool,
}

/// Where a buffer is.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    pub offset: u32,
    pub length: u32,
}

/// A buffer as it came out of the queue.
#[derive(Debug, Clone, Copy)]
pub struct Taken {
    pub index: u32,
    pub bytes: u32,
    pub sequence: u32,
    pub stamp: Option<Duration>,
    pub damaged: bool,
}

/// A control.
#[derive(Debug, Clone)]
pub struct ControlInfo {
    pub id: u32,
    pub kind: u32,
    pub name: String,
    pub min: i32,
    pub max: i32,
    pub step: i32,
    pub default: i32,
    pub disabled: bool,
}

impl Node {
    /// Opens a device such that no call waits.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::NONBLOCK.bits() as i32;
        OpenOptions::new().read(true).write(true).custom_flags(flags).open(path).map(|file| Self(file.into()))
    }

    /// # Safety
    ///
    /// `request` is a call that takes a pointer to a `T` and neither keeps it nor follows pointers inside of it.
    unsafe fn call<T>(&self, request: _IOC_TYPE, argument: &mut T) -> io::Result<()> {
        loop {
            // SAFETY: the file is open as long as `self`, and the caller promises that the pointer fits the request.
            let done = unsafe { v4l::v4l2::ioctl(self.0.as_raw_fd(), request, (&raw mut *argument).cast()) };
            match done {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// What the device is.
    pub fn about(&self) -> io::Result<About> {
        let mut about: sys::v4l2_capability = zeros();
        // SAFETY: QUERYCAP takes a v4l2_capability, which holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_QUERYCAP, &mut about) }?;
        let has_own = about.capabilities & sys::V4L2_CAP_DEVICE_CAPS != 0;
        let can = if has_own { about.device_caps } else { about.capabilities };
        Ok(About {
            driver: text(&about.driver),
            card: text(&about.card),
            bus: text(&about.bus_info),
            captures: can & sys::V4L2_CAP_VIDEO_CAPTURE != 0,
            captures_in_planes: can & sys::V4L2_CAP_VIDEO_CAPTURE_MPLANE != 0,
            streams: can & sys::V4L2_CAP_STREAMING != 0,
        })
    }

    /// The format number `index` and its description; `None` after the last.
    pub fn format_offer(&self, index: u32) -> io::Result<Option<(FourCc, String)>> {
        let mut offer = sys::v4l2_fmtdesc { index, type_: CAPTURE, ..zeros() };
        // SAFETY: ENUM_FMT takes a v4l2_fmtdesc, which holds no pointers.
        let there = listed(unsafe { self.call(vidioc::VIDIOC_ENUM_FMT, &mut offer) })?;
        Ok(there.then(|| (FourCc::from_u32(offer.pixelformat), text(&offer.description))))
    }

    /// The size number `index` of a format: least, most, step; `None` after the last.
    pub fn size_offer(&self, format: FourCc, index: u32) -> io::Result<Option<[(u32, u32); 3]>> {
        let mut offer = sys::v4l2_frmsizeenum { index, pixel_format: format.to_u32(), ..zeros() };
        // SAFETY: ENUM_FRAMESIZES takes a v4l2_frmsizeenum, which holds no pointers.
        if !listed(unsafe { self.call(vidioc::VIDIOC_ENUM_FRAMESIZES, &mut offer) })? {
            return Ok(None);
        }
        if offer.type_ == sys::v4l2_frmsizetypes_V4L2_FRMSIZE_TYPE_DISCRETE {
            // SAFETY: the type says that this member was written; any integers are valid.
            let one = unsafe { offer.__bindgen_anon_1.discrete };
            return Ok(Some([(one.width, one.height), (one.width, one.height), (1, 1)]));
        }
        // SAFETY: all other types write this member; any integers are valid.
        let s = unsafe { offer.__bindgen_anon_1.stepwise };
        Ok(Some([(s.min_width, s.min_height), (s.max_width, s.max_height), (s.step_width, s.step_height)]))
    }

    /// The shortest time between frames of the interval number `index`, as a fraction of a second; `None` after the last.
    pub fn interval_offer(&self, format: FourCc, size: (u32, u32), index: u32) -> io::Result<Option<(u32, u32)>> {
        let (pixel_format, (width, height)) = (format.to_u32(), size);
        let mut offer = sys::v4l2_frmivalenum { index, pixel_format, width, height, ..zeros() };
        // SAFETY: ENUM_FRAMEINTERVALS takes a v4l2_frmivalenum, which holds no pointers.
        if !listed(unsafe { self.call(vidioc::VIDIOC_ENUM_FRAMEINTERVALS, &mut offer) })? {
            return Ok(None);
        }
        let discrete = offer.type_ == sys::v4l2_frmivaltypes_V4L2_FRMIVAL_TYPE_DISCRETE;
        // SAFETY: the type says which member was written; any integers are valid.
        let f = unsafe { if discrete { offer.__bindgen_anon_1.discrete } else { offer.__bindgen_anon_1.stepwise.min } };
        Ok(Some((f.numerator, f.denominator)))
    }

    /// Sets format and size, tells what the driver made of it.
    pub fn set_format(&self, fourcc: FourCc, size: (u32, u32)) -> io::Result<Format> {
        let mut format = sys::v4l2_format { type_: CAPTURE, ..zeros() };
        // Starting from what is set keeps colours and the like.
        // SAFETY: G_FMT takes a v4l2_format; for this type it holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_G_FMT, &mut format) }?;
        // SAFETY: for this type the kernel has written `pix`; any integers are valid.
        let mut pix = unsafe { format.fmt.pix };
        (pix.width, pix.height, pix.pixelformat) = (size.0, size.1, fourcc.to_u32());
        // The driver works these out; what another program has left there would be taken as a wish.
        (pix.bytesperline, pix.sizeimage) = (0, 0);
        pix.field = sys::v4l2_field_V4L2_FIELD_ANY;
        format.fmt.pix = pix;
        // SAFETY: S_FMT takes a v4l2_format; for this type it holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_S_FMT, &mut format) }?;
        // SAFETY: as above.
        let pix = unsafe { format.fmt.pix };
        let full_range = match pix.quantization {
            sys::v4l2_quantization_V4L2_QUANTIZATION_FULL_RANGE => true,
            sys::v4l2_quantization_V4L2_QUANTIZATION_DEFAULT => {
                pix.colorspace == sys::v4l2_colorspace_V4L2_COLORSPACE_JPEG
            }
            _ => false,
        };
        let fourcc = FourCc::from_u32(pix.pixelformat);
        Ok(Format { fourcc, size: (pix.width, pix.height), stride: pix.bytesperline, full_range })
    }

    /// Time between frames as a fraction of a second; `None` if the driver does not say.
    pub fn interval(&self) -> io::Result<Option<(u32, u32)>> {
        let mut parameters = sys::v4l2_streamparm { type_: CAPTURE, ..zeros() };
        // SAFETY: G_PARM takes a v4l2_streamparm, which holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_G_PARM, &mut parameters) }?;
        // SAFETY: for this type the kernel has written `capture`; any integers are valid.
        let time = unsafe { parameters.parm.capture.timeperframe };
        Ok((time.numerator != 0 && time.denominator != 0).then_some((time.numerator, time.denominator)))
    }

    /// Asks for a time between frames.
    pub fn set_interval(&self, (numerator, denominator): (u32, u32)) -> io::Result<()> {
        let mut parameters = sys::v4l2_streamparm { type_: CAPTURE, ..zeros() };
        parameters.parm.capture.timeperframe = sys::v4l2_fract { numerator, denominator };
        // SAFETY: S_PARM takes a v4l2_streamparm, which holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_S_PARM, &mut parameters) }
    }

    /// The control after the one with this number; `None` after the last.
    pub fn control_after(&self, id: u32) -> io::Result<Option<ControlInfo>> {
        let mut control = sys::v4l2_queryctrl { id: id | sys::V4L2_CTRL_FLAG_NEXT_CTRL, ..zeros() };
        // SAFETY: QUERYCTRL takes a v4l2_queryctrl, which holds no pointers.
        let there = listed(unsafe { self.call(vidioc::VIDIOC_QUERYCTRL, &mut control) })?;
        Ok(there.then(|| ControlInfo {
            id: control.id,
            kind: control.type_,
            name: text(&control.name),
            min: control.minimum,
            max: control.maximum,
            step: control.step,
            default: control.default_value,
            disabled: control.flags & sys::V4L2_CTRL_FLAG_DISABLED != 0,
        }))
    }

    /// The value of a control.
    pub fn control(&self, id: u32) -> io::Result<i32> {
        let mut control = sys::v4l2_control { id, ..zeros() };
        // SAFETY: G_CTRL takes a v4l2_control, which holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_G_CTRL, &mut control) }?;
        Ok(control.value)
    }

    /// Sets a control.
    pub fn set_control(&self, id: u32, value: i32) -> io::Result<()> {
        let mut control = sys::v4l2_control { id, value };
        // SAFETY: S_CTRL takes a v4l2_control, which holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_S_CTRL, &mut control) }
    }

    /// Asks for buffers, tells how many there are.
    pub fn request_buffers(&self, count: u32) -> io::Result<u32> {
        let mut request = sys::v4l2_requestbuffers { count, type_: CAPTURE, memory: MAPPED, ..zeros() };
        // SAFETY: REQBUFS takes a v4l2_requestbuffers, which holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_REQBUFS, &mut request) }?;
        Ok(request.count)
    }

    /// Where a buffer is to be mapped from.
    pub fn place(&self, index: u32) -> io::Result<Place> {
        let mut buffer = sys::v4l2_buffer { index, type_: CAPTURE, memory: MAPPED, ..zeros() };
        // SAFETY: QUERYBUF takes a v4l2_buffer; for this type and memory it holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_QUERYBUF, &mut buffer) }?;
        // SAFETY: for mapped memory the kernel has written `offset`.
        Ok(Place { offset: unsafe { buffer.m.offset }, length: buffer.length })
    }

    /// Gives a buffer to the driver.
    pub fn queue(&self, index: u32) -> io::Result<()> {
        let mut buffer = sys::v4l2_buffer { index, type_: CAPTURE, memory: MAPPED, ..zeros() };
        // SAFETY: QBUF takes a v4l2_buffer; for this type and memory it holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_QBUF, &mut buffer) }
    }

    /// Takes a filled buffer from the driver.
    pub fn dequeue(&self) -> io::Result<Taken> {
        let mut buffer = sys::v4l2_buffer { type_: CAPTURE, memory: MAPPED, ..zeros() };
        // SAFETY: DQBUF takes a v4l2_buffer; for this type and memory it holds no pointers.
        unsafe { self.call(vidioc::VIDIOC_DQBUF, &mut buffer) }?;
        let clock = buffer.flags & sys::V4L2_BUF_FLAG_TIMESTAMP_MASK;
        let seconds = u64::try_from(buffer.timestamp.tv_sec).ok();
        let micros = u64::try_from(buffer.timestamp.tv_usec).ok();
        let stamp = seconds.zip(micros).map(|(s, us)| Duration::from_secs(s) + Duration::from_micros(us));
        Ok(Taken {
            index: buffer.index,
            bytes: buffer.bytesused,
            sequence: buffer.sequence,
            stamp: stamp.filter(|_| clock == sys::V4L2_BUF_FLAG_TIMESTAMP_MONOTONIC),
            damaged: buffer.flags & sys::V4L2_BUF_FLAG_ERROR != 0,
        })
    }

    /// Starts the camera.
    pub fn stream_on(&self) -> io::Result<()> {
        // SAFETY: STREAMON takes an int with the buffer type.
        unsafe { self.call(vidioc::VIDIOC_STREAMON, &mut CAPTURE.clone()) }
    }

    /// Stops the camera.
    pub fn stream_off(&self) -> io::Result<()> {
        // SAFETY: STREAMOFF takes an int with the buffer type.
        unsafe { self.call(vidioc::VIDIOC_STREAMOFF, &mut CAPTURE.clone()) }
    }
}

/// One step through a list: EINVAL is its end, and a driver without the call has an empty one.
fn listed(result: io::Result<()>) -> io::Result<bool> {
    use rustix::io::Errno;
    match result {
        Ok(()) => Ok(true),
        Err(e) if matches!(Errno::from_io_error(&e), Some(Errno::INVAL | Errno::NOTTY | Errno::NODATA)) => Ok(false),
        Err(e) => Err(e),
    }
}

/// A text of the kernel, which ends with a zero byte and need not be UTF-8.
fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|&b| b == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_of_drivers_end_at_their_zero_and_may_be_cut_within_a_letter() {
        assert_eq!(text(b"USB Camera\0\xFFrest"), "USB Camera");
        assert_eq!(text("Caméra".as_bytes().split_at(4).0), "Cam\u{FFFD}");
        assert_eq!(text(b""), "");
    }
}
