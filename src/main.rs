//! The `edge-rcnn` program: parse, run, exit code. Everything else lives in [`cli`] and in the library.

mod cli;

fn main() -> std::process::ExitCode {
    cli::main()
}
