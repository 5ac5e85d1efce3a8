//! How a verb ends when it does not succeed: a message for people and an exit code for programs.

use std::fmt::Display;
use std::io;
use std::process::ExitCode;

/// Why a verb stopped. Made from any displayable error by the constructor that names its kind.
#[derive(Debug)]
pub enum Failure {
    /// The reader of our output went away; a normal end.
    BrokenPipe,
    /// Anything else, said and coded.
    Said {
        /// The process exit code.
        code: u8,
        /// What, where, why and what to do next.
        message: String,
    },
}

/// Each constructor is one row of the table of exit codes in `--help`.
#[allow(dead_code, reason = "not every build has a verb that fails in every way")]
impl Failure {
    /// Something failed while running (exit code 1).
    pub fn runtime(error: impl Display) -> Self {
        Self::said(1, error)
    }

    /// The arguments make no sense together or name something unknown (2).
    pub fn usage(error: impl Display) -> Self {
        Self::said(2, error)
    }

    /// An input or a model is not there (66, `EX_NOINPUT`).
    pub fn missing(error: impl Display) -> Self {
        Self::said(66, error)
    }

    /// The camera is not there or has gone (69, `EX_UNAVAILABLE`).
    pub fn unavailable(error: impl Display) -> Self {
        Self::said(69, error)
    }

    /// A model or configuration is there but cannot be used (78, `EX_CONFIG`).
    pub fn config(error: impl Display) -> Self {
        Self::said(78, error)
    }

    fn said(code: u8, error: impl Display) -> Self {
        Self::Said { code, message: error.to_string() }
    }

    /// Failure to write to standard output; a closed pipe is a normal end.
    pub fn output(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::BrokenPipe,
            _ => Self::runtime(format!("standard output: {error}")),
        }
    }

    /// What is said to the user.
    pub fn message(self) -> String {
        match self {
            Self::BrokenPipe => "the reader of the output has gone".to_owned(),
            Self::Said { message, .. } => message,
        }
    }

    /// Tells the user and gives the exit code.
    pub fn report(self) -> ExitCode {
        match self {
            Self::BrokenPipe => ExitCode::SUCCESS,
            Self::Said { code, message } => {
                log::error!("{message}");
                ExitCode::from(code)
            }
        }
    }
}
