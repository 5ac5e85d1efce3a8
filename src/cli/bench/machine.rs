//! What `bench` says about the machine and the program.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

/// The processor's name, as the system knows it; else its architecture.
pub fn cpu() -> String {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let field = |name: &str| {
        let line = info.lines().find(|l| l.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    };
    let name = field("model name").or_else(|| field("Hardware")).or_else(|| field("Model"));
    name.unwrap_or_else(|| std::env::consts::ARCH.into())
}

/// Cores this program may use.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The commit that the program was built of: what `EDGE_RCNN_COMMIT` said when it was built, as in builds for distribution; of a
/// program that lies in the checkout it was built in, that of the checkout, with a `+` if there are changes. Unknown if the
/// checkout has moved on since.
pub fn commit() -> Option<String> {
    if let Some(commit) = option_env!("EDGE_RCNN_COMMIT") {
        return Some(commit.into());
    }
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = std::env::current_exe().ok()?;
    let built = program.metadata().and_then(|m| m.modified()).ok()?;
    let here = program.starts_with(checkout) && checkout.join(".git").exists();
    let git = |args: &[&str]| {
        let output = Command::new("git").arg("-C").arg(checkout).args(args).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let of = here.then(|| git(&["log", "-1", "--format=%ct %h"])).flatten()?;
    let (seconds, commit) = of.split_once(' ')?;
    let committed = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.parse().ok()?);
    let changed = !git(&["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    (committed <= built).then(|| format!("{commit}{}", if changed { "+" } else { "" }))
}
