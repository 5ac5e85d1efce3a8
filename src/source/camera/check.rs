//! Is what the driver has filled in a frame? And how many has it lost before?

use super::Filled;
use crate::frame::Layout;
use crate::source::mjpeg::Cutter;
use crate::source::stream::Part;
use crate::source::{Flaw, Frame};

/// Copies a good frame out of the driver's buffer; says what is wrong with a bad one.
///
/// Of a JPEG only the picture itself is taken: cameras fill the rest of the buffer with zeros or with what was there
/// before. A raw frame may be followed by such padding, but not be shorter than its format says.
pub fn fill(filled: &Filled<'_>, layout: Layout, frame: &mut Frame) -> Result<(), (Flaw, String)> {
    let got = filled.bytes.len();
    if got == 0 {
        return Err((Flaw::Empty, "is empty".into()));
    }
    if filled.damaged {
        return Err((Flaw::Damaged, "is marked as damaged by the driver".into()));
    }
    frame.layout = layout;
    let Some(wanted) = layout.bytes() else {
        return picture(filled.bytes, &mut frame.bytes);
    };
    if got < wanted {
        let (format, width, height) = (layout.format.name(), layout.width, layout.height);
        return Err((Flaw::Size, format!("has {got} of the {wanted} bytes of {width}x{height} {format}")));
    }
    frame.bytes.clear();
    frame.bytes.extend_from_slice(&filled.bytes[..wanted]);
    Ok(())
}

fn picture(mut bytes: &[u8], to: &mut Vec<u8>) -> Result<(), (Flaw, String)> {
    let length = bytes.len();
    if !bytes.starts_with(&[0xFF, 0xD8]) {
        return Err((Flaw::NotJpeg, format!("is no JPEG: its {length} bytes do not start as one")));
    }
    match Cutter::default().frame(&mut bytes, to) {
        Ok(Part::Whole(_)) => Ok(()),
        // Memory does not fail to be read.
        Ok(Part::Lost(_) | Part::End) | Err(_) => {
            Err((Flaw::CutOff, format!("is a JPEG that breaks off within its {length} bytes")))
        }
    }
}

/// The driver's numbers, which have 32 bits, as numbers that do not wrap.
#[derive(Debug, Default)]
pub struct Sequence {
    /// The driver's and our number of the last frame.
    last: Option<(u32, u64)>,
}

/// Larger gaps are a driver that has started anew, not frames lost.
const MOST_LOST: u32 = 10_000;

impl Sequence {
    /// Our number for a frame, and how many the driver has lost before it.
    pub fn next(&mut self, driver: u32) -> (u64, u64) {
        let (seq, lost) = match self.last {
            None => (u64::from(driver), 0),
            Some((last, ours)) => match driver.wrapping_sub(last) {
                step @ 1..=MOST_LOST => (ours + u64::from(step), u64::from(step - 1)),
                // It does not count, or starts anew.
                _ => (ours + 1, 0),
            },
        };
        self.last = Some((driver, seq));
        (seq, lost)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::frame::PixelFormat;

    fn judged(bytes: &[u8], damaged: bool, layout: Layout) -> Result<Vec<u8>, Flaw> {
        let mut frame = Frame::default();
        let filled = Filled { bytes, sequence: 0, stamp: None, damaged };
        fill(&filled, layout, &mut frame).map(|()| frame.bytes).map_err(|(flaw, _)| flaw)
    }

    /// USERS case 7.
    #[test]
    fn case_07_bad_buffers_are_told_apart() {
        let gray = Layout::new(PixelFormat::Gray, 4, 2);
        assert_eq!(judged(b"", false, gray), Err(Flaw::Empty));
        assert_eq!(judged(b"", false, Layout::ENCODED), Err(Flaw::Empty));
        assert_eq!(judged(b"1234567", false, gray), Err(Flaw::Size));
        assert_eq!(judged(b"12345678", true, gray), Err(Flaw::Damaged));
        assert_eq!(judged(b"12345678", false, gray).unwrap(), b"12345678");
        assert_eq!(judged(b"12345678 and padding", false, gray).unwrap(), b"12345678");

        let jpeg = b"\xFF\xD8\xFF\xC4\0\x03t\xFF\xDA\0\x03xdata\xFF\xD9";
        assert_eq!(judged(jpeg, false, Layout::ENCODED).unwrap(), jpeg);
        let padded = [&jpeg[..], &[0; 9], jpeg].concat();
        assert_eq!(judged(&padded, false, Layout::ENCODED).unwrap(), jpeg);
        assert_eq!(judged(b"YUYVYUYV", false, Layout::ENCODED), Err(Flaw::NotJpeg));
        for end in 2..jpeg.len() {
            assert_eq!(judged(&jpeg[..end], false, Layout::ENCODED), Err(Flaw::CutOff), "{end}");
        }
    }

    #[test]
    fn numbers_go_on_over_wraps_and_gaps_are_counted() {
        let mut sequence = Sequence::default();
        let mut next = |driver| sequence.next(driver);
        assert_eq!(next(u32::MAX - 1), (4_294_967_294, 0));
        assert_eq!(next(u32::MAX), (4_294_967_295, 0));
        assert_eq!(next(2), (4_294_967_298, 2));
        assert_eq!(next(2), (4_294_967_299, 0), "a driver that does not count");
        assert_eq!(next(1), (4_294_967_300, 0), "a driver that starts anew");
    }

    proptest::proptest! {
        /// USERS case 7.
        #[test]
        fn case_07_no_bytes_break_the_check(bytes in proptest::collection::vec(0u8.., 0..200), start in 0usize..3) {
            let start = [&b""[..], b"\xFF\xD8", b"\xFF\xD8\xFF\xC4\0\x03t\xFF\xDA\0\x02"][start];
            let bytes = [start, &bytes].concat();
            if let Ok(picture) = judged(&bytes, false, Layout::ENCODED) {
                proptest::prop_assert!(picture.ends_with(&[0xFF, 0xD9]));
            }
        }
    }
}
