//! What is measured: all that the claims need.

use serde::{Deserialize, Serialize};

use crate::noise::Mode;

/// How a run ended, at the clean weights.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Score {
    pub(super) accuracy: f64,
    pub(super) loss: f64,
}

/// How the runs of one sigma did on the images kept apart. There is nothing of the test set in it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Tuned {
    pub(super) mode: Mode,
    pub(super) sigma: f64,
    /// One a seed; `None` where the run diverged.
    pub(super) validation: Vec<Option<Score>>,
}

/// How the runs of one mode did on the test set.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Tested {
    pub(super) mode: Mode,
    /// That of every run; 0 in mode none.
    pub(super) sigma: f64,
    /// One a seed, the same seeds in every mode; `None` where the run diverged.
    pub(super) test: Vec<Option<Score>>,
}

/// One share of replaced labels.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Level {
    pub(super) label_noise: f64,
    pub(super) tuned: Vec<Tuned>,
    pub(super) tested: Vec<Tested>,
}

/// One width in one mode.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Point {
    pub(super) width: usize,
    pub(super) tested: Tested,
}

/// Networks of one depth.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct Family {
    pub(super) label: String,
    pub(super) label_noise: f64,
    pub(super) sigma: f64,
    pub(super) points: Vec<Point>,
}

/// What was measured: all that the claims need.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(in crate::experiments) struct Measurements {
    /// Of the data: a network that guesses has an accuracy of one over this.
    pub(super) classes: usize,
    pub(super) levels: Vec<Level>,
    pub(super) families: Vec<Family>,
}

impl Tested {
    /// The accuracy of each run in percent; NaN where it diverged.
    pub(super) fn accuracies(&self) -> Vec<f64> {
        self.test.iter().map(|run| run.map_or(f64::NAN, |score| 100.0 * score.accuracy)).collect()
    }

    /// The loss of each run; NaN where it diverged.
    pub(super) fn losses(&self) -> Vec<f64> {
        self.test.iter().map(|run| run.map_or(f64::NAN, |score| score.loss)).collect()
    }

    /// How many runs diverged.
    pub(super) fn diverged(&self) -> usize {
        self.test.iter().filter(|run| run.is_none()).count()
    }
}

impl Level {
    /// The runs of a mode.
    pub(super) fn tested(&self, mode: Mode) -> Option<&Tested> {
        self.tested.iter().find(|tested| tested.mode == mode)
    }
}

impl Family {
    /// The widths, in order.
    pub(super) fn widths(&self) -> Vec<usize> {
        let mut widths: Vec<usize> = self.points.iter().map(|point| point.width).collect();
        widths.sort_unstable();
        widths.dedup();
        widths
    }

    /// The runs of a mode at a width.
    pub(super) fn tested(&self, width: usize, mode: Mode) -> Option<&Tested> {
        let found = self.points.iter().find(|point| point.width == width && point.tested.mode == mode);
        found.map(|point| &point.tested)
    }
}
