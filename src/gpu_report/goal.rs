//! A goal with what was measured.

use serde::Serialize;

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum GoalVerdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// The measurement's error is as large as its distance from the bar.
    Undecided,
    /// Something that it takes was not measured.
    NotMeasured,
}

/// A goal with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GoalLine {
    /// What is measured.
    pub goal: String,
    /// What it is compared with.
    pub bar: String,
    /// The figure, or why there is none.
    pub measured: String,
    /// Whether it is reached.
    pub verdict: GoalVerdict,
}
