//! A rule: a program with the noise of its steps.

use std::sync::Arc;

use crate::{
    noise::{NoiseScheme, Point, Scale, StepNoise},
    schedule::Moment,
};

use super::{Compiled, Place, Program, UpdateFusion};

/// What a step does, and with which noise.
#[derive(Clone, Debug)]
pub struct Rule {
    /// The step.
    pub program: Program,
    /// The noise of each step.
    pub scheme: Arc<dyn NoiseScheme>,
    /// Per tensor whether an adaptive ascent goes by its weights' magnitudes; a tensor past the end is none.
    pub adaptive: Vec<bool>,
    /// By how much past gradients shrink noise in units of filter norms, and what is kept of them: eta and beta, where the program
    /// remembers any.
    pub history: [f64; 2],
}

impl Rule {
    /// A program with a scheme; an adaptive ascent goes by the magnitudes of all weights, and a history is as published with ARWP.
    #[must_use]
    pub fn new(program: Program, scheme: Arc<dyn NoiseScheme>) -> Self {
        let adaptive = vec![true; scheme.scales().len()];
        Self { program, scheme, adaptive, history: [0.1, 0.99] }
    }

    /// Weight noise of a scheme: [`Program::noise`].
    #[must_use]
    pub fn noise(scheme: impl NoiseScheme + 'static) -> Self {
        Self::new(Program::noise(), Arc::new(scheme))
    }

    /// Where a step begins, at the moment `when`.
    #[must_use]
    pub fn start(&self, step: u64, when: Moment) -> Point {
        point(self.compiled().start(), || self.scheme.at(step, when))
    }

    /// As it is recorded: fused where the unit of its noise allows that.
    #[must_use]
    pub fn compiled(&self) -> Compiled {
        let fusion = if self.scheme.scale() == Scale::Filter { UpdateFusion::Separate } else { UpdateFusion::Fused };
        Compiled::new(&self.program, fusion)
    }
}

/// A place in a step of this noise.
pub(super) fn point(place: Place, noise: impl FnOnce() -> StepNoise) -> Point {
    match place {
        Place::Clean => Point::Clean,
        Place::Ahead(rho) => Point::Ahead(rho),
        Place::Draw(draw) => noise().draw(draw.number).scaled(draw.factor).into(),
    }
}
