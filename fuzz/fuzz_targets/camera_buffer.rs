//! What a camera's driver has filled, in any format.
#![no_main]

#[path = "../../tests/readers/mod.rs"]
mod readers;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    readers::camera_buffer(bytes);
});
