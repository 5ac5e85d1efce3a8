//! What `bench` says about the machine.

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
