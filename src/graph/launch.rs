//! What a schedule launches on a target, before any device is involved.

use crate::{
    gpu::{GpuError, Launch},
    kernels::Target,
};

use super::{LaunchContext, Schedule, memory};

/// A dispatch of a schedule.
#[derive(Clone, Debug)]
pub struct PlannedLaunch {
    /// Number of the schedule's step that it belongs to.
    pub step: usize,
    /// What it launches.
    pub launch: Launch,
}

impl Schedule {
    /// Every dispatch of a batch in the order in which a plan records them, of samples [channels, height, width] that are
    /// gathered as they are.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid, [`GpuError::Shape`] for a product past 2^32 elements.
    pub fn launches(&self, target: &Target, sample: [usize; 3]) -> Result<Vec<PlannedLaunch>, GpuError> {
        let places = self.places(memory::bank_words(target.limits.buffer_bytes));
        let context = LaunchContext { target: *target, sample, element: self.element, places: &places };
        let mut planned = Vec::new();
        for (step, plan_step) in self.steps.iter().enumerate() {
            let launches = plan_step.call.kernel.launches(&plan_step.call, &context)?;
            let works = self.work(plan_step, target.class);
            let known = works.len() == launches.len();
            for (place, launch) in launches.into_iter().enumerate() {
                let launch = if known { launch.doing(works[place]) } else { launch };
                planned.push(PlannedLaunch { step, launch });
            }
        }
        Ok(planned)
    }
}
