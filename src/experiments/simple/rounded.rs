//! Coefficients short enough for a file of measurements.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

/// Coefficients as whole multiples of a unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rounded {
    /// What is counted.
    unit: f64,
    /// How many of it, a coefficient each; `None` where one is not finite: the run diverged.
    multiples: Option<Vec<i32>>,
}

/// The unit as a share of the largest coefficient that is expected: the rounding moves a distance of half a percent by less
/// than a hundredth of it.
const RESOLUTION: f64 = 1e-4;

impl Rounded {
    /// Rounds coefficients that should be about as large as `expected`.
    #[must_use]
    pub fn new(theta: &DVector<f64>, expected: &DVector<f64>) -> Self {
        let size = if expected.amax() > 0.0 { expected.amax() } else { 1.0 };
        let unit = RESOLUTION * size;
        let multiple = |x: &f64| {
            let multiple = (x / unit).round();
            (multiple.abs() <= f64::from(i32::MAX)).then_some(multiple as i32)
        };
        Self { unit, multiples: theta.iter().map(multiple).collect() }
    }

    /// The coefficients; NaN each where the run diverged.
    #[must_use]
    pub fn theta(&self, coefficients: usize) -> DVector<f64> {
        match &self.multiples {
            Some(multiples) if multiples.len() == coefficients => {
                DVector::from_iterator(coefficients, multiples.iter().map(|multiple| f64::from(*multiple) * self.unit))
            }
            _ => DVector::from_element(coefficients, f64::NAN),
        }
    }

    /// Whether the run has coefficients at all.
    #[must_use]
    pub fn is_finite(&self) -> bool {
        self.multiples.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coefficients_come_back_and_what_diverged_does_not() {
        let theta = DVector::from_vec(vec![2.0, -0.123_456, 0.0]);
        let rounded = Rounded::new(&theta, &theta);
        assert!((rounded.theta(3) - &theta).amax() <= 1e-4);
        for broken in [f64::NAN, f64::INFINITY, 1e30] {
            let rounded = Rounded::new(&DVector::from_vec(vec![1.0, broken]), &theta);
            assert!(!rounded.is_finite() && rounded.theta(2).iter().all(|x| x.is_nan()));
        }
    }
}
