//! Resizing and mean subtraction against OpenCV, on the cases of `tests/python/golden_resize.py`.
#![allow(clippy::unwrap_used)]

use edge_rcnn::frame::{Blob, Picture, Scaling, preprocess};

const MEAN_BGR: [f32; 3] = [102.9801, 115.9465, 122.7717];

/// One f32 step at 255 is 1.5e-5; both sides round four times or so.
const TOLERANCE: f32 = 1e-4;

/// The picture of the script, which is BGR there.
fn picture(width: usize, height: usize) -> Picture {
    let mut rgb = Vec::new();
    for y in 0..height {
        for x in 0..width {
            rgb.extend([2, 1, 0].map(|c| ((x * 89 + y * 57 + c * 101 + x * y * (c + 3)) % 256) as u8));
        }
    }
    Picture::new(width, height, rgb).unwrap()
}

#[test]
fn the_networks_input_is_the_one_opencv_makes() {
    let mut golden: &[u8] = include_bytes!("golden/resize.bin");
    let mut take = |n: usize| {
        let (head, tail) = golden.split_at(n.min(golden.len()));
        golden = tail;
        head
    };
    let mut cases = 0;
    let mut blob = Blob::default();
    loop {
        let header = take(24);
        if header.is_empty() {
            break;
        }
        let n: Vec<u32> = header.chunks(4).map(|b| u32::from_le_bytes(b.try_into().unwrap())).collect();
        let [width, height, out_width, out_height] = [n[0], n[1], n[4], n[5]].map(|v| v as usize);
        let scale = f64::from_le_bytes(take(8).try_into().unwrap());
        let expected: Vec<f32> =
            take(out_width * out_height * 12).chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();

        let scaling = Scaling { short: n[2], long_max: n[3] };
        preprocess(&picture(width, height), scaling, MEAN_BGR, &mut blob);

        let case = format!("{width}×{height} to {out_width}×{out_height}");
        assert_eq!((blob.width, blob.height), (out_width, out_height), "{case}");
        assert_eq!(blob.scale, scale as f32, "{case}");
        let plane = out_width * out_height;
        for (i, want) in expected.iter().enumerate() {
            let got = blob.data[i % 3 * plane + i / 3];
            assert!((got - want).abs() <= TOLERANCE, "{case}: value {i}: got {got}, want {want}");
        }
        cases += 1;
    }
    assert_eq!(cases, 12);
}
