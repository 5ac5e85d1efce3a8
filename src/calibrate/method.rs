//! How the range of a map is chosen of the values seen in it.

use std::fmt;
use std::str::FromStr;

use super::Histogram;

/// The methods.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Method {
    /// Up to the largest value: nothing is cut off, one outlier coarsens everything.
    MinMax,
    /// Up to the value below which so many percent of all values lie, zeros included.
    Percentile(f64),
    /// The range with the least mean squared error, of rounding and cutting off together.
    Mse,
}

/// Ranges tried for the least error: so many shares of the largest value.
const TRIED: u32 = 256;

impl Method {
    /// The range for values in `steps` steps.
    pub fn range(self, histogram: &Histogram, steps: u32) -> f32 {
        let largest = histogram.largest();
        match self {
            Self::MinMax => largest,
            Self::Percentile(percent) => histogram.quantile(percent / 100.0),
            Self::Mse => {
                let tried = (1..=TRIED).map(|i| largest * i as f32 / TRIED as f32);
                let errors = tried.map(|range| (range, histogram.error(range, steps)));
                errors.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(largest, |(range, _)| range)
            }
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => write!(f, "min-max"),
            Self::Percentile(percent) => write!(f, "percentile:{percent}"),
            Self::Mse => write!(f, "mse"),
        }
    }
}

impl FromStr for Method {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "min-max" => Ok(Self::MinMax),
            None if text == "mse" => Ok(Self::Mse),
            None if text == "percentile" => Ok(Self::Percentile(99.99)),
            Some(("percentile", percent)) => match percent.parse() {
                Ok(percent) if percent > 0.0 && percent <= 100.0 => Ok(Self::Percentile(percent)),
                _ => Err(format!("`{percent}` is not a percentage above 0, at most 100")),
            },
            _ => Err("expected `min-max`, `percentile`, `percentile:P` or `mse`".into()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    /// Many small values, as in a map after a ReLU, and one far away.
    fn with_outlier() -> Histogram {
        let mut h = Histogram::default();
        h.add(&(0..200_000).map(|i| (i % 1000) as f32 / 1000.0).collect::<Vec<_>>());
        h.add(&[40.0]);
        h
    }

    #[test]
    fn an_outlier_moves_only_the_range_up_to_the_largest() {
        let h = with_outlier();
        assert_eq!(Method::MinMax.range(&h, 255), 40.0);
        assert!((Method::Percentile(99.9).range(&h, 255) - 1.0).abs() < 0.05);
        // (40 − r)²/200001 of cutting off and (r/255)²/12 of rounding are least together at r = 31.8,
        // if rounding errors were spread evenly; eight steps between 0 and 1 are too few for that to be exact.
        let mse = Method::Mse.range(&h, 255);
        assert!((mse - 31.8).abs() < 1.5, "{mse}");
        assert_eq!(Method::Mse.range(&Histogram::default(), 255), 0.0);
    }

    #[test]
    fn names_are_read_as_they_are_written() {
        for method in [Method::MinMax, Method::Percentile(99.9), Method::Mse] {
            assert_eq!(method.to_string().parse::<Method>(), Ok(method));
        }
        for wrong in ["percentile:0", "percentile:101", "percentile:x", "max", "mse:3"] {
            assert!(wrong.parse::<Method>().is_err(), "{wrong}");
        }
    }
}
