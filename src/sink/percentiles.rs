//! What is said of many times at once.

/// The 50th, 95th and 99th percentile by name; none of nothing. Sorts the values.
pub fn percentiles(values: &mut [f64]) -> Option<[(&'static str, f64); 3]> {
    values.sort_unstable_by(f64::total_cmp);
    // Nearest rank: the smallest value that so many per cent do not exceed.
    let rank = |percent: usize| (values.len() * percent).div_ceil(100).max(1) - 1;
    let at = |percent| values.get(rank(percent)).copied();
    at(50).zip(at(95)).zip(at(99)).map(|((a, b), c)| [("p50", a), ("p95", b), ("p99", c)])
}
