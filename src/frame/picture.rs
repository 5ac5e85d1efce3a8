//! Picture files to upright RGB pixels.
//!
//! The pixels come out as people see the picture: turned as its EXIF orientation says, gray and palette pictures
//! spread over three channels, 16 bits rounded to 8, CMYK converted. Transparency is dropped, not blended: a
//! transparent pixel keeps the colour stored under it, as `cv::imread` gives it to the reference code. Of an animation
//! the first frame is taken. Colour profiles are ignored.

use std::fs::File;
use std::io::{Cursor, Read};
use std::path::Path;

use image::error::ImageError;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::error::{DecodeError, PictureError};

/// Larger pictures are refused before memory is taken for them: 100 million pixels, 300 MB as RGB.
pub const MAX_PIXELS: u64 = 100_000_000;

/// Larger files are refused: nothing with [`MAX_PIXELS`] pixels of 8 bytes needs more.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// So many bytes tell the format.
const SIGNATURE_BYTES: u64 = 64;

/// An upright picture, 8 bits of red, green and blue per pixel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// The pixels row by row, `[red, green, blue]` each, without padding.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// A picture from its pixels; `None` unless there are exactly `width·height·3` bytes, at least one pixel.
    pub fn new(width: usize, height: usize, rgb: Vec<u8>) -> Option<Self> {
        let bytes = width.checked_mul(height)?.checked_mul(3)?;
        (bytes > 0 && bytes == rgb.len()).then_some(Self { width, height, rgb })
    }

    /// Becomes the other picture. Takes memory only if it never held one as large.
    pub fn copy_from(&mut self, other: &Self) {
        (self.width, self.height) = (other.width, other.height);
        self.rgb.clone_from(&other.rgb);
    }

    /// Reads and decodes a file. The format is told from its content, not from its name.
    pub fn open(path: &Path) -> Result<Self, PictureError> {
        let read = |source| PictureError::Read { path: path.to_owned(), source };
        let decode = |source| PictureError::Decode { path: path.to_owned(), source };
        let mut file = File::open(path).map_err(read)?;
        if file.metadata().map_err(read)?.is_dir() {
            return Err(PictureError::Folder { path: path.to_owned() });
        }
        let mut bytes = Vec::new();
        // The first bytes alone, so that a film named by mistake is not read to its end.
        file.by_ref().take(SIGNATURE_BYTES).read_to_end(&mut bytes).map_err(read)?;
        format_of(&bytes).map_err(decode)?;
        file.take(MAX_FILE_BYTES - SIGNATURE_BYTES + 1).read_to_end(&mut bytes).map_err(read)?;
        Self::decode(&bytes).map_err(decode)
    }

    /// Decodes the content of a picture file.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let (format, name) = format_of(bytes)?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            let limit = format!("{} MiB", MAX_FILE_BYTES >> 20);
            return Err(DecodeError::TooLarge { what: "the file's size".into(), limit });
        }
        // The decoder would fill the missing part of a JPEG with gray and say nothing.
        if format == ImageFormat::Jpeg && !jpeg_has_its_end(bytes) {
            return Err(DecodeError::CutOff { format: name });
        }
        decode_as(bytes, format).map_err(|failure| match failure {
            Stopped::TooManyPixels(width, height) => DecodeError::TooLarge {
                what: format!("a size of {width}×{height} pixels"),
                limit: format!("{} million pixels", MAX_PIXELS / 1_000_000),
            },
            Stopped::By(error) => explain(&error, name),
        })
    }

    /// The pixel in column `x` of row `y`, `[red, green, blue]`; `None` outside of the picture.
    pub fn pixel(&self, x: usize, y: usize) -> Option<[u8; 3]> {
        if x >= self.width {
            return None;
        }
        let at = (y.checked_mul(self.width)? + x) * 3;
        self.rgb.get(at..at + 3)?.try_into().ok()
    }
}

/// Why [`decode_as`] stopped.
enum Stopped {
    TooManyPixels(u32, u32),
    By(ImageError),
}

impl From<ImageError> for Stopped {
    fn from(error: ImageError) -> Self {
        Self::By(error)
    }
}

fn decode_as(bytes: &[u8], format: ImageFormat) -> Result<Picture, Stopped> {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_PIXELS * 8);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(Stopped::TooManyPixels(width, height));
    }
    let orientation = decoder.orientation()?;
    let mut image = DynamicImage::from_decoder(decoder)?;
    image.apply_orientation(orientation);
    let rgb = image.into_rgb8();
    Ok(Picture { width: rgb.width() as usize, height: rgb.height() as usize, rgb: rgb.into_raw() })
}

/// The format of a file that starts like this, if it is one we read.
fn format_of(start: &[u8]) -> Result<(ImageFormat, &'static str), DecodeError> {
    if start.is_empty() {
        return Err(DecodeError::Empty);
    }
    match image::guess_format(start) {
        Ok(ImageFormat::Jpeg) => Ok((ImageFormat::Jpeg, "JPEG")),
        Ok(ImageFormat::Png) => Ok((ImageFormat::Png, "PNG")),
        Ok(ImageFormat::WebP) => Ok((ImageFormat::WebP, "WebP")),
        Ok(other) => Err(DecodeError::NotAPicture { what: format!("a {} file", format!("{other:?}").to_uppercase()) }),
        Err(_) => Err(DecodeError::NotAPicture { what: "no picture of a known kind".into() }),
    }
}

fn explain(error: &ImageError, format: &'static str) -> DecodeError {
    let cut_off = std::iter::successors(Some(error as &dyn std::error::Error), |e| e.source()).any(|e| {
        let io = e.downcast_ref::<std::io::Error>();
        io.is_some_and(|e| e.kind() == std::io::ErrorKind::UnexpectedEof)
    });
    match error {
        // From memory, the only way reading can fail is that there is no more.
        ImageError::IoError(_) => DecodeError::CutOff { format },
        _ if cut_off => DecodeError::CutOff { format },
        ImageError::Limits(_) => DecodeError::TooLarge {
            what: "the memory it needs".into(),
            limit: format!("{} MB", MAX_PIXELS * 8 / 1_000_000),
        },
        _ => DecodeError::Damaged { format, reason: error.to_string() },
    }
}

/// True if an end-of-image marker follows the start of the pixel data. Segments are stepped over until then, because
/// the thumbnail inside EXIF has such a marker too.
fn jpeg_has_its_end(bytes: &[u8]) -> bool {
    const END: u8 = 0xD9;
    const PIXELS: u8 = 0xDA;
    let mut rest = bytes.get(2..).unwrap_or_default();
    loop {
        let Some(at) = rest.iter().position(|&b| b == 0xFF) else { return false };
        rest = &rest[at..];
        let Some(at) = rest.iter().position(|&b| b != 0xFF) else { return false };
        let marker = rest[at];
        rest = &rest[at + 1..];
        match marker {
            END => return true,
            PIXELS => return rest.windows(2).rev().any(|pair| pair == [0xFF, END]),
            // Stuffed zero, TEM, restarts and start have no length.
            0x00 | 0x01 | 0xD0..=0xD8 => {}
            _ => {
                let [high, low, ..] = *rest else { return false };
                let Some(after) = rest.get(usize::from(u16::from_be_bytes([high, low]))..) else { return false };
                rest = after;
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(format: ImageFormat) -> Vec<u8> {
        let image = image::RgbImage::from_fn(37, 23, |x, y| image::Rgb([x as u8 * 6, y as u8 * 11, (x * y) as u8]));
        let mut out = Cursor::new(Vec::new());
        image.write_to(&mut out, format).unwrap();
        out.into_inner()
    }

    const FORMATS: [ImageFormat; 3] = [ImageFormat::Jpeg, ImageFormat::Png, ImageFormat::WebP];

    #[test]
    fn every_format_decodes_to_its_size() {
        for format in FORMATS {
            let p = Picture::decode(&encoded(format)).unwrap();
            assert_eq!((p.width, p.height, p.rgb.len()), (37, 23, 37 * 23 * 3), "{format:?}");
        }
    }

    #[test]
    fn a_picture_cut_anywhere_is_an_error_and_never_a_panic() {
        for format in FORMATS {
            let whole = encoded(format);
            for len in 0..whole.len() - 1 {
                // The last bytes of a PNG are its empty IEND chunk: without it all pixels are there.
                if format == ImageFormat::Png && len >= whole.len() - 16 {
                    continue;
                }
                assert!(Picture::decode(&whole[..len]).is_err(), "{format:?} cut to {len} of {}", whole.len());
            }
        }
    }

    #[test]
    fn what_is_no_picture_is_named() {
        let said = |bytes: &[u8]| Picture::decode(bytes).unwrap_err().to_string();
        assert!(said(b"").starts_with("is empty"));
        assert!(said(b"GIF89a....").starts_with("is a GIF file; only JPEG, PNG and WebP"));
        assert!(said(b"#!/bin/sh\n").contains("no picture of a known kind"));
    }

    #[test]
    fn a_header_that_promises_a_giant_is_refused_before_memory_is_taken() {
        let mut png = encoded(ImageFormat::Png);
        png[16..24].copy_from_slice(&[0, 1, 0, 0, 0, 1, 0, 0]); // IHDR: 65536 × 65536
        let crc = crc32(&png[12..29]);
        png[29..33].copy_from_slice(&crc.to_be_bytes());
        let said = Picture::decode(&png).unwrap_err().to_string();
        assert!(said.contains("65536×65536 pixels is more than the 100 million pixels"), "{said}");
    }

    fn crc32(bytes: &[u8]) -> u32 {
        !bytes.iter().fold(!0u32, |crc, &b| {
            (0..8).fold(crc ^ u32::from(b), |c, _| if c & 1 == 1 { (c >> 1) ^ 0xEDB8_8320 } else { c >> 1 })
        })
    }

    #[test]
    fn pixels_outside_of_the_picture_are_none() {
        let p = Picture::new(2, 1, vec![1, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(p.pixel(1, 0), Some([4, 5, 6]));
        assert_eq!((p.pixel(2, 0), p.pixel(0, 1), p.pixel(0, usize::MAX)), (None, None, None));
        assert_eq!(Picture::new(2, 2, vec![0; 3]), None);
        assert_eq!(Picture::new(0, 2, vec![]), None);
    }

    proptest! {
        #[test]
        fn damaged_bytes_never_panic(
            which in 0usize..3,
            damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..12),
        ) {
            let mut bytes = encoded(FORMATS[which]);
            for (at, value) in damage {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            let _ = Picture::decode(&bytes);
        }
    }
}
