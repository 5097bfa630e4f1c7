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

/// A part of a step's samples: number `index` of so many `parts`, in the order of the batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Which, from 0.
    pub index: u32,
    /// How many there are.
    pub parts: u32,
    /// How its gradient is weighed.
    pub mean: PartMean,
}

/// What a part's gradient is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartMean {
    /// The sum over the part divided by the step's samples, so that the parts' gradients add up to the step's. Parts have
    /// the size that they have in a whole step; where it has fewer samples there are fewer parts, and the last is shorter.
    Step,
    /// The mean over the part. Parts are equal but for a sample, and of a step with fewer samples than parts the last ones take
    /// the last sample.
    Own,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { index, parts, mean } = self;
        let own = if *mean == PartMean::Own { ", its own mean" } else { "" };
        write!(f, "part {} of {parts}{own}", index + 1)
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
    /// effective <- clean + rho T^2 along / norm(T along), T = abs(clean) + eta on weights and 1 on biases
    AscendAdaptively {
        /// The direction.
        along: Gradients,
        /// The distance.
        rho: f64,
        /// Added to the magnitudes.
        eta: f64,
    },
    /// effective <- clean - rho v / norm(v), v the optimizer's first moment; clean where that is 0.
    LookAhead {
        /// The distance.
        rho: f64,
    },
    /// into <- gradient at the effective weights. A step's first gradient alone moves running statistics of batch norms, and
    /// tells the step's loss where no instruction says otherwise.
    Gradient {
        /// Where it goes.
        into: Gradients,
    },
    /// As [`Instruction::Gradient`], over a part of the step's samples.
    PartGradient {
        /// Where it goes.
        into: Gradients,
        /// The part.
        part: Part,
    },
    /// history <- beta history + the square of a gradient, by which later draws in units of filter norms are the smaller.
    Remember {
        /// The gradient.
        along: Gradients,
    },
    /// products <- products + a draw times a gradient, element by element; they are 0 at the beginning of a step. An update of a
    /// posterior goes by their mean; without any by the product of draw 0 and its own gradient.
    Weigh {
        /// The number of the draw.
        draw: u32,
        /// The gradient.
        along: Gradients,
    },
    /// probe <- the loss at the effective weights: forward alone, without dropout. Of the two of a step the first is the one logged.
    Probe {
        /// Which of the two, 0 or 1.
        number: u32,
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
    /// clean <- clean - learning rate (c z + decay clean), z draw 0 as a unit draw and c the difference of the probes over their
    /// distance. Ends a step, in the place of an update.
    Descend,
}

impl Instruction {
    /// The gradients it reads.
    pub(super) fn reads(self) -> impl Iterator<Item = Gradients> {
        let pair = match self {
            Self::Ascend { along, .. }
            | Self::AscendAdaptively { along, .. }
            | Self::Remember { along }
            | Self::Weigh { along, .. }
            | Self::Update { along } => [Some(along), None],
            Self::Combine { into, other, .. } => [Some(into), Some(other)],
            _ => [None, None],
        };
        pair.into_iter().flatten()
    }

    /// The gradient it writes.
    pub(super) fn writes(self) -> Option<Gradients> {
        match self {
            Self::Gradient { into } | Self::PartGradient { into, .. } | Self::Combine { into, .. } => Some(into),
            _ => None,
        }
    }

    /// Whether it moves the effective weights.
    pub(super) fn moves(self) -> bool {
        matches!(self, Self::Clean | Self::Perturb { .. } | Self::LookAhead { .. }) || self.ascends()
    }

    /// Whether it moves them along a gradient.
    pub(super) fn ascends(self) -> bool {
        matches!(self, Self::Ascend { .. } | Self::AscendAdaptively { .. })
    }

    /// Whether it looks at the network at the effective weights.
    pub(super) fn looks(self) -> bool {
        self.differentiates() || matches!(self, Self::Loss | Self::Probe { .. })
    }

    /// Whether it takes a gradient.
    pub(super) fn differentiates(self) -> bool {
        matches!(self, Self::Gradient { .. } | Self::PartGradient { .. })
    }

    /// Whether it ends a step.
    pub(super) fn ends(self) -> bool {
        matches!(self, Self::Update { .. } | Self::Descend)
    }
}

impl fmt::Display for Instruction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => write!(f, "clean: effective <- clean"),
            Self::Perturb { draw } => write!(f, "perturb: effective <- clean {draw}"),
            Self::Ascend { along, rho } => write!(f, "ascend: effective <- clean + {rho} {along} / norm({along})"),
            Self::AscendAdaptively { along, rho, eta } => write!(
                f,
                "ascend: effective <- clean + {rho} T^2 {along} / norm(T {along}), T = abs(clean) + {eta} on weights, else 1"
            ),
            Self::LookAhead { rho } => write!(f, "look ahead: effective <- clean - {rho} momentum / norm(momentum)"),
            Self::Gradient { into } => write!(f, "gradient: {into} <- gradient at effective"),
            Self::PartGradient { into, part } => write!(f, "gradient: {into} <- gradient at effective, {part}"),
            Self::Remember { along } => write!(f, "remember: history <- beta history + {along}^2"),
            Self::Weigh { draw, along } => write!(f, "weigh: products <- products + noise {draw} {along}"),
            Self::Probe { number } => write!(f, "probe: loss {number} <- loss at effective"),
            Self::Loss => write!(f, "loss: of the step, at effective"),
            Self::Combine { into, keep, other, add } => {
                write!(f, "combine: {into} <- {keep} {into} + {add} {other}")
            }
            Self::Update { along } => write!(f, "update: clean <- step of the optimizer along {along}"),
            Self::Descend => write!(f, "descend: clean <- step against noise 0, as far as the probes differ"),
        }
    }
}
