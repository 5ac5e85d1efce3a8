//! The Python that other engines run in.

use std::ffi::OsString;
use std::io::Write;

/// The interpreter that `EDGE_RCNN_PYTHON` names; without it, says on standard error (past the test runner's capture)
/// that the calling test is skipped.
pub fn python(test: &str) -> Option<OsString> {
    let python = std::env::var_os("EDGE_RCNN_PYTHON");
    if python.is_none() {
        let _ = writeln!(
            std::io::stderr(),
            "{test}: SKIPPED: EDGE_RCNN_PYTHON does not name a Python with the packages of tests/python/requirements.txt"
        );
    }
    python
}
