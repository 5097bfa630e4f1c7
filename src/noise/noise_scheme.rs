//! What a noise scheme is, whoever wrote it.

use std::fmt;

use crate::schedule::Moment;

use super::{Distribution, NoisePart, Scale, Scheme, StepNoise};

/// The noise of a run, step by step: [`Scheme`], or one of a user's own.
///
/// It is pure in the step: whoever asks twice gets the same, which is what lets a run be resumed, repeated and measured in
/// between.
pub trait NoiseScheme: fmt::Debug + Send + Sync {
    /// The noise of a step, as strong as scheduled for the moment `when`.
    fn at(&self, step: u64, when: Moment) -> StepNoise;

    /// Per tensor of the layout the factor of its noise; 0 for one that never takes any.
    fn scales(&self) -> Vec<f32>;

    /// The parts of tensors of each group that may be noisy on its own, for messages and for benches, which meet each equally often.
    fn groups(&self) -> &[Vec<NoisePart>] {
        &[]
    }

    /// The distribution of unit noise.
    fn distribution(&self) -> Distribution {
        Distribution::Gaussian
    }

    /// The unit of sigma.
    fn scale(&self) -> Scale {
        Scale::Absolute
    }
}

impl NoiseScheme for Scheme {
    fn at(&self, step: u64, when: Moment) -> StepNoise {
        self.at(step, when)
    }

    fn scales(&self) -> Vec<f32> {
        self.scales()
    }

    fn groups(&self) -> &[Vec<NoisePart>] {
        self.groups()
    }

    fn distribution(&self) -> Distribution {
        self.config().distribution
    }

    fn scale(&self) -> Scale {
        self.config().scale
    }
}
