//! Options of `run` around the detector: what is reported, how long a frame may take, what else is done with it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use edge_rcnn::pipeline::{Settings, Snapshots};

use super::super::duration::{duration, some_time};

/// Score below which `run` keeps quiet, as `detect` does.
const MIN_SCORE: f32 = 0.5;

/// The paper's time for a frame (Faster R-CNN, table 5: ZF, 17 frames a second).
pub const PAPER_BUDGET: Duration = Duration::from_millis(59);

/// Keys of the settings below that a run keeps for its life.
pub const KEYS: &[&str] = &["snapshot_dir", "snapshot_every", "snapshot_max_mb", "preview"];

/// What is reported and how.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Reports")]
pub struct Args {
    /// Report only objects that score more than this, 0 to 1
    #[arg(long, value_name = "SCORE", default_value_t = MIN_SCORE, value_parser = fraction)]
    pub min_score: f32,
    /// Report only these classes, separated by commas
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub classes: Option<Vec<String>>,
    /// Leave out the lines of frames in which nothing was found
    #[arg(long)]
    only_detections: bool,
    /// Time between two stats lines
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = some_time)]
    stats_every: Duration,
    /// Keep the time of 95 of 100 frames under this, by looking less closely if need be: 59ms, 0.2s, off. --scale and
    /// --proposals pin how closely [default: 59ms, the paper's, for live sources; off for files]
    #[arg(long, value_name = "TIME")]
    pub budget: Option<BudgetArg>,
    /// Number the objects; each keeps its number from frame to frame
    #[arg(long)]
    pub track: bool,
    /// Do not look at frames in which no more than this fraction of the picture has changed, 0 to 1 (try 0.005)
    #[arg(long, value_name = "FRACTION", value_parser = fraction)]
    pub motion_gate: Option<f32>,
    /// Keep an annotated picture in this folder when an object appears
    #[arg(long, value_name = "DIR")]
    snapshot_dir: Option<PathBuf>,
    /// Time between two of them, at least
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = duration)]
    snapshot_every: Duration,
    /// Space for all of them, in MB; the oldest go
    #[arg(long, value_name = "MB", default_value_t = 100)]
    snapshot_max_mb: u64,
    /// Show the annotated pictures and how it goes on a page of this address, for a browser: 127.0.0.1:8080, or 8080 for
    /// the same. There is no password: whoever can reach the address can look
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = address)]
    preview: Option<SocketAddr>,
}

impl Args {
    /// What is said and when.
    pub fn settings(&self) -> Settings {
        Settings { stats_every: self.stats_every, only_detections: self.only_detections }
    }

    /// Where the page is to be.
    pub fn preview(&self) -> Option<SocketAddr> {
        self.preview
    }

    /// Which pictures are kept.
    pub fn snapshots(&self) -> Option<Snapshots> {
        let (every, max_bytes) = (self.snapshot_every, self.snapshot_max_mb.saturating_mul(1_000_000));
        self.snapshot_dir.clone().map(|dir| Snapshots { dir, every, max_bytes })
    }
}

/// A time budget, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BudgetArg {
    /// Every frame is looked at as closely as the model wants.
    Off,
    /// This long.
    Time(Duration),
}

impl FromStr for BudgetArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "off" => Ok(Self::Off),
            _ => some_time(text).map(Self::Time).map_err(|e| format!("{e}; or say off")),
        }
    }
}

fn fraction(text: &str) -> Result<f32, String> {
    let value = text.parse().ok().filter(|v| (0.0..=1.0).contains(v));
    value.ok_or_else(|| "must be a number from 0 to 1".to_owned())
}

/// An address with its port; a port alone is one of this machine's own.
fn address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let port = || text.parse().ok().map(|port: u16| SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
    let named = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let whole = || named.as_deref().unwrap_or(text).parse().ok();
    port().or_else(whole).ok_or_else(|| {
        "give an address and a port like 127.0.0.1:8080 or [::1]:8080, 0.0.0.0:8080 for all networks, or a port alone".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_this_machines_own_unless_it_says_otherwise() {
        for (text, meant) in [
            ("127.0.0.1:8080", "127.0.0.1:8080"),
            ("8080", "127.0.0.1:8080"),
            ("0", "127.0.0.1:0"),
            ("localhost:81", "127.0.0.1:81"),
            ("[::1]:8080", "[::1]:8080"),
            ("0.0.0.0:8080", "0.0.0.0:8080"),
        ] {
            assert_eq!(address(text).map(|a| a.to_string()), Ok(meant.to_owned()));
        }
        for wrong in [
            "",
            ":8080",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:99999",
            "65536",
            "camera:8080",
            "::1:80x",
            "http://127.0.0.1:80",
        ] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }
}
