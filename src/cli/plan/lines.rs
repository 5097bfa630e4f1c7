//! The dispatches of a step, a line each.

use jostle::{
    estimate::{Bound, Dispatch, Estimate},
    gpu::{Grid, Launch},
};
use serde::Serialize;

/// A dispatch of a step.
#[derive(Serialize)]
pub(super) struct Line {
    pub(super) step: String,
    kind: &'static str,
    shape: String,
    pub(super) kernel: &'static str,
    workgroups: [u32; 3],
    /// Of a workgroup.
    threads: u32,
    chain: usize,
    flops: u64,
    bytes: u64,
    /// Where the plan is for a GPU that is described.
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<LineEstimate>,
    #[serde(skip)]
    pub(super) dispatch: Dispatch,
}

/// The parts of a dispatch's time, microseconds.
#[derive(Serialize)]
struct LineEstimate {
    launch_us: f64,
    latency_us: f64,
    memory_us: f64,
    compute_us: f64,
    total_us: f64,
    bound: Bound,
}

/// Microseconds of so many seconds, to the nanosecond.
fn microseconds(seconds: f64) -> f64 {
    (seconds * 1e9).round() * 1e-3
}

impl From<&Estimate> for LineEstimate {
    fn from(estimate: &Estimate) -> Self {
        Self {
            launch_us: microseconds(estimate.launch),
            latency_us: microseconds(estimate.latency),
            memory_us: microseconds(estimate.memory),
            compute_us: microseconds(estimate.compute),
            total_us: microseconds(estimate.seconds()),
            bound: estimate.bound(),
        }
    }
}

impl Line {
    pub(super) const HEADERS: [&str; 10] =
        ["#", "step", "call", "shape", "kernel", "workgroups", "threads", "chain", "Mflop", "MB"];
    /// Behind the others where there are estimates.
    pub(super) const ESTIMATE_HEADERS: [&str; 2] = ["us", "bound by"];

    pub(super) fn new([step, shape]: [String; 2], kind: &'static str, launch: &Launch) -> Self {
        Self {
            step,
            kind,
            shape,
            kernel: launch.spec.entry,
            workgroups: launch.grid.0,
            threads: launch.threads,
            chain: launch.chain,
            flops: launch.work.flops,
            bytes: launch.work.bytes,
            estimate: None,
            dispatch: launch.into(),
        }
    }

    /// The same with how long it would take.
    pub(super) fn estimated(self, estimate: &Estimate) -> Self {
        Self { estimate: Some(estimate.into()), ..self }
    }

    pub(super) fn workgroups(&self) -> u64 {
        Grid(self.workgroups).workgroups()
    }

    pub(super) fn row(&self, number: usize) -> Vec<String> {
        let filled = |value: u64| if value > 0 { format!("{:.2}", 1e-6 * value as f64) } else { String::new() };
        let mut row = vec![
            number.to_string(),
            self.step.clone(),
            self.kind.to_owned(),
            self.shape.clone(),
            self.kernel.to_owned(),
            self.workgroups().to_string(),
            self.threads.to_string(),
            self.chain.to_string(),
            filled(self.flops),
            filled(self.bytes),
        ];
        if let Some(LineEstimate { total_us, bound, .. }) = &self.estimate {
            row.extend([format!("{total_us:.1}"), bound.name().to_owned()]);
        }
        row
    }
}
