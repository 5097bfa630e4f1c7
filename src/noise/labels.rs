//! Labels drawn anew each time a sample is visited.

use super::draw::{Stream, key, philox};

/// Label noise that is fresh at each visit: with probability `share` a sample's label gives way to one drawn uniformly from all
/// classes, its own among them. It is that of Damian, Ma and Lee, *Label Noise SGD Provably Prefers Flat Global Minimizers*,
/// NeurIPS 2021 (arXiv 2106.06530); a sample is visited once an epoch, so an epoch's labels are drawn at its beginning.
///
/// What is drawn is a function of seed, epoch and sample alone: nothing is stored, and a resumed run draws the same.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FreshLabels {
    /// The share as a part of 2^32, below which a word stands for a draw.
    threshold: f64,
    seed: u64,
}

impl FreshLabels {
    /// A share below 0 counts as 0, one above 1 as 1.
    #[must_use]
    pub fn new(share: f64, seed: u64) -> Self {
        Self { threshold: share.clamp(0.0, 1.0) * 2f64.powi(32), seed }
    }

    /// The label, below `classes`, that a sample has in an epoch in the place of its own; `None` where it keeps that.
    #[must_use]
    pub fn drawn(&self, epoch: u64, sample: u32, classes: usize) -> Option<u32> {
        let counter = [sample, epoch as u32, (epoch >> 32) as u32, Stream::Labels as u32];
        let words = philox(counter, key(self.seed));
        let uniform = u64::from(words[1]) << 32 | u64::from(words[2]);
        // The high part of the product is uniform but for classes / 2^64 of it.
        let label = (u128::from(uniform) * classes as u128) >> 64;
        (f64::from(words[0]) < self.threshold).then_some(label as u32)
    }

    /// Puts what is drawn for these samples in the place of their labels, `[samples]`, in the same order.
    pub fn replace(&self, epoch: u64, samples: impl Iterator<Item = u32>, labels: &mut [u32], classes: usize) {
        for (label, sample) in labels.iter_mut().zip(samples) {
            *label = self.drawn(epoch, sample, classes).unwrap_or(*label);
        }
    }
}
