//! The model that is compiled into the program: one of the folders in `models/`.
//!
//! It is the one in 8 bits; `tests/builtin_model.rs` holds it to what `calibration/figures.json` says about it.

#![allow(unsafe_code, reason = "the kernel's interface")]

use rustix::mm::{Advice, madvise};

/// A file of the model. This is the place that says which model it is.
macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../models/zf-voc-int8/", $name))
    };
}

/// `model.toml`, `trunk.onnx`, `head.onnx`.
static FILES: [&[u8]; 3] = [file!("model.toml"), file!("trunk.onnx"), file!("head.onnx")];

/// Copies of the three files. What was read of the program for it is given back to the system.
pub fn files() -> [Vec<u8>; 3] {
    FILES.map(|file| {
        let copy = file.to_vec();
        give_back(file);
        copy
    })
}

/// Tells the system that pages of the program will hardly be needed again: they leave the memory of the process, which
/// would hold the model twice, and come back from the program's file if somebody reads them.
fn give_back(file: &'static [u8]) {
    // Whole pages, of the largest size that any of our processors has.
    const PAGE: usize = 1 << 16;
    let before = file.as_ptr().align_offset(PAGE).min(file.len());
    let (_, pages) = file.split_at(before);
    let len = pages.len() / PAGE * PAGE;
    // SAFETY: nobody writes to these pages, which are a part of the program's file that needs no addresses filled in, so what
    // comes back is what was there.
    let done = unsafe { madvise(pages.as_ptr().cast_mut().cast(), len, Advice::LinuxDontNeed) };
    if let Err(error) = done {
        log::debug!("the built-in model stays in memory: {error}");
    }
}
