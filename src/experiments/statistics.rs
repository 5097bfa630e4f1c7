//! Means, quotients and lines with their confidence intervals, and p values of several comparisons.
//!
//! Student's t is statrs' by the incomplete beta function, at any number of degrees of freedom.

use nalgebra::{DMatrix, DVector};
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// Of intervals that stand alone.
pub const CONFIDENCE: f64 = 0.95;

/// A coefficient with a confidence interval, 95 % unless something else is said.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The estimate.
    pub value: f64,
    /// Lower and upper end.
    pub interval: [f64; 2],
}

/// An estimate before a level of confidence is chosen.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Uncertain {
    /// The estimate.
    pub value: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom of the standard error.
    pub freedom: f64,
}

impl Uncertain {
    /// The mean of independent values; the error is infinite for fewer than two, NaN where one is.
    #[must_use]
    pub fn mean(values: &[f64]) -> Self {
        let n = values.len() as f64;
        let value = values.iter().sum::<f64>() / n;
        let squares = squares(values, value);
        let error = if values.len() < 2 { f64::INFINITY } else { (squares / (n - 1.0) / n).sqrt() };
        Self { value, error, freedom: n - 1.0 }
    }

    /// This over `divisor`, which is independent of it: errors to first order, degrees of freedom by Welch and
    /// Satterthwaite.
    #[must_use]
    pub fn over(self, divisor: Self) -> Self {
        let value = self.value / divisor.value;
        let sum = self.times(1.0 / divisor.value).plus(divisor.times(-value / divisor.value));
        Self { value, ..sum }
    }

    /// A multiple.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { value: self.value * factor, error: self.error * factor.abs(), ..self }
    }

    /// The sum with another that is independent of it; degrees of freedom by Welch and Satterthwaite.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        let (a, b) = (self.error * self.error, other.error * other.error);
        let freedom = (a + b) * (a + b) / (a * a / self.freedom + b * b / other.freedom);
        Self { value: self.value + other.value, error: (a + b).sqrt(), freedom }
    }

    /// With the interval of a confidence such as 0.95.
    #[must_use]
    pub fn at(self, confidence: f64) -> Estimate {
        let half =
            if self.error.is_infinite() { f64::INFINITY } else { student(confidence, self.freedom) * self.error };
        Estimate { value: self.value, interval: [self.value - half, self.value + half] }
    }

    /// The probability of being at least as far from `null` as this, were `null` the truth.
    #[must_use]
    pub fn p_value(self, null: f64) -> f64 {
        student_tails((self.value - null) / self.error, self.freedom)
    }
}

/// The sum of squares around a centre, 0 where the values are equal but for rounding: a mean of equal values is rounded too,
/// and would pass for one that is known to 16 digits.
fn squares(values: &[f64], centre: f64) -> f64 {
    const ROUNDING: f64 = 1e-12;
    let largest = values.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    let Some(first) = values.first() else { return 0.0 };
    if values.iter().all(|x| (x - first).abs() <= ROUNDING * largest) {
        return 0.0;
    }
    values.iter().map(|x| (x - centre).powi(2)).sum()
}

/// The mean of independent values; the interval is infinite for fewer than two, NaN where one is.
#[must_use]
pub fn mean(values: &[f64]) -> Estimate {
    Uncertain::mean(values).at(CONFIDENCE)
}

/// `with` less `without`, pair by pair, of as many as both have.
#[must_use]
pub fn paired_differences(with: &[f64], without: &[f64]) -> Vec<f64> {
    with.iter().zip(without).map(|(with, without)| with - without).collect()
}

/// p values of comparisons that are read together, adjusted so that the chance of a single false alarm among them is
/// what each says. A p that is NaN counts as a comparison and stays NaN.
///
/// Source: Holm, Scand. J. Stat. 1979.
#[must_use]
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|a, b| p[*a].total_cmp(&p[*b]));
    let mut adjusted = p.to_vec();
    let mut largest = 0.0_f64;
    for (rank, at) in order.into_iter().enumerate() {
        if p[at].is_nan() {
            continue;
        }
        largest = largest.max(p[at] * (p.len() - rank) as f64).min(1.0);
        adjusted[at] = largest;
    }
    adjusted
}

/// The confidence of each of `comparisons` intervals that together hold their truths with [`CONFIDENCE`] (Bonferroni).
#[must_use]
pub fn bonferroni(comparisons: usize) -> f64 {
    1.0 - (1.0 - CONFIDENCE) / comparisons.max(1) as f64
}

/// An estimate from blocks of data, with the interval of the jackknife: `estimate` is given which blocks to keep.
///
/// Source: Efron, Tibshirani, An Introduction to the Bootstrap, chapter 11.
#[must_use]
pub fn jackknife(blocks: usize, estimate: impl Fn(&dyn Fn(usize) -> bool) -> f64) -> Estimate {
    let value = estimate(&|_| true);
    let n = blocks as f64;
    let without: Vec<f64> = (0..blocks).map(|left_out| estimate(&|block| block != left_out)).collect();
    let centre = without.iter().sum::<f64>() / n;
    let variance = squares(&without, centre) * (n - 1.0) / n;
    let error = if blocks < 2 { f64::INFINITY } else { variance.sqrt() };
    Uncertain { value, error, freedom: n - 1.0 }.at(CONFIDENCE)
}

/// The slope of ln y over ln x by least squares, y being the mean of a point's blocks, with the interval of the jackknife over blocks:
/// block b of each point belongs together. `points` are (x, its blocks), at least 2; NaN where a mean is not positive.
#[must_use]
pub fn log_log_slope(points: &[(f64, Vec<f64>)]) -> Estimate {
    let blocks = points.iter().map(|(_, values)| values.len()).min().unwrap_or(0);
    jackknife(blocks, |keep| {
        let place = |(x, values): &(f64, Vec<f64>)| {
            let kept = values.iter().take(blocks).enumerate().filter(|(block, _)| keep(*block));
            (x.ln(), Uncertain::mean(&kept.map(|(_, value)| *value).collect::<Vec<_>>()).value.ln())
        };
        line_slope(&points.iter().map(place).collect::<Vec<_>>())
    })
}

fn line_slope(places: &[(f64, f64)]) -> f64 {
    let n = places.len() as f64;
    let (mx, my) = places.iter().fold((0.0, 0.0), |(a, b), (x, y)| (a + x / n, b + y / n));
    let covariance: f64 = places.iter().map(|(x, y)| (x - mx) * (y - my)).sum();
    covariance / places.iter().map(|(x, _)| (x - mx).powi(2)).sum::<f64>()
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
    let freedom = (n - k) as f64;
    let variance = (y - x * &b).norm_squared() / freedom;
    let column = |i: usize| Uncertain { value: b[i], error: (variance * inverse[(i, i)]).sqrt(), freedom };
    Some((0..k).map(|i| column(i).at(CONFIDENCE)).collect())
}

/// t such that Student's variable is within -t and t with this probability; NaN without a degree of freedom.
#[must_use]
pub fn student(probability: f64, freedom: f64) -> f64 {
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::NAN, |distribution| distribution.inverse_cdf(0.5 + probability / 2.0))
}

/// The probability that Student's variable is further from 0 than t; NaN without a degree of freedom.
fn student_tails(t: f64, freedom: f64) -> f64 {
    if t.is_nan() {
        return f64::NAN;
    }
    StudentsT::new(0.0, 1.0, freedom).map_or(f64::NAN, |distribution| 2.0 * distribution.sf(t.abs()))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Quantiles as in Abramowitz and Stegun's table 26.10.
    #[test]
    fn quantiles_are_the_published_ones() {
        for (freedom, expected) in
            [(1.0, 12.706), (2.0, 4.303), (3.0, 3.182), (5.0, 2.571), (10.0, 2.228), (30.0, 2.042), (120.0, 1.980)]
        {
            let found = student(0.95, freedom);
            assert!((found - expected).abs() < 6e-4, "{freedom}: {found}");
            assert!((student_tails(found, freedom) - 0.05).abs() < 1e-9, "the tails are the quantile's inverse");
        }
        // The same table at 99 %, and closed forms: Cauchy's tails, and 1 - t / sqrt(2 + t^2) for 2 degrees of freedom.
        assert!((student(0.99, 4.0) - 4.604).abs() < 6e-4);
        assert!((student_tails(1.0, 1.0) - 0.5).abs() < 1e-12);
        assert!((student_tails(3.0, 2.0) - (1.0 - 3.0 / 11.0_f64.sqrt())).abs() < 1e-12);
        assert!(student(0.95, 0.0).is_nan() && student_tails(f64::NAN, 3.0).is_nan());
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
        let jackknifed = jackknife(3, |keep| {
            mean(&values.iter().enumerate().filter(|(i, _)| keep(*i)).map(|(_, x)| *x).collect::<Vec<_>>()).value
        });
        assert!(
            (jackknifed.interval[1] - mean(&values).interval[1]).abs() < 1e-12,
            "of a mean it is the usual interval"
        );
        let estimate = mean(&values);
        assert!(
            (estimate.value - 2.0).abs() < 1e-12 && (estimate.interval[1] - 2.0 - 4.303 / 3.0_f64.sqrt()).abs() < 1e-3
        );
    }

    /// Holm's rule by hand: the smallest times 4, the next times 3, and never less than the one before.
    #[test]
    fn several_p_values_are_adjusted_by_holm() {
        let adjusted = holm(&[0.01, 0.04, 0.03, 0.005]);
        for (found, expected) in adjusted.iter().zip([0.03, 0.06, 0.06, 0.02]) {
            assert!((found - expected).abs() < 1e-12, "{adjusted:?}");
        }
        let with_nan = holm(&[f64::NAN, 0.02]);
        assert!(with_nan[0].is_nan() && (with_nan[1] - 0.04).abs() < 1e-12, "what was not measured still counts");
        assert!((bonferroni(6) - (1.0 - 0.05 / 6.0)).abs() < 1e-12);
    }

    /// y = 3 x^1.5 times what the block is off by: its logarithm is in every point the same, and so leaves the slope alone.
    #[test]
    fn a_power_is_found_over_blocks() {
        let points = |off: fn(f64, f64) -> f64| -> Vec<(f64, Vec<f64>)> {
            let point = |x: f64| (x, [0.8, 0.9, 1.1, 1.2].map(|block| 3.0 * x.powf(1.5) * off(x, block)).to_vec());
            [2.0, 4.0, 8.0].map(point).to_vec()
        };
        let exact = log_log_slope(&points(|_, block| block));
        assert!((exact.value - 1.5).abs() < 1e-12 && (exact.interval[1] - exact.interval[0]).abs() < 1e-9, "{exact:?}");
        let uncertain = log_log_slope(&points(|x, block| if x > 4.0 { block } else { 1.0 }));
        assert!((uncertain.value - 1.5).abs() < 1e-12, "the blocks' mean is 1 everywhere");
        assert!(uncertain.interval[0] < 1.45 && uncertain.interval[1] > 1.55, "{uncertain:?}");
    }

    #[test]
    fn a_quotient_has_the_errors_of_both() {
        let [a, b] =
            [(10.0, 0.3, 8.0), (5.0, 0.2, 5.0)].map(|(value, error, freedom)| Uncertain { value, error, freedom });
        let quotient = a.over(b);
        let expected = 2.0 * (0.03_f64.powi(2) + 0.04_f64.powi(2)).sqrt();
        assert!((quotient.value - 2.0).abs() < 1e-12 && (quotient.error - expected).abs() < 1e-12);
        // Welch: (9 + 16)^2 / (81 / 8 + 256 / 5)
        assert!((quotient.freedom - 625.0 / (81.0 / 8.0 + 256.0 / 5.0)).abs() < 1e-9);
        assert!(Uncertain::mean(&[1.0]).at(0.95).interval[1].is_infinite());
        assert!(Uncertain::mean(&[]).at(0.95).value.is_nan());
    }
}
