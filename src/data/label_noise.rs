//! Labels replaced at random: what a network can only memorise.

use super::{Dataset, Targets, order};

/// How many labels were replaced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct LabelNoise {
    /// Labels drawn anew.
    pub drawn: usize,
    /// Those that are others than before: a label drawn anew may be the true one.
    pub changed: usize,
}

impl Dataset {
    /// Draws `share` of the labels anew, uniformly from all classes, the true one among them: of `round(share * len)`
    /// samples, none twice.
    ///
    /// The choice depends on [`len`](Self::len), the number of classes, `share` and `seed` alone, and what a smaller
    /// share replaces is part of what a larger one does by the same seed. A share below 0 counts as 0, one above 1 as 1. Targets
    /// that are no classes stay as they are.
    pub fn replace_labels(&mut self, share: f64, seed: u64) -> LabelNoise {
        let count = (share.clamp(0.0, 1.0) * self.len() as f64).round() as usize;
        let samples = self.len();
        let Targets::Classes { labels, classes } = &mut self.targets else { return LabelNoise::default() };
        let replacements = order::random_labels(samples, *classes, count, seed);
        let mut changed = 0;
        for replacement in &replacements {
            let label = &mut labels[replacement.sample as usize];
            changed += usize::from(*label != replacement.label);
            *label = replacement.label;
        }
        LabelNoise { drawn: replacements.len(), changed }
    }
}
