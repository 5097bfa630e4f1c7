//! Means and lines with their confidence intervals.

use nalgebra::{DMatrix, DVector};

/// A coefficient with a 95 % confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower and upper end.
    pub interval: [f64; 2],
}

/// The mean of independent values; the interval is infinite for fewer than two, NaN where one is.
#[must_use]
pub fn mean(values: &[f64]) -> Estimate {
    let n = values.len() as f64;
    let value = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|x| (x - value).powi(2)).sum::<f64>() / (n - 1.0);
    let half = if values.len() < 2 { f64::INFINITY } else { student(values.len() - 1) * (variance / n).sqrt() };
    Estimate { value, interval: [value - half, value + half] }
}

/// The largest value; NaN if one is, 0 without any.
#[must_use]
pub fn largest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |a, b| if a.is_nan() || b.is_nan() { f64::NAN } else { b.max(a) })
}

/// An estimate from blocks of data, with the interval of the jackknife: `estimate` is given which blocks to keep.
///
/// Source: Efron, Tibshirani, An Introduction to the Bootstrap, chapter 11.
#[must_use]
pub fn jackknife(blocks: usize, estimate: impl Fn(&dyn Fn(usize) -> bool) -> f64) -> Estimate {
    let value = estimate(&|_| true);
    if blocks < 2 {
        return Estimate { value, interval: [f64::NEG_INFINITY, f64::INFINITY] };
    }
    let n = blocks as f64;
    let without: Vec<f64> = (0..blocks).map(|left_out| estimate(&|block| block != left_out)).collect();
    let centre = without.iter().sum::<f64>() / n;
    let variance = without.iter().map(|of| (of - centre).powi(2)).sum::<f64>() * (n - 1.0) / n;
    let half = student(blocks - 1) * variance.sqrt();
    Estimate { value, interval: [value - half, value + half] }
}

/// Least squares y ~ rows * b: an estimate per column, from residuals that are independent and of one variance.
///
/// `None` where columns depend on each other, there are no more rows than columns, or a value is not finite.
#[must_use]
pub fn fit(rows: &[Vec<f64>], y: &[f64]) -> Option<Vec<Estimate>> {
    let (n, k) = (rows.len(), rows.first()?.len());
    if n <= k || y.len() != n || rows.iter().flatten().chain(y).any(|x| !x.is_finite()) {
        return None;
    }
    let x = DMatrix::from_fn(n, k, |i, j| rows[i].get(j).copied().unwrap_or(0.0));
    let y = DVector::from_column_slice(y);
    let inverse = x.tr_mul(&x).try_inverse()?;
    let b = &inverse * x.tr_mul(&y);
    let variance = (y - x * &b).norm_squared() / (n - k) as f64;
    let of = |i: usize| {
        let half = student(n - k) * (variance * inverse[(i, i)]).sqrt();
        Estimate { value: b[i], interval: [b[i] - half, b[i] + half] }
    };
    Some((0..k).map(of).collect())
}

/// The 97.5 % quantile of Student's t, by the expansion in 1 / freedom around the normal's (Abramowitz and Stegun 26.7.5);
/// within 1 % from 3 degrees of freedom on.
fn student(freedom: usize) -> f64 {
    match freedom {
        0 => f64::INFINITY,
        1 => 12.706,
        2 => 4.303,
        _ => {
            let (z, n) = (1.959_964_f64, freedom as f64);
            let terms = [
                (z.powi(3) + z) / 4.0,
                (5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z) / 96.0,
                (3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z) / 384.0,
            ];
            z + terms.iter().enumerate().map(|(i, term)| term / n.powi(i as i32 + 1)).sum::<f64>()
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Quantiles as in Abramowitz and Stegun's table 26.10.
    #[test]
    fn quantiles_are_the_published_ones() {
        for (freedom, expected) in [(1, 12.706), (2, 4.303), (3, 3.182), (5, 2.571), (10, 2.228), (30, 2.042)] {
            assert!((student(freedom) / expected - 1.0).abs() < 0.01, "{freedom}: {}", student(freedom));
        }
    }

    #[test]
    fn a_line_is_found_with_its_interval() {
        let rows: Vec<Vec<f64>> = (0..8).map(|i| vec![1.0, f64::from(i)]).collect();
        let y: Vec<f64> = (0..8).map(|i| 2.0 - 0.5 * f64::from(i) + if i % 2 == 0 { 0.1 } else { -0.1 }).collect();
        let found = fit(&rows, &y).unwrap();
        // The alternating errors lean by -0.1 * 4 / 42 a step.
        assert!((found[1].value - (-0.5 - 0.4 / 42.0)).abs() < 1e-12);
        assert!(found[1].interval[0] < -0.5 && found[1].interval[1] > -0.5);
        assert!(fit(&rows[..2], &y[..2]).is_none() && fit(&[], &[]).is_none());
        assert!(fit(&vec![vec![1.0, 1.0]; 5], &y[..5]).is_none(), "two equal columns");
        let values = [1.0, 2.0, 3.0];
        let of = jackknife(3, |keep| {
            mean(&values.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, x)| *x).collect::<Vec<_>>()).value
        });
        assert!((of.interval[1] - mean(&values).interval[1]).abs() < 1e-12, "of a mean it is the usual interval");
        let of = mean(&values);
        assert!((of.value - 2.0).abs() < 1e-12 && (of.interval[1] - 2.0 - 4.303 / 3.0_f64.sqrt()).abs() < 1e-3);
    }
}
