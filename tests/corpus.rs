//! Every file in `tests/corpus/` whole, and damaged in many ways: no reader may panic, whatever it is given.
//!
//! The damage is seeded, so a failure names file and seed and comes again. The fuzz targets in `fuzz/` go on from here.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod readers;

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Damaged copies per file.
const COPIES: u64 = 2000;

/// Reads every file of a folder of the corpus; `good` of them must be read without an error.
fn feed(folder: &str, good: usize, read: fn(&[u8]) -> bool) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus").join(folder);
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    let mut read_well = 0;
    for path in &files {
        let bytes = fs::read(path).unwrap();
        read_well += usize::from(read(&bytes));
        for seed in 0..COPIES {
            let damaged = damage(&bytes, seed);
            let outcome = catch_unwind(AssertUnwindSafe(|| read(&damaged)));
            assert!(outcome.is_ok(), "{} damaged with seed {seed} makes its reader panic", path.display());
        }
    }
    assert_eq!((files.len() - read_well, read_well), (files.len() - good, good), "well-formed files of {folder}");
}

/// One way to damage a file: bits, numbers, a cut, a piece moved or repeated.
fn damage(bytes: &[u8], seed: u64) -> Vec<u8> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut out = bytes.to_vec();
    let len = bytes.len().max(1);
    match seed % 5 {
        0 => out.truncate(rng.random_range(0..len)),
        1 => {
            for _ in 0..rng.random_range(1..9) {
                let at = rng.random_range(0..len);
                out[at] ^= 1u8 << rng.random_range(0..8u32);
            }
        }
        2 => {
            // The values at which lengths and counts go wrong.
            let at = rng.random_range(0..len);
            let extreme: [&[u8]; 4] = [&[0; 4], &[0xff; 10], &[0x7f, 0xff, 0xff, 0xff], &[0x80; 9]];
            let piece = extreme[rng.random_range(0..4usize)];
            out.splice(at..(at + piece.len()).min(len), piece.iter().copied());
        }
        3 => {
            let (from, to, n) = (rng.random_range(0..len), rng.random_range(0..len), rng.random_range(1..64));
            let piece = bytes[from..(from + n).min(len)].to_vec();
            out.splice(to..to, piece);
        }
        _ => {
            let at = rng.random_range(0..len);
            let end = (at + rng.random_range(1..32)).min(len);
            out.drain(at..end);
        }
    }
    out
}

#[test]
fn bundles_good_and_damaged_are_read_or_refused() {
    feed("bundle", 4, readers::bundle);
}

#[test]
fn network_descriptions_good_and_damaged_are_read_or_refused() {
    feed("prototxt", 3, readers::prototxt);
}

#[test]
fn caffe_weights_good_and_damaged_are_read_or_refused() {
    feed("caffemodel", 4, readers::caffemodel);
}

#[test]
fn annotations_good_and_damaged_are_read_or_refused() {
    feed("annotations", 2, readers::annotations);
}

#[test]
fn pictures_good_and_damaged_are_read_or_refused() {
    feed("picture", 12, readers::picture);
}

/// USERS case 7.
#[test]
fn case_07_camera_buffers_good_and_damaged_are_taken_or_refused() {
    feed("camera_buffer", 10, readers::camera_buffer);
}
