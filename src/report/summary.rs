//! Mean and spread over seeds.

use std::fmt;

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
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
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

/// Mean and mean ± sd over runs, point by point, as far as every run reaches; x is the first run's.
#[must_use]
pub fn band(runs: &[Vec<(f64, f64)>]) -> Vec<SeriesPoint> {
    let length = runs.iter().map(Vec::len).min().unwrap_or(0);
    (0..length)
        .map(|i| {
            let of = MeanSd::of(runs.iter().map(|run| run[i].1));
            let band = of.sd.map(|sd| (of.mean - sd, of.mean + sd));
            SeriesPoint { x: runs[0][i].0, y: of.mean, band }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_sample_deviation() {
        let of = MeanSd::of([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0, f64::NAN]);
        assert_eq!((of.mean, of.count), (5.0, 8));
        assert!((of.sd.unwrap() - (32.0f64 / 7.0).sqrt()).abs() < 1e-12);
        assert_eq!(MeanSd::of([0.25]).text(2), "0.25");
        assert_eq!(MeanSd::of([]).text(2), "-");
        assert_eq!(MeanSd::of([1.0, 2.0]).text(1), "1.5 ± 0.7");
    }

    #[test]
    fn bands_end_with_the_shortest_run() {
        let points = band(&[vec![(1.0, 2.0), (2.0, 3.0)], vec![(1.0, 4.0)]]);
        assert_eq!(points.len(), 1);
        assert_eq!(points[0].y, 3.0);
        assert_eq!(points[0].band, Some((3.0 - 2f64.sqrt(), 3.0 + 2f64.sqrt())));
    }
}
