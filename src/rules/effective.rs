//! What the buffer of effective weights holds, so that every pass is at the weights that its rule asks for.

use crate::noise::Point;

/// What `weights_eff` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Effective {
    /// The weights at this point near the clean ones as they are now.
    At(Point),
    /// Anything else: nothing yet, other weights than the clean ones, or a probe.
    #[default]
    Other,
}

impl Effective {
    /// Whether a pass that has to be at a point can do with what is there.
    #[must_use]
    pub fn holds(&self, point: &Point) -> bool {
        matches!(self, Self::At(held) if held == point)
    }
}
