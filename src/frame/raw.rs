//! Frames as cameras and decoders deliver them, and their conversion to upright RGB.
//!
//! A frame travels as it came; only the ones that are looked at are converted. The conversion to RGB is the `yuv`
//! crate's (SIMD on x86 and ARM), with the colours of BT.601, which is what cameras and `ffmpeg` mean by default.
//!
//! | format | layout of a `w`×`h` frame, without padding |
//! |---|---|
//! | `yuyv` | Y U Y V for two pixels, rows of `4·⌈w/2⌉` bytes |
//! | `nv12` | Y plane, then a plane of U V pairs, one for 2×2 pixels |
//! | `i420`, `i422`, `i444` | Y plane, U plane, V plane; one U and V for 2×2, 2×1, 1×1 pixels |
//! | `rgb24`, `bgr24` | three bytes a pixel |
//! | `gray` | one byte a pixel, 0…255 |
//! | `luma` | one byte a pixel, as the Y of a film: 16…235 unless it says otherwise |
//! | `encoded` | a JPEG, PNG or WebP file, any size |

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
    Nv12,
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
            Self::Nv12 => "nv12",
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

    /// Bytes of one frame without padding; `None` for encoded pictures, whose length varies.
    pub fn bytes(self, width: usize, height: usize) -> Option<usize> {
        let (pixels, half_w, half_h) = (width * height, width.div_ceil(2), height.div_ceil(2));
        match self {
            Self::Yuyv => Some(4 * half_w * height),
            Self::Nv12 | Self::I420 => Some(pixels + 2 * half_w * half_h),
            Self::I422 => Some(pixels + 2 * half_w * height),
            Self::I444 | Self::Rgb24 | Self::Bgr24 => Some(3 * pixels),
            Self::Gray | Self::Luma => Some(pixels),
            Self::Encoded => None,
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
    /// Luma and chroma use all values of a byte, not 16…235 and 16…240.
    pub full_range: bool,
}

impl Layout {
    /// Encoded pictures.
    pub const ENCODED: Self = Self { format: PixelFormat::Encoded, width: 0, height: 0, full_range: true };

    /// Frames of this format and size, YUV with the usual limited range.
    pub fn new(format: PixelFormat, width: usize, height: usize) -> Self {
        Self { format, width, height, full_range: false }
    }
}

/// Converts a frame to RGB. The picture's memory is used again.
pub fn to_picture(layout: Layout, bytes: &[u8], picture: &mut Picture) -> Result<(), DecodeError> {
    let Layout { format, width, height, .. } = layout;
    let Some(wanted) = format.bytes(width, height) else {
        *picture = Picture::decode(bytes)?;
        return Ok(());
    };
    if wanted == 0 || bytes.len() < wanted {
        return Err(DecodeError::FrameSize { format: format.name(), width, height, wanted, got: bytes.len() });
    }
    (picture.width, picture.height) = (width, height);
    picture.rgb.resize(width * height * 3, 0);
    convert(layout, &bytes[..wanted], &mut picture.rgb)
        .map_err(|e| DecodeError::Damaged { format: format.name(), reason: e.to_string() })
}

/// `bytes` is as long as the layout says, `rgb` three bytes a pixel.
fn convert(layout: Layout, bytes: &[u8], rgb: &mut [u8]) -> Result<(), YuvError> {
    let (w, h) = (layout.width as u32, layout.height as u32);
    let (half, stride) = (w.div_ceil(2), 3 * w);
    let range = if layout.full_range { YuvRange::Full } else { YuvRange::Limited };
    let matrix = YuvStandardMatrix::Bt601;
    let (luma, chroma) = bytes.split_at((layout.width * layout.height).min(bytes.len()));
    let (u_plane, v_plane) = chroma.split_at(chroma.len() / 2);
    let planar = |chroma_stride| YuvPlanarImage {
        y_plane: luma,
        y_stride: w,
        u_plane,
        u_stride: chroma_stride,
        v_plane,
        v_stride: chroma_stride,
        width: w,
        height: h,
    };
    match layout.format {
        PixelFormat::Yuyv => {
            let packed = YuvPackedImage { yuy: bytes, yuy_stride: 4 * half, width: w, height: h };
            yuv::yuyv422_to_rgb(&packed, rgb, stride, range, matrix)
        }
        PixelFormat::Nv12 => {
            let image = YuvBiPlanarImage {
                y_plane: luma,
                y_stride: w,
                uv_plane: chroma,
                uv_stride: 2 * half,
                width: w,
                height: h,
            };
            yuv::yuv_nv12_to_rgb(&image, rgb, stride, range, matrix, YuvConversionMode::Balanced)
        }
        PixelFormat::I420 => yuv::yuv420_to_rgb(&planar(half), rgb, stride, range, matrix),
        PixelFormat::I422 => yuv::yuv422_to_rgb(&planar(half), rgb, stride, range, matrix),
        PixelFormat::I444 => yuv::yuv444_to_rgb(&planar(w), rgb, stride, range, matrix),
        PixelFormat::Luma => {
            let gray = YuvGrayImage { y_plane: luma, y_stride: w, width: w, height: h };
            yuv::yuv400_to_rgb(&gray, rgb, stride, range, matrix)
        }
        PixelFormat::Gray => {
            rgb.as_chunks_mut::<3>().0.iter_mut().zip(luma).for_each(|(pixel, &value)| *pixel = [value; 3]);
            Ok(())
        }
        PixelFormat::Bgr24 => {
            let pixels = rgb.as_chunks_mut::<3>().0.iter_mut().zip(bytes.as_chunks::<3>().0);
            pixels.for_each(|(pixel, &[b, g, r])| *pixel = [r, g, b]);
            Ok(())
        }
        PixelFormat::Rgb24 | PixelFormat::Encoded => {
            rgb.copy_from_slice(bytes);
            Ok(())
        }
    }
}

#[cfg(test)]
#[path = "raw_tests.rs"]
mod tests;
