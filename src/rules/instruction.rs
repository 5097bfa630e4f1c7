//! The instructions of a step.

use std::fmt;

/// A buffer of gradients, by number. What it holds lasts to the end of the step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gradients(pub u32);

impl fmt::Display for Gradients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "g{}", self.0)
    }
}

/// A draw of a step's noise times a factor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Draw {
    /// Which draw; draws of different numbers are independent, and one number twice in a step is the same draw.
    pub number: u32,
    /// What its values are multiplied by; -1 mirrors them.
    pub factor: f64,
}

impl Draw {
    /// The step's noise as its scheme gives it.
    pub const FIRST: Self = Self { number: 0, factor: 1.0 };

    /// The same values with the other sign.
    #[must_use]
    pub fn mirrored(self) -> Self {
        Self { factor: -self.factor, ..self }
    }
}

impl fmt::Display for Draw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, factor } = *self;
        let sign = if factor < 0.0 { '-' } else { '+' };
        match factor.abs() {
            1.0 => write!(f, "{sign} noise {number}"),
            size => write!(f, "{sign} {size} noise {number}"),
        }
    }
}

/// One instruction of a step.
///
/// `clean` are the weights that the optimizer moves, `effective` those that the network is evaluated at; a step begins with the
/// effective weights clean. Gradients are those of the mean loss of the step's batch, the same batch and the same masks of
/// dropout for every gradient of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Instruction {
    /// effective <- clean
    Clean,
    /// effective <- clean + a draw of the step's noise
    Perturb {
        /// Which draw.
        draw: Draw,
    },
    /// effective <- clean + rho along / norm(along), the norm over all weights
    Ascend {
        /// The direction.
        along: Gradients,
        /// The distance.
        rho: f64,
    },
    /// into <- gradient at the effective weights. A step's first gradient alone moves running statistics of batch norms, and
    /// tells the step's loss where no instruction says otherwise.
    Gradient {
        /// Where it goes.
        into: Gradients,
    },
    /// The step's loss, as it is logged, is that at the effective weights: forward alone, without dropout. At most once a step.
    Loss,
    /// into <- keep into + add other
    Combine {
        /// What is changed.
        into: Gradients,
        /// The factor of what it holds.
        keep: f64,
        /// What is added.
        other: Gradients,
        /// Its factor.
        add: f64,
    },
    /// clean <- the optimizer's step along a gradient, which is clipped first where the run clips. Ends a step.
    Update {
        /// The gradient.
        along: Gradients,
    },
}

impl Instruction {
    /// The gradients it reads.
    pub(super) fn reads(self) -> impl Iterator<Item = Gradients> {
        let pair = match self {
            Self::Clean | Self::Perturb { .. } | Self::Gradient { .. } | Self::Loss => [None, None],
            Self::Ascend { along, .. } | Self::Update { along } => [Some(along), None],
            Self::Combine { into, other, .. } => [Some(into), Some(other)],
        };
        pair.into_iter().flatten()
    }

    /// The gradient it writes.
    pub(super) fn writes(self) -> Option<Gradients> {
        match self {
            Self::Gradient { into } | Self::Combine { into, .. } => Some(into),
            _ => None,
        }
    }

    /// Whether it moves the effective weights.
    pub(super) fn moves(self) -> bool {
        matches!(self, Self::Clean | Self::Perturb { .. } | Self::Ascend { .. })
    }

    /// Whether it looks at the network at the effective weights.
    pub(super) fn looks(self) -> bool {
        matches!(self, Self::Gradient { .. } | Self::Loss)
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => write!(f, "clean: effective <- clean"),
            Self::Perturb { draw } => write!(f, "perturb: effective <- clean {draw}"),
            Self::Ascend { along, rho } => write!(f, "ascend: effective <- clean + {rho} {along} / norm({along})"),
            Self::Gradient { into } => write!(f, "gradient: {into} <- gradient at effective"),
            Self::Loss => write!(f, "loss: of the step, at effective"),
            Self::Combine { into, keep, other, add } => {
                write!(f, "combine: {into} <- {keep} {into} + {add} {other}")
            }
            Self::Update { along } => write!(f, "update: clean <- step of the optimizer along {along}"),
        }
    }
}
