//! What a batch is taken from, and what changes from one to the next.

use crate::{
    gpu::View,
    kernels::{Augmentation, SampleElement},
};

/// What a data set's targets are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetKind {
    /// A class of each sample, below this.
    Classes(usize),
    /// So many numbers of each sample.
    Vectors(usize),
    /// Tokens of each sample.
    Tokens {
        /// Positions of a sample.
        length: usize,
        /// Tokens are below this.
        vocabulary: usize,
    },
    /// The token after each of a window of one text: samples and targets are that text, and a sample's index is the token at which
    /// its window begins.
    Next {
        /// Positions of a sample.
        length: usize,
        /// Tokens are below this.
        vocabulary: usize,
    },
}

impl TargetKind {
    /// Whether indices are the tokens of a text at which windows begin, and not numbers of samples.
    #[must_use]
    pub fn is_of_windows(self) -> bool {
        matches!(self, Self::Next { .. })
    }
}

/// A data set on the device.
#[derive(Clone, Debug)]
pub struct DataViews {
    /// [samples, channels, height, width], bytes four to a word, f32 or tokens; of windows the `[tokens]` of their text
    pub samples: View,
    /// How their values are stored.
    pub sample_element: SampleElement,
    /// Of samples that are tokens: they are below this.
    pub vocabulary: usize,
    /// `[samples]`, [samples, width] or [samples, length], by their kind; of windows their text
    pub targets: View,
    /// What the targets are.
    pub target_kind: TargetKind,
    /// `[positions]`, the order in which batches take samples from `samples` and `targets`; of windows the tokens at which they begin
    pub indices: View,
    /// `[positions]`, the number in the data set of each position's sample; augmentation goes by it
    pub ids: View,
    /// [channels, 2]: input = value * scale + shift
    pub normalisation: View,
    /// Channels, height and width of a sample.
    pub sample: [usize; 3],
    /// Random changes to the samples.
    pub augment: Augmentation,
}

/// How a batch's losses make one number.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossTerms {
    /// Samples of the mean that the gradient is of: this batch's, or those of all batches whose gradients add up.
    pub mean_over: u32,
    /// Share of the target that is spread over all classes; of negative log likelihood only.
    pub label_smoothing: f32,
}

impl LossTerms {
    /// A mean over so many samples, nothing smoothed.
    #[must_use]
    pub fn mean_over(samples: u32) -> Self {
        Self { mean_over: samples, label_smoothing: 0.0 }
    }
}

/// What changes from batch to batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchInfo {
    /// First position in the order of the epoch.
    pub first: u32,
    /// Samples in this batch; rows beyond count for nothing.
    pub valid: u32,
    /// Slot of the metrics ring.
    pub slot: u32,
    /// Whether the metrics add to what the slot holds.
    pub slot_adds: bool,
    /// How the losses make one number.
    pub terms: LossTerms,
    /// Epoch, by which samples are augmented.
    pub epoch: u32,
    /// Batches before this one, by which dropout draws.
    pub step: u64,
    /// Seed of dropout.
    pub seed: u64,
    /// Share of this batch in the running statistics of batch norms that go by the batch's.
    pub stats_momentum: f32,
}

impl BatchInfo {
    /// Samples `first .. first + valid` into a slot of the metrics, the loss their mean; epoch, step and seed 0, PyTorch's
    /// momentum of 0.1.
    #[must_use]
    pub fn new(first: u32, valid: u32, slot: u32) -> Self {
        let terms = LossTerms::mean_over(valid);
        Self { first, valid, slot, slot_adds: false, terms, epoch: 0, step: 0, seed: 0, stats_momentum: 0.1 }
    }
}
