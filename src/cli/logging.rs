//! Logs: on standard error, plain `level: message` lines, through the progress bar's back so that the two do not
//! write over each other. Where standard error is the journal's, lines start with their level as in sd-daemon(3).

use std::io::{self, IsTerminal, Write};

use edge_rcnn::service::journal_on_stderr;
use env_logger::{Builder, Target, WriteStyle};
use log::Level;

use super::progress;

/// How much to say.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logs, on standard error")]
pub struct Args {
    /// Say more (twice: everything)
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
    /// Say only what went wrong
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
}

/// Starts logging. The environment variable `RUST_LOG` wins over the flags.
pub fn start(args: &Args) {
    let default = match (args.quiet, args.verbose) {
        (true, _) => "error",
        (_, 0) => "warn,edge_rcnn=info",
        (_, 1) => "info,edge_rcnn=debug",
        _ => "debug,edge_rcnn=trace",
    };
    let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    let journal = journal_on_stderr();
    if journal {
        let say = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            // Critical: a bug in the program.
            eprintln!("<2>{}", info.to_string().replace('\n', " "));
            say(info);
        }));
    }
    let mut builder = Builder::new();
    match std::env::var("RUST_LOG") {
        Ok(filter) if !filter.is_empty() => builder.parse_filters(&filter),
        _ => builder.parse_filters(default),
    };
    builder
        .target(Target::Pipe(Box::new(AboveTheBar)))
        .write_style(if colours { WriteStyle::Always } else { WriteStyle::Never })
        .format(move |out, record| {
            let level = record.level();
            if journal {
                let text = record.args().to_string();
                // Each line is an entry of its own.
                return text.lines().try_for_each(|line| writeln!(out, "<{}>{line}", priority(level)));
            }
            let style = out.default_level_style(level);
            writeln!(out, "{style}{}{style:#}: {}", level.as_str().to_lowercase(), record.args())
        })
        .init();
}

/// As syslog(3) counts.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Standard error, with the progress bar taken away while a line is written.
struct AboveTheBar;

impl Write for AboveTheBar {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        progress::without_bar(|| io::stderr().lock().write_all(line)).map(|()| line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
