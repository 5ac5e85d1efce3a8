//! Frames as cameras and decoders deliver them, and their conversion to upright RGB.
//!
//! A frame travels as it came; only the ones that are looked at are converted. The conversion to RGB is the `yuv`
//! crate's (SIMD on x86 and ARM), with the colours of BT.601, which is what cameras and `ffmpeg` mean by default.
//!
//! | format | layout of a `w`×`h` frame, without padding |
//! |---|---|
//! | `yuyv`, `uyvy` | Y U Y V or U Y V Y for two pixels, rows of `4·⌈w/2⌉` bytes |
//! | `nv12`, `nv21` | Y plane, then a plane of U V or V U pairs, one for 2×2 pixels |
//! | `i420`, `i422`, `i444` | Y plane, U plane, V plane; one U and V for 2×2, 2×1, 1×1 pixels |
//! | `rgb24`, `bgr24` | three bytes a pixel |
//! | `gray` | one byte a pixel, 0…255 |
//! | `luma` | one byte a pixel, as the Y of a film: 16…235 unless it says otherwise |
//! | `encoded` | a JPEG, PNG or WebP file, any size |
//!
//! Rows may be longer than their pixels: hardware likes them to start at multiples of 32 or so. The stride of the first
//! plane is given; the chroma planes follow the rule of V4L2 (the same stride for pairs, half of it for halved planes).

use yuv::{
    YuvBiPlanarImage, YuvConversionMode, YuvError, YuvGrayImage, YuvPackedImage, YuvPlanarImage, YuvRange,
    YuvStandardMatrix,
};

use super::{DecodeError, Picture};

/// Meaning of the bytes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the table above says it better")]
pub enum PixelFormat {
    Yuyv,
    Uyvy,
    Nv12,
    Nv21,
    I420,
    I422,
    I444,
    Rgb24,
    Bgr24,
    Gray,
    Luma,
    Encoded,
}

impl PixelFormat {
    /// The name in the table above.
    pub fn name(self) -> &'static str {
        match self {
            Self::Yuyv => "yuyv",
            Self::Uyvy => "uyvy",
            Self::Nv12 => "nv12",
            Self::Nv21 => "nv21",
            Self::I420 => "i420",
            Self::I422 => "i422",
            Self::I444 => "i444",
            Self::Rgb24 => "rgb24",
            Self::Bgr24 => "bgr24",
            Self::Gray => "gray",
            Self::Luma => "luma",
            Self::Encoded => "encoded",
        }
    }

    /// Bytes of one row of the first plane without padding; 0 for encoded pictures.
    pub fn row_bytes(self, width: usize) -> usize {
        match self {
            Self::Yuyv | Self::Uyvy => 4 * width.div_ceil(2),
            Self::Rgb24 | Self::Bgr24 => 3 * width,
            Self::Nv12 | Self::Nv21 | Self::I420 | Self::I422 | Self::I444 | Self::Gray | Self::Luma => width,
            Self::Encoded => 0,
        }
    }
}

/// What the bytes of a frame are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Meaning of the bytes.
    pub format: PixelFormat,
    /// Columns; 0 for encoded pictures, which know themselves.
    pub width: usize,
    /// Rows; 0 for encoded pictures.
    pub height: usize,
    /// Bytes from a row of the first plane to the next; 0 for encoded pictures.
    pub stride: usize,
    /// Luma and chroma use all values of a byte, not 16…235 and 16…240.
    pub full_range: bool,
}

impl Layout {
    /// Encoded pictures.
    pub const ENCODED: Self = Self { format: PixelFormat::Encoded, width: 0, height: 0, stride: 0, full_range: true };

    /// Frames of this format and size without padding, YUV with the usual limited range.
    pub fn new(format: PixelFormat, width: usize, height: usize) -> Self {
        Self { format, width, height, stride: format.row_bytes(width), full_range: false }
    }

    /// Bytes from a row of a chroma plane to the next.
    fn chroma_stride(&self) -> usize {
        match self.format {
            PixelFormat::Nv12 | PixelFormat::Nv21 => self.stride.max(2 * self.width.div_ceil(2)),
            PixelFormat::I420 | PixelFormat::I422 => self.stride.div_ceil(2),
            _ => self.stride,
        }
    }

    /// Bytes of one frame; `None` for encoded pictures, whose length varies.
    pub fn bytes(&self) -> Option<usize> {
        let (rows, half) = (self.height, self.height.div_ceil(2));
        let chroma = match self.format {
            PixelFormat::Encoded => return None,
            PixelFormat::Nv12 | PixelFormat::Nv21 => self.chroma_stride() * half,
            PixelFormat::I420 => 2 * self.chroma_stride() * half,
            PixelFormat::I422 | PixelFormat::I444 => 2 * self.chroma_stride() * rows,
            _ => 0,
        };
        Some(self.stride * rows + chroma)
    }
}

/// Converts a frame to RGB. The picture's memory is used again.
pub fn to_picture(layout: Layout, bytes: &[u8], picture: &mut Picture) -> Result<(), DecodeError> {
    let Layout { format, width, height, stride, .. } = layout;
    let Some(wanted) = layout.bytes() else {
        *picture = Picture::decode(bytes)?;
        return Ok(());
    };
    if wanted == 0 || bytes.len() < wanted || stride < format.row_bytes(width) {
        return Err(DecodeError::FrameSize { format: format.name(), width, height, stride, wanted, got: bytes.len() });
    }
    (picture.width, picture.height) = (width, height);
    picture.rgb.resize(width * height * 3, 0);
    convert(layout, &bytes[..wanted], &mut picture.rgb)
        .map_err(|e| DecodeError::Damaged { format: format.name(), reason: e.to_string() })
}

/// `bytes` is as long as the layout says, `rgb` three bytes a pixel.
fn convert(layout: Layout, bytes: &[u8], rgb: &mut [u8]) -> Result<(), YuvError> {
    let (width, height) = (layout.width as u32, layout.height as u32);
    let (stride, chroma_stride, rgb_stride) = (layout.stride as u32, layout.chroma_stride() as u32, 3 * width);
    let range = if layout.full_range { YuvRange::Full } else { YuvRange::Limited };
    let (matrix, mode) = (YuvStandardMatrix::Bt601, YuvConversionMode::Balanced);
    let (y_plane, chroma) = bytes.split_at((layout.stride * layout.height).min(bytes.len()));
    let (u_plane, v_plane) = chroma.split_at(chroma.len() / 2);
    let packed = YuvPackedImage { yuy: bytes, yuy_stride: stride, width, height };
    let pairs =
        YuvBiPlanarImage { y_plane, y_stride: stride, uv_plane: chroma, uv_stride: chroma_stride, width, height };
    let planar = YuvPlanarImage {
        y_plane,
        y_stride: stride,
        u_plane,
        u_stride: chroma_stride,
        v_plane,
        v_stride: chroma_stride,
        width,
        height,
    };
    match layout.format {
        PixelFormat::Yuyv => yuv::yuyv422_to_rgb(&packed, rgb, rgb_stride, range, matrix),
        PixelFormat::Uyvy => yuv::uyvy422_to_rgb(&packed, rgb, rgb_stride, range, matrix),
        PixelFormat::Nv12 => yuv::yuv_nv12_to_rgb(&pairs, rgb, rgb_stride, range, matrix, mode),
        PixelFormat::Nv21 => yuv::yuv_nv21_to_rgb(&pairs, rgb, rgb_stride, range, matrix, mode),
        PixelFormat::I420 => yuv::yuv420_to_rgb(&planar, rgb, rgb_stride, range, matrix),
        PixelFormat::I422 => yuv::yuv422_to_rgb(&planar, rgb, rgb_stride, range, matrix),
        PixelFormat::I444 => yuv::yuv444_to_rgb(&planar, rgb, rgb_stride, range, matrix),
        PixelFormat::Luma => {
            let gray = YuvGrayImage { y_plane, y_stride: stride, width, height };
            yuv::yuv400_to_rgb(&gray, rgb, rgb_stride, range, matrix)
        }
        PixelFormat::Gray => {
            row_by_row(layout, bytes, rgb, |row, rgb| {
                rgb.as_chunks_mut::<3>().0.iter_mut().zip(row).for_each(|(pixel, &value)| *pixel = [value; 3]);
            });
            Ok(())
        }
        PixelFormat::Bgr24 => {
            row_by_row(layout, bytes, rgb, |row, rgb| {
                let pixels = rgb.as_chunks_mut::<3>().0.iter_mut().zip(row.as_chunks::<3>().0);
                pixels.for_each(|(pixel, &[b, g, r])| *pixel = [r, g, b]);
            });
            Ok(())
        }
        PixelFormat::Rgb24 | PixelFormat::Encoded => {
            row_by_row(layout, bytes, rgb, |row, rgb| rgb.copy_from_slice(row));
            Ok(())
        }
    }
}

/// Each row of the frame without its padding, with its place in the picture.
fn row_by_row(layout: Layout, bytes: &[u8], rgb: &mut [u8], copy: impl Fn(&[u8], &mut [u8])) {
    let row = layout.format.row_bytes(layout.width);
    let rows = bytes.chunks(layout.stride.max(1)).zip(rgb.chunks_mut(3 * layout.width.max(1)));
    rows.for_each(|(from, to)| copy(&from[..row.min(from.len())], to));
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
