//! Where a schedule will run.

use crate::{gpu::Gpu, kernels::Target};

use super::Schedule;

/// An open device, on which kernels can be tested, or a target of which a description is all there is.
#[derive(Clone, Copy, Debug)]
pub enum Destination<'a> {
    /// What it admits is found out on it.
    Device(&'a Gpu),
    /// It is taken to compute right.
    Described(Target),
}

impl<'a> From<&'a Gpu> for Destination<'a> {
    fn from(gpu: &'a Gpu) -> Self {
        Self::Device(gpu)
    }
}

impl From<&Target> for Destination<'_> {
    fn from(target: &Target) -> Self {
        Self::Described(*target)
    }
}

impl Destination<'_> {
    /// As far as the choice of variants and the size of grids depend on it.
    #[must_use]
    pub fn target(&self) -> Target {
        match self {
            Self::Device(gpu) => Target::for_device(gpu),
            Self::Described(target) => *target,
        }
    }

    /// Whether no kernel of a schedule is refused there.
    pub(super) fn admits(&self, schedule: &Schedule) -> bool {
        let Self::Device(gpu) = self else { return true };
        schedule.steps.iter().all(|step| step.call.kernel.admit(&step.call, gpu).is_ok())
    }
}
