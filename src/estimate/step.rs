//! How long a step would take, and what of it.

use super::{Dispatch, Estimate, GpuDescription};

/// The dispatches of a step, estimated.
#[derive(Clone, Debug)]
pub struct StepEstimate {
    /// Of each dispatch, in order.
    pub dispatches: Vec<Estimate>,
    /// Numbers of those that have fewer workgroups than there are multiprocessors.
    pub idle: Vec<usize>,
}

impl StepEstimate {
    /// Of dispatches that run one after the other.
    #[must_use]
    pub fn new(gpu: &GpuDescription, dispatches: &[Dispatch]) -> Self {
        let is_idle = |dispatch: &Dispatch| dispatch.workgroups < u64::from(gpu.multiprocessors);
        Self {
            dispatches: dispatches.iter().map(|dispatch| Estimate::new(gpu, dispatch)).collect(),
            idle: (0..dispatches.len()).filter(|number| is_idle(&dispatches[*number])).collect(),
        }
    }

    /// Seconds in all.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        self.dispatches.iter().map(Estimate::seconds).sum()
    }

    /// Seconds of launches.
    #[must_use]
    pub fn launches(&self) -> f64 {
        self.dispatches.iter().map(|estimate| estimate.launch).sum()
    }

    /// What rounds that wait for each other take in all beyond launches, bytes and operations, and at most in one dispatch;
    /// seconds.
    #[must_use]
    pub fn excess(&self) -> [f64; 2] {
        let all = self.dispatches.iter().map(Estimate::excess);
        [all.clone().sum(), all.fold(0.0, f64::max)]
    }
}
