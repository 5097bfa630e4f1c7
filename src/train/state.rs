//! What a network in training keeps beside its weights.

use crate::{
    gpu::{Buffer, GpuError, PendingRead},
    kernels::{GradientFactor, GradientScaling},
    optim::Optimizer,
};

use super::Trainer;

impl Trainer<'_> {
    /// Arenas of optimizer state.
    #[must_use]
    pub fn optimizer_state_arenas(&self) -> usize {
        self.machine.optimizer().map_or(0, |optimizer| optimizer.state().len())
    }

    /// An arena of the optimizer's state by its name (`momentum_buffer`, `exp_avg`, `exp_avg_sq`, `hess`), laid out as the weights; none
    /// where there is no such state.
    ///
    /// # Errors
    /// As [`Gpu::read`](crate::gpu::Gpu::read).
    pub fn optimizer_state(&self, name: &str) -> Result<Option<Vec<f32>>, GpuError> {
        let mut state = self.machine.optimizer().into_iter().flat_map(Optimizer::named_state);
        let found = state.find(|(known, _)| *known == name);
        found.map(|(_, buffer)| self.gpu.read(&buffer.view())).transpose()
    }

    /// The slope of the loss along the draw of a step, one of the last ones, where the rule moves the weights by it.
    ///
    /// # Errors
    /// As [`Gpu::read`](crate::gpu::Gpu::read).
    pub fn slope(&self, step: u64) -> Result<Option<f32>, GpuError> {
        let Some(slopes) = self.machine.slopes() else { return Ok(None) };
        let slopes: Vec<f32> = self.gpu.read(&slopes.view())?;
        Ok(slopes.get((step % slopes.len().max(1) as u64) as usize).copied())
    }

    /// How gradients are scaled, and how many updates were left out so far; the loss scale is 1 in f32.
    ///
    /// # Errors
    /// As [`Gpu::read`](crate::gpu::Gpu::read).
    pub fn scaling(&self) -> Result<GradientScaling, GpuError> {
        let scaling: Vec<GradientScaling> = self.gpu.read(&self.arena.scaling.view())?;
        Ok(scaling.first().copied().unwrap_or(GradientScaling::initial(self.arena.element)))
    }

    /// Whether updates with gradients that are not finite are left out.
    #[must_use]
    pub fn skips(&self) -> bool {
        self.machine.factor().is_some_and(GradientFactor::skips)
    }

    /// Starts to read the ring of (loss, correct) sums; slot = step mod its length.
    ///
    /// # Errors
    /// As [`Gpu::read_later`](crate::gpu::Gpu::read_later).
    pub fn read_metrics(&self) -> Result<PendingRead, GpuError> {
        self.gpu.read_later(&self.metrics.view())
    }

    /// Starts to read the ring of the steps' slopes, where the rule moves the weights by them.
    ///
    /// # Errors
    /// As [`Gpu::read_later`](crate::gpu::Gpu::read_later).
    pub fn read_slopes(&self) -> Result<Option<PendingRead>, GpuError> {
        self.machine.slopes().map(|slopes| self.gpu.read_later(&slopes.view())).transpose()
    }

    /// The moving average of the weights, laid out as they are, where it is kept.
    #[must_use]
    pub fn average(&self) -> Option<&Buffer> {
        self.average.as_ref().map(|average| &average.weights)
    }
}
