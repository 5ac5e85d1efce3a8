//! Motion JPEG: pictures one after another, with anything between them (the headers of an HTTP stream, padding).
//!
//! The ends are found by reading the markers, so that a preview picture inside of the EXIF part, which is a JPEG of its
//! own, does not end the picture around it. A picture that breaks off where another begins is told and left out. One that
//! leaves out its Huffman tables, as those of many cameras do, gets the standard's.

use std::io::{self, BufRead, Read};

use super::huffman::STANDARD;
use super::stream::Part;
use crate::frame::Layout;

/// A picture that is longer has lost its end.
const MAX_BYTES: usize = 64 << 20;

const SOI: u8 = 0xD8;
const EOI: u8 = 0xD9;
const SOS: u8 = 0xDA;
const DHT: u8 = 0xC4;

/// Cuts a stream into pictures.
#[derive(Debug, Default)]
pub struct Cutter {
    /// The start of the next picture was read already, at the broken end of the last.
    begun: bool,
}

impl Cutter {
    /// Reads one picture.
    pub fn frame(&mut self, input: &mut dyn BufRead, to: &mut Vec<u8>) -> io::Result<Part> {
        to.clear();
        if !std::mem::take(&mut self.begun) && !skip_to_start(input)? {
            return Ok(Part::End);
        }
        to.extend([0xFF, SOI]);
        let (mut in_scan, mut has_tables) = (false, false);
        while let Some(marker) = marker(input, to, in_scan)? {
            match marker {
                EOI => return Ok(Part::Whole(Layout::ENCODED)),
                SOI => {
                    self.begun = true;
                    return Ok(Part::Lost("a JPEG breaks off where the next begins".into()));
                }
                // Markers without content.
                0x01 | 0xD0..=0xD7 => {}
                _ => {
                    in_scan = marker == SOS;
                    if in_scan && !has_tables {
                        to.truncate(to.len() - 2);
                        to.extend(STANDARD);
                        to.extend([0xFF, SOS]);
                    }
                    has_tables |= in_scan || marker == DHT;
                    if !segment(input, to)? {
                        break;
                    }
                }
            }
            if to.len() > MAX_BYTES {
                return Ok(Part::Lost(format!("a JPEG has no end within {} MiB", MAX_BYTES >> 20)));
            }
        }
        Ok(Part::Lost("the last JPEG is cut off".into()))
    }
}

/// Skips everything up to and including the next start of a picture; false if there is none.
fn skip_to_start(input: &mut dyn BufRead) -> io::Result<bool> {
    let mut after_ff = false;
    while let Some(byte) = one(input)? {
        if after_ff && byte == SOI {
            return Ok(true);
        }
        after_ff = byte == 0xFF;
    }
    Ok(false)
}

/// Copies up to and including the next marker. In a scan, 0xFF followed by 0 is data, and restarts belong to it.
fn marker(input: &mut dyn BufRead, to: &mut Vec<u8>, in_scan: bool) -> io::Result<Option<u8>> {
    loop {
        input.take(MAX_BYTES as u64).read_until(0xFF, to)?;
        if to.last() != Some(&0xFF) {
            return Ok(None);
        }
        // 0xFF may be repeated as padding.
        let code = loop {
            let Some(byte) = one(input)? else { return Ok(None) };
            to.push(byte);
            if byte != 0xFF {
                break byte;
            }
        };
        if !(in_scan && matches!(code, 0 | 0xD0..=0xD7)) {
            return Ok(Some(code));
        }
        if to.len() > MAX_BYTES {
            return Ok(None);
        }
    }
}

/// Copies the content of a marker, whose length stands at its start; false if it is cut off.
fn segment(input: &mut dyn BufRead, to: &mut Vec<u8>) -> io::Result<bool> {
    let (Some(high), Some(low)) = (one(input)?, one(input)?) else { return Ok(false) };
    to.extend([high, low]);
    let rest = u64::from(u16::from_be_bytes([high, low])).saturating_sub(2);
    Ok(input.take(rest).read_to_end(to)? as u64 == rest)
}

fn one(input: &mut dyn BufRead) -> io::Result<Option<u8>> {
    let byte = input.fill_buf()?.first().copied();
    input.consume(usize::from(byte.is_some()));
    Ok(byte)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// As short as a picture can be: a part that holds a whole picture, a scan with a stuffed byte and a restart.
    const PICTURE: &[u8] =
        b"\xFF\xD8\xFF\xE1\0\x08\xFF\xD8\xFF\xD9ab\xFF\xC4\0\x03t\xFF\xFF\xDA\0\x03xdata\xFF\0more\xFF\xD0rest\xFF\xD9";

    fn pictures(mut input: &[u8]) -> (Vec<Vec<u8>>, Vec<String>) {
        let (mut cutter, mut whole, mut lost, mut to) = (Cutter::default(), Vec::new(), Vec::new(), Vec::new());
        loop {
            match cutter.frame(&mut input, &mut to).unwrap() {
                Part::Whole(_) => whole.push(to.clone()),
                Part::Lost(why) => lost.push(why),
                Part::End => return (whole, lost),
            }
        }
    }

    #[test]
    fn pictures_are_cut_at_their_own_ends_whatever_stands_between() {
        let stream = [b"--boundary\r\n\r\n", PICTURE, b"\r\n--boundary\xFF\r\n", PICTURE, PICTURE].concat();
        assert_eq!(pictures(&stream), (vec![PICTURE.to_vec(); 3], vec![]));
        assert_eq!(pictures(b""), (vec![], vec![]));
    }

    #[test]
    fn a_broken_picture_does_not_take_the_next_with_it() {
        let stream = [&PICTURE[..PICTURE.len() - 4], PICTURE, &PICTURE[..9]].concat();
        let (whole, lost) = pictures(&stream);
        assert_eq!(whole, [PICTURE]);
        assert_eq!(lost.len(), 2);
    }

    /// A picture of a camera, whose encoder uses the standard's tables, and the same without them.
    #[test]
    fn a_picture_without_huffman_tables_is_the_picture_with_them() {
        let picture =
            image::RgbImage::from_fn(40, 24, |x, y| image::Rgb([(6 * x) as u8, (9 * y) as u8, (x * y) as u8]));
        let mut whole = Vec::new();
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut whole, 90).encode_image(&picture).unwrap();
        let (mut without, mut at) = (whole[..2].to_vec(), 2);
        while whole[at + 1] != SOS {
            let end = at + 2 + usize::from(u16::from_be_bytes([whole[at + 2], whole[at + 3]]));
            if whole[at + 1] != DHT {
                without.extend_from_slice(&whole[at..end]);
            }
            at = end;
        }
        without.extend_from_slice(&whole[at..]);
        assert!(without.len() + STANDARD.len() <= whole.len() + 16 && image::load_from_memory(&without).is_err());
        let (mended, lost) = pictures(&without);
        assert_eq!((mended.len(), lost.len()), (1, 0));
        let decoded = |bytes: &[u8]| image::load_from_memory(bytes).unwrap().into_rgb8();
        assert_eq!(decoded(&mended[0]), decoded(&whole));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_come_to_an_end(bytes in proptest::collection::vec(0xD0u8.., 0..400)) {
            let (whole, lost) = pictures(&bytes);
            proptest::prop_assert!(whole.len() + lost.len() <= bytes.len());
        }
    }
}
