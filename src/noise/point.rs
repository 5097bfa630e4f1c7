//! Where in weight space a gradient is taken.

use super::StepNoise;

/// A point near the clean weights, at which the network is looked at.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Point {
    /// The clean weights themselves.
    #[default]
    Clean,
    /// The clean weights with this noise, which is some.
    Noisy(StepNoise),
    /// The clean weights at this distance against the optimizer's momentum.
    Ahead(f64),
}

impl From<StepNoise> for Point {
    /// The clean weights with this noise, which may be none.
    fn from(noise: StepNoise) -> Self {
        if noise.sigma() == 0.0 { Self::Clean } else { Self::Noisy(noise) }
    }
}
