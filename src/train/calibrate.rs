//! Running statistics of batch norms, estimated anew at fixed weights.

use std::sync::Arc;

use crate::{
    gpu::{Buffer, Gpu, GpuError},
    graph::{BatchInfo, LossFunction, Plan, PlanMode, Schedule},
    kernels::{Arena, EffectiveWeights},
    nn::Model,
};

use super::{
    DeviceData, TrainError,
    evaluate::{SetWeights, set},
};

/// The plan of a pass over the training data in which batch norms go by the batch's statistics.
#[derive(Debug)]
pub struct Calibration {
    plan: Plan,
    clean: EffectiveWeights,
    batch: usize,
    /// The running statistics.
    stats: Buffer,
    /// The plan has a loss, which nothing reads.
    _metrics: Buffer,
}

impl Calibration {
    /// Plans it in batches as training has them; the loss has to take the data's targets, though nothing reads it.
    ///
    /// # Errors
    /// Those of the plan and of the device.
    pub fn new(
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
        Ok(Self { plan, clean, batch, stats: arena.stats.clone(), _metrics: metrics })
    }

    /// Sets the running statistics to the mean over all batches of the data, in their present order and as augmented in
    /// `epoch`, at the clean weights. Leaves `weights_eff` clean.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&self, gpu: &Gpu, data: &DeviceData, epoch: u32) -> Result<(), GpuError> {
        self.run_at(gpu, data, epoch, &set(&self.clean))
    }

    /// As [`Calibration::run`], at the weights that `set` leaves in `weights_eff`.
    ///
    /// Source: `torch.optim.swa_utils.update_bn`.
    ///
    /// # Errors
    /// Those of the device and of `set`.
    pub fn run_at(&self, gpu: &Gpu, data: &DeviceData, epoch: u32, set: &SetWeights<'_>) -> Result<(), GpuError> {
        let mut recorder = gpu.record();
        set(&mut recorder)?;
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

/// Batch norms' statistics estimated anew at each of several weights, and put back as they were in the end.
#[derive(Clone, Copy, Debug)]
pub struct Recalibration<'a> {
    /// The pass over the data.
    pub calibration: &'a Calibration,
    /// The data, in the order of its batches.
    pub data: &'a DeviceData,
    /// The epoch by which they are augmented.
    pub epoch: u32,
}

impl Recalibration<'_> {
    /// Estimates them at the weights that `set` leaves in `weights_eff`.
    ///
    /// # Errors
    /// As [`Calibration::run_at`].
    pub fn run_at(&self, gpu: &Gpu, set: &SetWeights<'_>) -> Result<(), GpuError> {
        self.calibration.run_at(gpu, self.data, self.epoch, set)
    }

    /// Does something, after which the statistics are as they were.
    ///
    /// # Errors
    /// Those of the device, and of what is done, whose end the statistics are put back after all the same.
    pub fn undone_after<T>(&self, gpu: &Gpu, act: impl FnOnce() -> Result<T, GpuError>) -> Result<T, GpuError> {
        let stats = &self.calibration.stats;
        let kept = gpu.buffer("kept statistics", stats.len())?;
        let copy = |from: &Buffer, to: &Buffer| {
            let mut recorder = gpu.record();
            recorder.copy(&from.view(), &to.view());
            recorder.submit()
        };
        copy(stats, &kept)?;
        let done = act();
        copy(&kept, stats)?;
        done
    }
}
