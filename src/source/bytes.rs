//! Bytes from files and pipes.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

/// Bytes to read frames from.
pub type Input = Box<dyn BufRead + Send>;

/// Larger reads go past this buffer, so it only has to hold headers.
const BUFFER: usize = 64 << 10;

/// The bytes of a file or pipe.
pub fn input(file: File) -> Input {
    Box::new(BufReader::with_capacity(BUFFER, file))
}

/// Reads until `to` is full or nothing more comes; how many bytes came.
pub fn fill(input: &mut dyn Read, to: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < to.len() {
        match input.read(&mut to[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(got)
}
