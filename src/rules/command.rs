//! What is recorded after a pass over the batch.

use std::fmt;

use super::Draw;

/// Where the effective weights are put, without knowing the step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Place {
    /// At the clean weights.
    Clean,
    /// At the clean weights with a draw of the step's noise.
    Draw(Draw),
    /// At this distance from the clean weights against the momentum.
    Ahead(f64),
}

/// Where a gradient lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientSlot {
    /// In the arena's gradients, which every pass writes and the optimizer reads.
    Arena,
    /// In a buffer of its own, kept over another pass.
    Kept(usize),
}

/// What is recorded after a pass over the batch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Command {
    /// effective <- a place
    Put(Place),
    /// effective <- 2 clean - effective: the other side of the draw that it is at
    Mirror,
    /// kept <- the arena's gradients
    Keep(usize),
    /// the arena's gradients <- kept
    Restore(usize),
    /// into <- keep into + add other
    Combine {
        /// What is changed.
        into: GradientSlot,
        /// The factor of what it holds.
        keep: f64,
        /// What is added.
        other: GradientSlot,
        /// Its factor.
        add: f64,
    },
    /// effective <- clean + rho along / norm(along)
    Ascend {
        /// The direction.
        along: GradientSlot,
        /// The distance.
        rho: f64,
    },
    /// effective <- clean + rho T^2 along / norm(T along), T = abs(clean) + eta on weights and 1 on biases
    AscendAdaptively {
        /// The direction.
        along: GradientSlot,
        /// The distance.
        rho: f64,
        /// Added to the magnitudes.
        eta: f64,
    },
    /// history <- beta history + the square of a gradient
    Remember(GradientSlot),
    /// products <- products + a draw times a gradient, from 0 at the first of a step
    Weigh {
        /// The number of the draw.
        draw: u32,
        /// The gradient.
        along: GradientSlot,
        /// Whether it is the first.
        first: bool,
    },
    /// clean <- the optimizer's step along the arena's gradients, and effective <- a place of the next step.
    Update(Place),
    /// clean <- a step against draw 0 by the difference of the probes, and effective <- a place of the next step.
    Descend(Place),
    /// effective <- a place of the next step
    Prepare(Place),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Clean => write!(f, "clean"),
            Self::Draw(draw) => write!(f, "clean {draw}"),
            Self::Ahead(rho) => write!(f, "clean - {rho} momentum / norm(momentum)"),
        }
    }
}

impl fmt::Display for GradientSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arena => write!(f, "grads"),
            Self::Kept(kept) => write!(f, "kept {kept}"),
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Put(Place::Clean) => write!(f, "clean: effective <- clean"),
            Self::Put(place @ Place::Ahead(_)) => write!(f, "look ahead: effective <- {place}"),
            Self::Put(place) => write!(f, "perturb: effective <- {place}"),
            Self::Mirror => write!(f, "mirror: effective <- 2 clean - effective"),
            Self::Keep(kept) => write!(f, "keep: {} <- grads", GradientSlot::Kept(*kept)),
            Self::Restore(kept) => write!(f, "restore: grads <- {}", GradientSlot::Kept(*kept)),
            Self::Combine { into, keep, other, add } => write!(f, "combine: {into} <- {keep} {into} + {add} {other}"),
            Self::Ascend { along, rho } => write!(f, "ascend: effective <- clean + {rho} {along} / norm({along})"),
            Self::AscendAdaptively { along, rho, eta } => {
                write!(
                    f,
                    "ascend: effective <- clean + {rho} T^2 {along} / norm(T {along}), T = abs(clean) + {eta} on weights, else 1"
                )
            }
            Self::Remember(along) => write!(f, "remember: history <- beta history + {along}^2"),
            Self::Weigh { draw, along, first: true } => write!(f, "weigh: products <- noise {draw} {along}"),
            Self::Weigh { draw, along, .. } => write!(f, "weigh: products <- products + noise {draw} {along}"),
            Self::Descend(Place::Clean) => write!(f, "descend"),
            Self::Descend(_) => write!(f, "descend, and perturb of the next step"),
            Self::Update(Place::Clean) => write!(f, "update"),
            Self::Update(_) => write!(f, "update, and perturb of the next step"),
            Self::Prepare(_) => write!(f, "perturb of the next step"),
        }
    }
}
