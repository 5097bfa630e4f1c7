//! The choices a user has, with the names of the command line and of configuration files.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A name that is none of the choices.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} {found:?}, expected one of {expected}")]
pub struct UnknownName {
    /// What was named.
    pub what: &'static str,
    /// The name found.
    pub found: String,
    /// The names there are.
    pub expected: String,
}

/// An enum of unit variants with one name each, for the command line, configuration files and messages.
macro_rules! named {
    ($what:literal, $(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $text)] $variant),+
        }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The name on the command line.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        impl FromStr for $name {
            type Err = UnknownName;

            fn from_str(text: &str) -> Result<Self, UnknownName> {
                Self::ALL.iter().copied().find(|choice| choice.name() == text).ok_or_else(|| UnknownName {
                    what: $what,
                    found: text.to_owned(),
                    expected: Self::ALL.iter().map(|choice| choice.name()).collect::<Vec<_>>().join(", "),
                })
            }
        }
    };
}

named!("noise mode",
    /// Which groups are noisy at a step. M is the number of groups.
    Mode {
        /// Plain gradient descent.
        None = "none",
        /// Every group, sigma / sqrt(M).
        All = "all",
        /// One group a step, sigma.
        Layer = "layer",
        /// Every group, plain sigma: the mode of the closed forms.
        Model = "model",
    }
);

named!("group order",
    /// Which group mode `layer` takes at a step.
    GroupOrder {
        /// Step mod M, as in the published code.
        Cyclic = "cyclic",
        /// Uniform at random, as in the paper's analysis.
        Random = "random",
    }
);

named!("noise scale",
    /// The unit of sigma.
    Scale {
        /// Absolute.
        Absolute = "absolute",
        /// The L2 norm of each filter (a row of a weight; the whole of a bias).
        Filter = "filter",
    }
);

named!("noise distribution",
    /// The distribution of unit noise: zero mean, unit variance.
    Distribution {
        /// Standard normal.
        Gaussian = "gaussian",
        /// -1 or 1.
        Rademacher = "rademacher",
        /// Uniform in [-sqrt 3, sqrt 3].
        Uniform = "uniform",
    }
);

named!("grouping",
    /// What a group is.
    Grouping {
        /// One parameter tensor, as in the published code.
        Tensor = "tensor",
        /// A module's weight and bias together.
        Module = "module",
        /// One weight tensor; biases and normalisation stay clean.
        Weights = "weights",
    }
);

named!("sigma schedule",
    /// Sigma over the epochs, `t` being epoch / epochs.
    SigmaSchedule {
        /// sigma
        Constant = "constant",
        /// sigma (1 - t)
        Linear = "linear",
        /// sigma (1 + cos(pi t)) / 2
        Cosine = "cosine",
    }
);

impl Distribution {
    /// The override's value in the shaders.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Gaussian => 1,
            Self::Rademacher => 2,
            Self::Uniform => 3,
        }
    }
}

/// Everything about the noise of a run but its seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// Which groups are noisy.
    pub mode: Mode,
    /// Standard deviation, in the unit of `scale`.
    pub sigma: f64,
    /// Order of mode `layer`.
    pub order: GroupOrder,
    /// Unit of sigma.
    pub scale: Scale,
    /// Distribution of unit noise.
    pub distribution: Distribution,
    /// What a group is.
    pub groups: Grouping,
    /// Sigma over the epochs.
    pub schedule: SigmaSchedule,
    /// No noise from this epoch on (counted from 0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_from_epoch: Option<u64>,
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self {
            mode: Mode::None,
            sigma: 0.0,
            order: GroupOrder::Cyclic,
            scale: Scale::Absolute,
            distribution: Distribution::Gaussian,
            groups: Grouping::Tensor,
            schedule: SigmaSchedule::Constant,
            off_from_epoch: None,
        }
    }
}

impl NoiseConfig {
    /// Sigma as scheduled at an epoch out of `epochs`, before any division by sqrt(M).
    #[must_use]
    pub fn sigma_at(&self, epoch: u64, epochs: u64) -> f64 {
        if self.mode == Mode::None || self.off_from_epoch.is_some_and(|off| epoch >= off) {
            return 0.0;
        }
        let t = epoch as f64 / epochs.max(1) as f64;
        match self.schedule {
            SigmaSchedule::Constant => self.sigma,
            SigmaSchedule::Linear => self.sigma * (1.0 - t).max(0.0),
            SigmaSchedule::Cosine => self.sigma * 0.5 * (1.0 + (std::f64::consts::PI * t.min(1.0)).cos()),
        }
    }
}
