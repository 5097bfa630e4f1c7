//! Mean and spread over seeds.

use std::{collections::HashMap, fmt};

use super::SeriesPoint;

/// Mean and sample standard deviation (n - 1) of the finite values; no deviation for fewer than two.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct MeanSd {
    /// Mean; NaN without values.
    pub mean: f64,
    /// Sample standard deviation.
    pub sd: Option<f64>,
    /// Values counted.
    pub count: usize,
}

impl MeanSd {
    /// Of the finite ones among `values`.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = f64>) -> Self {
        let finite: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let count = finite.len();
        let mean = if count == 0 { f64::NAN } else { finite.iter().sum::<f64>() / count as f64 };
        let squares: f64 = finite.iter().map(|value| (value - mean).powi(2)).sum();
        Self { mean, sd: (count > 1).then(|| (squares / (count - 1) as f64).sqrt()), count }
    }

    /// `mean ± sd` with so many decimals.
    #[must_use]
    pub fn text(&self, decimals: usize) -> String {
        match self.sd {
            _ if self.count == 0 => "-".to_owned(),
            None => format!("{:.decimals$}", self.mean),
            Some(sd) => format!("{:.decimals$} ± {sd:.decimals$}", self.mean),
        }
    }
}

impl fmt::Display for MeanSd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(4))
    }
}

/// Mean and mean ± sd over runs at each x of the first run that every run has.
///
/// Where any run has diverged the point is NaN, so that the line ends there: a mean over the runs that are left would
/// show the lucky ones.
#[must_use]
pub fn band(runs: &[Vec<(f64, f64)>]) -> Vec<SeriesPoint> {
    let Some((first, others)) = runs.split_first() else { return Vec::new() };
    let others: Vec<HashMap<u64, f64>> =
        others.iter().map(|run| run.iter().map(|(x, y)| (key(*x), *y)).collect()).collect();
    let point = |(x, y): &(f64, f64)| {
        let rest = others.iter().map(|run| run.get(&key(*x)).copied());
        let values = std::iter::once(Some(*y)).chain(rest).collect::<Option<Vec<f64>>>()?;
        if values.iter().any(|value| !value.is_finite()) {
            return Some(SeriesPoint { x: *x, y: f64::NAN, band: None });
        }
        let summary = MeanSd::new(values);
        Some(SeriesPoint { x: *x, y: summary.mean, band: summary.sd.map(|sd| (summary.mean - sd, summary.mean + sd)) })
    };
    first.iter().filter_map(point).collect()
}

/// Equal for equal numbers; adding 0 makes one of the two zeros.
fn key(x: f64) -> u64 {
    (x + 0.0).to_bits()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn mean_and_sample_deviation() {
        let summary = MeanSd::new([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, f64::NAN]);
        assert_eq!((summary.mean, summary.count), (5.0, 8));
        assert!((summary.sd.unwrap() - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(MeanSd::new([0.25]).text(2), "0.25");
        assert_eq!(MeanSd::new([]).text(2), "-");
        assert_eq!(MeanSd::new([1.0, 2.0]).text(1), "1.5 ± 0.7");
    }

    #[test]
    fn bands_have_the_points_that_every_run_has() {
        let points = band(&[vec![(1.0, 2.0), (2.0, 3.0)], vec![(1.0, 4.0)]]);
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].y, 3.0);
        assert_eq!(points[0].band, Some((3.0 - 2f64.sqrt(), 3.0 + 2f64.sqrt())));
    }

    #[test]
    fn bands_match_runs_by_x() {
        let points = band(&[vec![(0.0, 1.0), (10.0, 2.0)], vec![(-0.0, 3.0), (5.0, 9.0), (10.0, 4.0)]]);
        let places: Vec<_> = points.iter().map(|point| (point.x, point.y)).collect();
        assert_eq!(places, [(0.0, 2.0), (10.0, 3.0)]);
        assert!(band(&[]).is_empty());
        assert_eq!(band(&[vec![(1.0, 2.0)]]), [SeriesPoint { x: 1.0, y: 2.0, band: None }]);
    }

    #[test]
    fn a_diverged_run_ends_the_mean() {
        let points = band(&[vec![(1.0, 2.0), (2.0, f64::NAN)], vec![(1.0, 4.0), (2.0, 1.0)]]);
        assert!(points[0].y == 3.0 && points[1].y.is_nan() && points[1].band.is_none());
    }
}
