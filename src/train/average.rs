//! The weights' moving average.

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder},
    kernels::{Arena, EffectiveWeights, MovingAverage},
};

/// The weights' moving average.
#[derive(Debug)]
pub(super) struct Average {
    pub(super) weights: Buffer,
    pub(super) update: MovingAverage,
    pub(super) effective: EffectiveWeights,
}

impl Average {
    /// Before the first update it is the weights as they are.
    pub(super) fn new(gpu: &Gpu, arena: &Arena, decay: f64) -> Result<Self, GpuError> {
        let weights = gpu.buffer("moving average", arena.weights.len())?;
        let update = MovingAverage::new(gpu, &arena.weights, &weights, decay)?;
        let effective = EffectiveWeights::new(gpu, arena, &weights)?;
        let average = Self { weights, update, effective };
        let mut recorder = gpu.record();
        average.begin(&mut recorder, arena);
        recorder.submit()?;
        Ok(average)
    }

    /// Records a copy of the weights, which is what the first update leaves: `torch.optim.swa_utils.AveragedModel`'s.
    pub(super) fn begin(&self, recorder: &mut Recorder<'_>, arena: &Arena) {
        recorder.copy(&arena.weights.view(), &self.weights.view());
    }
}
