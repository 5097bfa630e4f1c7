//! Running statistics of batch norms, estimated anew at fixed weights.

use std::sync::Arc;

use crate::{
    gpu::{Buffer, Gpu, GpuError},
    graph::{BatchInfo, LossFunction, Plan, PlanMode, Schedule},
    kernels::{Arena, EffectiveWeights},
    nn::Model,
};

use super::{DeviceData, TrainError};

/// The plan of a pass over the training data in which batch norms go by the batch's statistics.
#[derive(Debug)]
pub(super) struct Calibration {
    plan: Plan,
    clean: EffectiveWeights,
    batch: usize,
    /// The plan has a loss, which nothing reads.
    _metrics: Buffer,
}

impl Calibration {
    /// Plans it in batches as training has them; the loss has to take the data's targets, though nothing reads it.
    pub(super) fn new(
        gpu: &Gpu,
        model: &Model,
        arena: &Arena,
        data: &DeviceData,
        loss: Arc<dyn LossFunction>,
        batch: usize,
    ) -> Result<Self, TrainError> {
        let schedule = Schedule::suited(&model.graph, batch, PlanMode::Calibrate, loss, arena.element, gpu)?;
        let metrics = gpu.buffer("unread metrics", 2)?;
        let plan = Plan::new(gpu, &schedule, arena, data.views(), &metrics.view())?;
        let clean = EffectiveWeights::new(gpu, arena, &arena.weights)?;
        Ok(Self { plan, clean, batch, _metrics: metrics })
    }

    /// Sets the running statistics to the mean over all batches of the data, in their present order and as augmented in
    /// `epoch`, at the clean weights. Leaves `weights_eff` clean.
    ///
    /// Source: `torch.optim.swa_utils.update_bn`.
    pub(super) fn run(&self, gpu: &Gpu, data: &DeviceData, epoch: u32) -> Result<(), GpuError> {
        let mut recorder = gpu.record();
        self.clean.record(&mut recorder);
        recorder.submit()?;
        for (index, batch) in data.batches(gpu, self.batch).enumerate() {
            // A share of 1 / (k + 1) for batch k makes the running values the mean of all so far.
            let stats_momentum = 1.0 / (index + 1) as f32;
            let batch = BatchInfo { epoch, stats_momentum, slot: 0, ..batch? };
            let mut recorder = gpu.record();
            self.plan.record(&mut recorder, batch);
            recorder.submit()?;
        }
        Ok(())
    }
}
