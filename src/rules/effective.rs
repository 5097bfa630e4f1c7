//! What the buffer of effective weights holds, so that every pass is at the weights that its rule asks for.

use crate::noise::Point;

/// What `weights_eff` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Effective {
    /// The weights at this point near the clean ones as they are now.
    At(Point),
    /// The weights at this point near those that an optimizer has gradients taken around, where they are others than the clean ones.
    Led(Point),
    /// Anything else: nothing yet, other weights than the clean ones, or a probe.
    #[default]
    Other,
}
