//! What the system says about us: memory and temperature. Nothing where it does not say.

use std::fs;

/// Memory of this process that is in RAM, in MiB.
pub fn rss_mb() -> Option<f64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kib: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib / 1024.0)
}

/// The hottest of the system's sensors, in °C.
pub fn temp_c() -> Option<f64> {
    let zones = fs::read_dir("/sys/class/thermal").ok()?.flatten();
    let read = zones.filter_map(|zone| fs::read_to_string(zone.path().join("temp")).ok());
    let celsius = read.filter_map(|text| text.trim().parse::<f64>().ok()).map(|milli| milli / 1e3);
    // Sensors that are switched off report impossible values.
    celsius.filter(|c| (-50.0..200.0).contains(c)).reduce(f64::max)
}
