//! What is measured of the three simple models, and what it is compared with.

use nalgebra::DVector;
use serde::{Deserialize, Serialize};

use crate::noise::Mode;

use super::simple::{ArmIterates, Distance, Rounded, SolvedCase, Steps};

/// A part of a distance.
pub(super) type Part = fn(&Distance) -> f64;

/// What distances are compared with.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Bars {
    /// Mode `model`.
    pub(super) model: Distance,
    /// The other noisy modes.
    pub(super) others: Distance,
    /// How many times further away plain gradient descent is.
    pub(super) plain: f64,
}

/// What was measured of a case: with its convex problems, all that its claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct CaseMeasurements {
    pub(super) case: String,
    pub(super) arms: Vec<ArmMeasurements>,
}

/// Runs of one mode and one course of step sizes.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct ArmMeasurements {
    pub(super) mode: Mode,
    pub(super) steps: Steps,
    /// Each run's averaged iterate at the end.
    pub(super) ends: Vec<Rounded>,
    /// Their mean over the runs after half of the steps.
    pub(super) halfway: Rounded,
    /// (steps, mean distance over the runs), to be drawn.
    #[serde(default)]
    pub(super) curve: Vec<(f64, f64)>,
}

impl ArmMeasurements {
    pub(super) fn new(arm: &ArmIterates, solved: &SolvedCase) -> Self {
        let expected = solved.target(arm.mode).map_or_else(|| arm.theta(), |target| target.solution.clone());
        let round = |theta: &DVector<f64>| Rounded::new(theta, &expected);
        Self {
            mode: arm.mode,
            steps: arm.steps,
            ends: arm.ends.iter().map(round).collect(),
            halfway: round(&arm.halfway),
            curve: arm.curve.clone(),
        }
    }

    /// How far each run ended from its mode's target.
    pub(super) fn distances(&self, solved: &SolvedCase) -> Vec<Distance> {
        let coefficients = solved.case.model.coefficients();
        self.ends.iter().map(|end| solved.distance(self.mode, &end.theta(coefficients))).collect()
    }

    /// The mean over the runs.
    pub(super) fn theta(&self, coefficients: usize) -> DVector<f64> {
        self.ends.iter().map(|end| end.theta(coefficients)).sum::<DVector<f64>>() / self.ends.len() as f64
    }
}

impl CaseMeasurements {
    pub(super) fn arm(&self, mode: Mode, steps: impl Fn(Steps) -> bool) -> impl Iterator<Item = &ArmMeasurements> {
        self.arms.iter().filter(move |arm| arm.mode == mode && steps(arm.steps))
    }

    /// The arms of a mode with constant steps, largest first.
    pub(super) fn constant(&self, mode: Mode) -> Vec<(f64, &ArmMeasurements)> {
        let size = |arm| match arm {
            Steps::Constant(size) => Some(size),
            Steps::Decaying(_) => None,
        };
        let mut arms: Vec<_> = self.arm(mode, |_| true).filter_map(|arm| Some((size(arm.steps)?, arm))).collect();
        arms.sort_by(|a, b| b.0.total_cmp(&a.0));
        arms
    }

    /// The arm that claims are about: the smallest constant step size.
    pub(super) fn finest(&self, mode: Mode) -> Option<&ArmMeasurements> {
        self.constant(mode).pop().map(|(_, arm)| arm)
    }
}

/// A case that has been run.
pub(super) struct CaseRun {
    pub(super) solved: SolvedCase,
    pub(super) measured: CaseMeasurements,
    /// A run of mode `model` at the smallest step size, averaged over each part, to be drawn.
    pub(super) course: Vec<DVector<f64>>,
}
