//! What the buffer of effective weights holds, so that every step has the noise that it is logged with.

use crate::noise::StepNoise;

/// What `weights_eff` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Effective {
    /// The clean weights.
    Clean,
    /// The clean weights with this noise.
    Noisy(StepNoise),
    /// Anything else: nothing yet, other weights than the clean ones, or a probe.
    #[default]
    Other,
}

impl Effective {
    /// The clean weights with this noise, which may be none.
    pub(super) fn with(noise: &StepNoise) -> Self {
        if noise.sigma() == 0.0 { Self::Clean } else { Self::Noisy(noise.clone()) }
    }

    /// Whether a step that has to have this noise can do with what is there.
    pub(super) fn holds(&self, noise: &StepNoise) -> bool {
        match self {
            Self::Clean => noise.sigma() == 0.0,
            Self::Noisy(held) => held == noise,
            Self::Other => false,
        }
    }
}
