//! What `bench` prints.

use std::fmt::Write as _;

use edge_rcnn::detector::Detected;
use serde::{Serialize, Serializer};

/// Everything that was measured, and on what.
#[derive(Debug, Serialize)]
pub struct Report {
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub version: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub commit: Option<String>,
    pub cpu: String,
    pub threads: usize,
    pub kernels: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gpu: Option<String>,
    pub model: String,
    pub sha256: String,
    /// Rows and columns of the network input.
    pub input: [usize; 2],
    pub proposals: usize,
    pub frames: usize,
    pub frame_ms: Spread,
    pub stage_ms: Stages,
    /// What the threads reach together in the innermost loop, in 10⁹ operations a second.
    pub peak_gflops: f64,
    /// Of the two stages that multiply, at their median.
    pub speeds: Vec<Speed>,
    pub layers: Vec<Layer>,
    pub scales: Vec<Rung>,
}

/// Percentiles, nearest rank: values that occurred.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Spread {
    pub p50: f64,
    pub p95: f64,
    pub p99: f64,
}

impl Spread {
    /// Of at least one value.
    pub fn of(values: impl Iterator<Item = f64>) -> Self {
        // To a microsecond.
        let mut values: Vec<f64> = values.map(|v| (v * 1e3).round() / 1e3).collect();
        values.sort_unstable_by(f64::total_cmp);
        let at = |percent: usize| {
            let rank = (values.len() * percent).div_ceil(100).max(1) - 1;
            values.get(rank).copied().unwrap_or_default()
        };
        Self { p50: at(50), p95: at(95), p99: at(99) }
    }
}

/// The detector's stages in their order.
#[derive(Debug)]
pub struct Stages(Vec<(&'static str, Spread)>);

impl Stages {
    /// Of at least one frame.
    pub fn of(frames: &[Detected]) -> Self {
        let names = frames[0].timings.named().map(|(name, _)| name);
        let spread = |i: usize| Spread::of(frames.iter().map(|f| f.timings.named()[i].1));
        Self(names.into_iter().enumerate().map(|(i, name)| (name, spread(i))).collect())
    }
}

impl Serialize for Stages {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// How fast a stage multiplies.
#[derive(Debug, Serialize)]
pub struct Speed {
    pub stage: &'static str,
    /// 10⁹ operations that its definition asks for.
    pub gflop: f64,
    /// Those of a second.
    pub gflops: f64,
    /// Share of the peak.
    pub of_peak: f64,
}

impl Speed {
    /// Of so many multiply-adds.
    pub fn of(stage: &'static str, multiply_adds: u64, ms: f64, peak_gflops: f64) -> Self {
        let gflop = 2e-9 * multiply_adds as f64;
        let gflops = gflop / ms * 1e3;
        Self { stage, gflop, gflops, of_peak: gflops / peak_gflops }
    }
}

/// A layer of the trunk.
#[derive(Debug, Serialize)]
pub struct Layer {
    pub layer: String,
    pub ms: f64,
    /// 10⁹ operations that its definition asks for; 0 for layers without weights.
    pub gflop: f64,
    /// Those of a second.
    pub gflops: f64,
    /// Share of the peak.
    pub of_peak: f64,
}

impl Layer {
    /// Fills in what follows from the time.
    pub fn timed(mut self, peak_gflops: f64) -> Self {
        self.gflops = self.gflop / self.ms * 1e3;
        self.of_peak = self.gflops / peak_gflops;
        self
    }
}

/// A scale of the ladder.
#[derive(Debug, Serialize)]
pub struct Rung {
    pub scale: u32,
    pub p50: f64,
}

impl Report {
    /// As text.
    pub fn describe(&self) -> Result<String, std::fmt::Error> {
        let mut t = String::new();
        writeln!(t, "processor     {}", self.cpu)?;
        if let Some(gpu) = &self.gpu {
            writeln!(t, "GPU           {gpu}")?;
        }
        writeln!(t, "program       {} {}", self.version, self.commit.as_deref().unwrap_or("(commit unknown)"))?;
        writeln!(t, "model         {}, sha256 {}", self.model, self.sha256)?;
        let [rows, cols] = self.input;
        writeln!(t, "input         {rows}×{cols}, {} proposals", self.proposals)?;
        writeln!(t, "computing     {} kernels, {} threads", self.kernels, self.threads)?;
        writeln!(t, "peak          {:.0} · 10⁹ operations/s, measured in the innermost loop\n", self.peak_gflops)?;

        let unit = format!("ms of {} frames", self.frames);
        writeln!(
            t,
            "{:<14}{:>9}{:>9}{:>9}{:>9}{:>9}{:>9}   {unit}",
            "stage", "p50", "p95", "p99", "GFLOP", "GFLOP/s", "of peak"
        )?;
        for (name, s) in self.stage_ms.0.iter().chain([&("frame", self.frame_ms)]) {
            write!(t, "{name:<14}{:>9.2}{:>9.2}{:>9.2}", s.p50, s.p95, s.p99)?;
            if let Some(speed) = self.speeds.iter().find(|speed| speed.stage == *name) {
                write!(t, "{:>9.2}{:>9.0}{:>8.0}%", speed.gflop, speed.gflops, speed.of_peak * 100.0)?;
            }
            writeln!(t)?;
        }
        writeln!(t, "\n{:<14}{:>9}{:>9}{:>9}{:>9}", "trunk layer", "ms", "GFLOP", "GFLOP/s", "of peak")?;
        for l in &self.layers {
            write!(t, "{:<14}{:>9.2}", l.layer, l.ms)?;
            if l.gflop > 0.0 {
                write!(t, "{:>9.2}{:>9.0}{:>8.0}%", l.gflop, l.gflops, l.of_peak * 100.0)?;
            }
            writeln!(t)?;
        }
        writeln!(
            t,
            "Operations are those of the definition; Winograd's convolution and Strassen's product do with fewer: above 100 %."
        )?;
        writeln!(t, "\n{:<14}{:>9}", "scale", "frame ms")?;
        for r in &self.scales {
            writeln!(t, "{:<14}{:>9.2}", r.scale, r.p50)?;
        }
        Ok(t)
    }
}
