//! The evaluation to choose by, and when to stop waiting for a better one.

use serde::{Deserialize, Serialize};

/// The evaluation at which the validation loss was lowest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// Steps done.
    pub step: u64,
    /// The validation loss.
    pub validation_loss: f64,
    /// Evaluations since.
    pub evaluations_since: u64,
}

impl Best {
    /// The best so far after one more evaluation: a lower loss takes its place, any other, NaN too, is one more in vain, and the
    /// first is a finite one.
    #[must_use]
    pub fn after(best: Option<Self>, step: u64, validation_loss: f64) -> Option<Self> {
        let found = Self { step, validation_loss, evaluations_since: 0 };
        match best {
            None => validation_loss.is_finite().then_some(found),
            Some(best) if validation_loss < best.validation_loss => Some(found),
            Some(best) => Some(Self { evaluations_since: best.evaluations_since + 1, ..best }),
        }
    }

    /// Whether a run that waits for so many evaluations has waited long enough.
    #[must_use]
    pub fn is_stale(&self, patience: Option<u64>) -> bool {
        patience.is_some_and(|patience| self.evaluations_since >= patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_loss_is_best_and_patience_counts_from_it() {
        let losses = [f64::INFINITY, 0.5, 0.5, f64::NAN, 0.4, 0.6, f64::INFINITY];
        let mut best = None;
        let mut seen = Vec::new();
        for (step, loss) in losses.into_iter().enumerate() {
            best = Best::after(best, step as u64, loss);
            seen.push(best.map(|best| (best.step, best.evaluations_since, best.is_stale(Some(2)))));
        }
        let expected = [
            None,
            Some((1, 0, false)),
            Some((1, 1, false)),
            Some((1, 2, true)),
            Some((4, 0, false)),
            Some((4, 1, false)),
            Some((4, 2, true)),
        ];
        assert_eq!(seen, expected);
        assert!(best.is_some_and(|best| !best.is_stale(None)));
    }
}
