//! What a run does where its loss is not finite.

use crate::names::named;

named!("answer to NaN",
    /// What follows a loss that is NaN or infinite.
    #[derive(Default)]
    OnNan {
        /// The run ends; the last checkpoint is of before.
        #[default]
        Stop = "stop",
        /// Updates whose gradients are not finite are left out, and the run goes on; it ends after an epoch without any
        /// other.
        Skip = "skip",
        /// The run goes back to the last checkpoint and on with half the noise; only where a run keeps checkpoints.
        HalveSigma = "halve-sigma",
    }
);
