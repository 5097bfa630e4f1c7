//! How good probabilities of classes are as predictions: likelihood, Brier score, calibration.

use serde::{Deserialize, Serialize};

use super::null::number;

/// Bins of the expected calibration error, of equal width over [0, 1].
const BINS: usize = 15;

/// The quality of probabilities as predictions, over samples and positions; NaN where a probability is.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Quality {
    /// Negative log likelihood in nats: the mean of -ln p(label).
    #[serde(deserialize_with = "number")]
    pub nll: f64,
    /// Brier score, from 0 to 2: the mean of the sum over all classes of (p(class) - one if it is the label)^2 (G. W. Brier,
    /// Verification of forecasts expressed in terms of probability, 1950), not divided by the number of classes.
    #[serde(deserialize_with = "number")]
    pub brier: f64,
    /// Expected calibration error, from 0 to 1: over 15 bins of the largest probability the mean, weighted by samples, of
    /// |accuracy - mean largest probability| (Guo, Pleiss, Sun, Weinberger, On calibration of modern neural networks, ICML
    /// 2017), binned as `MulticlassCalibrationError(n_bins=15, norm="l1")` of torchmetrics 1.9 does.
    #[serde(deserialize_with = "number")]
    pub ece: f64,
}

impl Quality {
    /// "NLL 0.1234, Brier score 0.0567, calibration error 0.0123".
    #[must_use]
    pub fn text(&self) -> String {
        let Self { nll, brier, ece } = self;
        format!("NLL {nll:.4}, Brier score {brier:.4}, calibration error {ece:.4}")
    }
}

/// What fell into a bin.
#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    correct: u64,
    confidence: f64,
}

/// Sums over predictions, which come one after the other.
#[derive(Clone, Debug)]
pub struct QualitySums {
    count: u64,
    correct: u64,
    nll: f64,
    brier: f64,
    /// One more than there are edges between: torchmetrics gives a probability of 1 a bin of its own.
    bins: [Bin; BINS + 1],
    edges: [f32; BINS + 1],
    /// The probabilities of a row of logits.
    row: Vec<f64>,
}

impl Default for QualitySums {
    fn default() -> Self {
        let bins = [Bin::default(); BINS + 1];
        Self { count: 0, correct: 0, nll: 0.0, brier: 0.0, bins, edges: edges(), row: Vec::new() }
    }
}

impl QualitySums {
    /// Adds a prediction by its logits, one a class, at temperature 1; the label is below their number.
    pub fn add_logits(&mut self, logits: &[f32], label: usize) {
        let mut row = std::mem::take(&mut self.row);
        let log_likelihood = softmax(logits, label, &mut row);
        self.add_probabilities(&row, log_likelihood, label);
        self.row = row;
    }

    /// Adds a prediction by its probabilities, one a class, and the logarithm of that of its label, which may be too small for
    /// its probability to be told from 0. Of equal probabilities the first is the prediction.
    pub fn add_probabilities(&mut self, probabilities: &[f64], log_likelihood: f64, label: usize) {
        let (mut top, mut confidence, mut squares) = (0, f64::NEG_INFINITY, 0.0);
        for (class, probability) in probabilities.iter().enumerate() {
            squares += (probability - f64::from(u8::from(class == label))).powi(2);
            // A NaN is told on.
            if *probability > confidence || probability.is_nan() {
                (top, confidence) = (class, *probability);
            }
        }
        let correct = u64::from(top == label && !confidence.is_nan());
        self.count += 1;
        self.correct += correct;
        self.nll -= log_likelihood;
        self.brier += squares;
        let edges_below = self.edges.partition_point(|edge| *edge <= confidence as f32);
        let bin = &mut self.bins[edges_below.saturating_sub(1)];
        bin.correct += correct;
        bin.confidence += confidence;
    }

    /// Share of the predictions whose largest probability is that of the label; NaN of none.
    #[must_use]
    pub fn accuracy(&self) -> f64 {
        self.correct as f64 / self.count as f64
    }

    /// Of all predictions so far; NaN of none.
    #[must_use]
    pub fn quality(&self) -> Quality {
        let count = self.count as f64;
        // A bin's share of the samples times the difference of its means.
        let gaps = self.bins.iter().map(|bin| (bin.correct as f64 - bin.confidence).abs());
        Quality { nll: self.nll / count, brier: self.brier / count, ece: gaps.sum::<f64>() / count }
    }
}

/// Where bins begin, [edge, next edge), as `torch.linspace(0, 1, 16)` has them in f32: half of them counted from either end,
/// with one rounding each.
fn edges() -> [f32; BINS + 1] {
    let step = 1.0 / BINS as f32;
    std::array::from_fn(
        |i| {
            if i < BINS.div_ceil(2) { step * i as f32 } else { (-step).mul_add((BINS - i) as f32, 1.0) }
        },
    )
}

/// Puts the softmax of logits into `row`; returns the logarithm of the label's probability.
pub(super) fn softmax(logits: &[f32], label: usize, row: &mut Vec<f64>) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    row.clear();
    row.extend(logits.iter().map(|logit| (f64::from(*logit) - f64::from(largest)).exp()));
    let sum: f64 = row.iter().sum();
    row.iter_mut().for_each(|value| *value /= sum);
    f64::from(logits[label]) - f64::from(largest) - sum.ln()
}

/// ln(e^a + e^b).
pub(super) fn log_add(a: f64, b: f64) -> f64 {
    let (high, low) = if a > b { (a, b) } else { (b, a) };
    if low == f64::NEG_INFINITY { high } else { high + (low - high).exp().ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_hand() {
        let mut sums = QualitySums::default();
        assert!(sums.quality().nll.is_nan() && sums.accuracy().is_nan());
        sums.add_probabilities(&[0.5, 0.25, 0.25], 0.5f64.ln(), 0);
        sums.add_probabilities(&[0.1, 0.3, 0.6], 0.3f64.ln(), 1);
        let Quality { nll, brier, ece } = sums.quality();
        assert!((nll + (0.5f64.ln() + 0.3f64.ln()) / 2.0).abs() < 1e-15);
        assert!((brier - (0.375 + 0.86) / 2.0).abs() < 1e-15);
        assert!((ece - (0.5 + 0.6) / 2.0).abs() < 1e-15);
        assert_eq!(sums.accuracy(), 0.5);
    }

    #[test]
    fn a_single_class_is_certain() {
        let mut sums = QualitySums::default();
        sums.add_logits(&[-3.5], 0);
        assert_eq!((sums.quality(), sums.accuracy()), (Quality { nll: 0.0, brier: 0.0, ece: 0.0 }, 1.0));
    }

    #[test]
    fn what_is_no_number_is_told() {
        for logits in [[f32::NAN, 0.0], [0.0, f32::NAN], [f32::INFINITY, 0.0]] {
            let mut sums = QualitySums::default();
            sums.add_logits(&logits, 1);
            let Quality { nll, brier, ece } = sums.quality();
            assert!([nll, brier, ece].iter().all(|value| value.is_nan()), "{logits:?}: {nll} {brier} {ece}");
        }
    }

    /// A likelihood that is 0 in f64 has a logarithm all the same.
    #[test]
    fn unlikely_labels_have_a_finite_likelihood() {
        let mut sums = QualitySums::default();
        sums.add_logits(&[2000.0, 0.0], 1);
        assert_eq!(sums.quality(), Quality { nll: 2000.0, brier: 2.0, ece: 1.0 });
    }
}
