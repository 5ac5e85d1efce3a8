#![allow(clippy::unwrap_used)]

use super::*;

/// Horizontal and vertical gradients, smooth enough to survive halved chroma.
fn colours(width: usize, height: usize) -> Vec<[u8; 3]> {
    let value = |x: usize, y: usize| [40 + 2 * x as u8, 60 + 3 * y as u8, 200 - x as u8 - y as u8];
    (0..height).flat_map(|y| (0..width).map(move |x| value(x, y))).collect()
}

/// BT.601, limited range, as its text has it.
fn yuv([r, g, b]: [u8; 3]) -> [u8; 3] {
    let [r, g, b] = [r, g, b].map(f64::from);
    let y = 16.0 + (65.481 * r + 128.553 * g + 24.966 * b) / 255.0;
    let u = 128.0 + (-37.797 * r - 74.203 * g + 112.0 * b) / 255.0;
    let v = 128.0 + (112.0 * r - 93.786 * g - 18.214 * b) / 255.0;
    [y, u, v].map(|value| value.round() as u8)
}

/// The picture in each format that carries colour.
fn encodings(width: usize, height: usize) -> Vec<(PixelFormat, Vec<u8>)> {
    let rgb = colours(width, height);
    let planes: [Vec<u8>; 3] = [0, 1, 2].map(|c| rgb.iter().map(|&p| yuv(p)[c]).collect());
    let thin = |c: usize, sx: usize, sy: usize| -> Vec<u8> {
        let rows = (0..height).step_by(sy);
        rows.flat_map(|y| (0..width).step_by(sx).map(move |x| y * width + x)).map(|i| planes[c][i]).collect()
    };
    let joined = |parts: &[Vec<u8>]| parts.concat();
    let pairs: Vec<u8> = thin(1, 2, 2).into_iter().zip(thin(2, 2, 2)).flat_map(|(u, v)| [u, v]).collect();
    let swapped = |bytes: &[u8]| -> Vec<u8> { bytes.chunks(2).flat_map(|pair| [pair[1], pair[0]]).collect() };
    let packed = (0..height).flat_map(|y| (0..width).step_by(2).map(move |x| (x, y))).flat_map(|(x, y)| {
        let (at, next) = (y * width + x, y * width + (x + 1).min(width - 1));
        [planes[0][at], planes[1][at], planes[0][next], planes[2][at]]
    });
    let packed: Vec<u8> = packed.collect();
    vec![
        (PixelFormat::Rgb24, rgb.concat()),
        (PixelFormat::Bgr24, rgb.iter().flat_map(|&[r, g, b]| [b, g, r]).collect()),
        (PixelFormat::I444, joined(&planes)),
        (PixelFormat::I422, joined(&[planes[0].clone(), thin(1, 2, 1), thin(2, 2, 1)])),
        (PixelFormat::I420, joined(&[planes[0].clone(), thin(1, 2, 2), thin(2, 2, 2)])),
        (PixelFormat::Nv21, joined(&[planes[0].clone(), swapped(&pairs)])),
        (PixelFormat::Nv12, joined(&[planes[0].clone(), pairs])),
        (PixelFormat::Uyvy, swapped(&packed)),
        (PixelFormat::Yuyv, packed),
    ]
}

fn nothing() -> Picture {
    Picture { width: 0, height: 0, rgb: Vec::new() }
}

#[test]
fn the_same_picture_comes_out_of_every_format_and_odd_size() {
    for (width, height) in [(48, 32), (47, 31), (2, 2), (33, 1), (1, 1)] {
        for (format, bytes) in encodings(width, height) {
            let mut picture = nothing();
            to_picture(Layout::new(format, width, height), &bytes, &mut picture).unwrap();
            assert_eq!((picture.width, picture.height), (width, height));
            for (i, (got, want)) in picture.rgb.chunks_exact(3).zip(colours(width, height)).enumerate() {
                let off = got.iter().zip(want).map(|(&g, w)| g.abs_diff(w)).max().unwrap();
                assert!(off <= 8, "{} {width}×{height}, pixel {i}: {got:?}, wanted {want:?}", format.name());
            }
        }
    }
}

/// The frame with `more` bytes of rubbish after each row, as V4L2 arranges it, and its layout.
fn padded(tight: Layout, bytes: &[u8], more: usize) -> (Layout, Vec<u8>) {
    let Layout { format, width, height, .. } = tight;
    let (half_w, half_h) = (width.div_ceil(2), height.div_ceil(2));
    let stride = tight.stride + more;
    // Rows, bytes in each, bytes from row to row; of each plane.
    let planes = match format {
        PixelFormat::Nv12 | PixelFormat::Nv21 => vec![(height, width, stride), (half_h, 2 * half_w, stride)],
        PixelFormat::I420 => [vec![(height, width, stride)], vec![(half_h, half_w, stride / 2); 2]].concat(),
        PixelFormat::I422 => [vec![(height, width, stride)], vec![(height, half_w, stride / 2); 2]].concat(),
        PixelFormat::I444 => vec![(height, width, stride); 3],
        _ => vec![(height, tight.stride, stride)],
    };
    let (mut from, mut all) = (bytes, Vec::new());
    for (rows, row, stride) in planes {
        for _ in 0..rows {
            all.extend_from_slice(&from[..row]);
            all.resize(all.len() + stride - row, 0xA5);
            from = &from[row..];
        }
    }
    assert!(from.is_empty());
    (Layout { stride, ..tight }, all)
}

/// USERS case 6.
#[test]
fn case_06_padded_rows_decode_as_unpadded_ones_in_every_format() {
    for (width, height) in [(1296, 16), (46, 31), (45, 6)] {
        let gray = colours(width, height).iter().map(|p| p[0]).collect::<Vec<u8>>();
        let grays = [PixelFormat::Gray, PixelFormat::Luma].map(|format| (format, gray.clone()));
        for (format, bytes) in encodings(width, height).into_iter().chain(grays) {
            let tight = Layout::new(format, width, height);
            let mut picture = nothing();
            to_picture(tight, &bytes, &mut picture).unwrap();
            // An even stride, as the halved planes need it; for RGB also one that is no whole number of pixels.
            for more in [32 + tight.stride % 2, 2 + tight.stride % 2] {
                let (layout, bytes) = padded(tight, &bytes, more);
                assert_eq!(layout.bytes(), Some(bytes.len()), "{}", format.name());
                let mut other = nothing();
                to_picture(layout, &bytes, &mut other).unwrap();
                assert_eq!(picture.rgb, other.rgb, "{} {width}×{height} + {more}", format.name());
                assert!(to_picture(layout, &bytes[..bytes.len() - 1], &mut other).is_err(), "{}", format.name());
            }
        }
    }
}

#[test]
fn a_stride_shorter_than_a_row_is_refused() {
    let layout = Layout { stride: 7, ..Layout::new(PixelFormat::Yuyv, 4, 4) };
    assert!(to_picture(layout, &[0; 99], &mut nothing()).unwrap_err().to_string().contains("rows of 7 bytes"));
}

#[test]
fn gray_is_taken_as_it_is_and_the_luma_of_a_film_is_stretched() {
    let mut picture = nothing();
    to_picture(Layout::new(PixelFormat::Gray, 2, 1), &[16, 235], &mut picture).unwrap();
    assert_eq!(picture.rgb, [16, 16, 16, 235, 235, 235]);
    to_picture(Layout::new(PixelFormat::Luma, 2, 1), &[16, 235], &mut picture).unwrap();
    assert_eq!(picture.rgb, [0, 0, 0, 255, 255, 255]);
}

#[test]
fn a_short_or_empty_frame_is_refused_with_its_numbers() {
    let said = to_picture(Layout::new(PixelFormat::Nv12, 4, 4), &[0; 20], &mut nothing()).unwrap_err().to_string();
    assert!(said.contains("nv12") && said.contains("24") && said.contains("20"), "{said}");
    assert!(to_picture(Layout::new(PixelFormat::Gray, 0, 4), &[], &mut nothing()).is_err());
    assert!(to_picture(Layout::ENCODED, b"", &mut nothing()).is_err());
}
