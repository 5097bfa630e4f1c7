//! Loss, accuracy and outputs over a data set, at the clean weights.

use std::sync::Arc;

use crate::{
    data::{Dataset, Targets},
    gpu::{Buffer, Gpu, GpuError, Recorder},
    graph::{BatchInfo, LossFunction, OutputShape, Plan, PlanMode, Schedule},
    kernels::{Arena, EffectiveWeights},
    nn::Model,
};

use super::{DeviceData, Evaluation, TrainError};

/// Largest batch of an evaluation, which keeps no activations for backward.
const BATCH: usize = 512;

/// Words of the largest tensor of such a batch: 32 MiB.
const TENSOR_WORDS: usize = 1 << 23;

/// Batches between two reads of their sums.
const SLOTS: usize = 256;

/// Records what puts weights into `weights_eff`.
pub type SetWeights<'a> = dyn Fn(&mut Recorder<'_>) -> Result<(), GpuError> + 'a;

/// What puts these weights there, without noise.
pub(super) fn set(weights: &EffectiveWeights) -> impl Fn(&mut Recorder<'_>) -> Result<(), GpuError> + '_ {
    |recorder| {
        weights.record(recorder);
        Ok(())
    }
}

/// A data set with the plan that evaluates a network on it.
#[derive(Debug)]
pub struct Evaluator {
    data: DeviceData,
    plan: Plan,
    batch: usize,
    outputs: OutputShape,
    sums: Buffer,
    clean: EffectiveWeights,
}

impl Evaluator {
    /// Plans the evaluation of a model on `data`; `normalisation` as [`DeviceData::new`].
    ///
    /// # Errors
    /// Those of the plan and of the device.
    pub fn new(
        gpu: &Gpu,
        model: &Model,
        arena: &Arena,
        data: Dataset,
        normalisation: &[[f32; 2]],
        loss: impl Into<Arc<dyn LossFunction>>,
    ) -> Result<Self, TrainError> {
        let batch = Self::batch(model, data.len());
        let data = DeviceData::new(gpu, data, batch, normalisation)?;
        let sums = gpu.buffer("evaluation sums", SLOTS * 2)?;
        let schedule = Schedule::suited(&model.graph, batch, PlanMode::Evaluate, loss, arena.element, gpu)?;
        let plan = Plan::new(gpu, &schedule, arena, data.views(), &sums.view())?;
        let clean = EffectiveWeights::new(gpu, arena, &arena.weights)?;
        Ok(Self { data, plan, batch, outputs: schedule.outputs, sums, clean })
    }

    /// Samples of a batch of `model` on so many samples.
    pub(super) fn batch(model: &Model, samples: usize) -> usize {
        model.graph.batch_within(BATCH, TENSOR_WORDS).min(samples)
    }

    /// The data on the device, in their own order.
    #[must_use]
    pub fn data(&self) -> &DeviceData {
        &self.data
    }

    /// Mean loss and accuracy. Leaves `weights_eff` a copy of the clean weights.
    ///
    /// # Errors
    /// Those of the device.
    pub fn evaluate(&self, gpu: &Gpu) -> Result<Evaluation, GpuError> {
        self.evaluate_at(gpu, &set(&self.clean))
    }

    /// Mean loss and accuracy at the weights that `set` leaves in `weights_eff`.
    ///
    /// # Errors
    /// Those of the device and of `set`.
    pub fn evaluate_at(&self, gpu: &Gpu, set: &SetWeights<'_>) -> Result<Evaluation, GpuError> {
        self.run(gpu, set, |_| Ok(()))
    }

    /// As [`Evaluator::evaluate`], with the outputs [samples, positions, width] in the data's order.
    ///
    /// # Errors
    /// Those of the device.
    pub fn outputs(&self, gpu: &Gpu) -> Result<(Evaluation, Vec<f32>), GpuError> {
        let per_sample = self.outputs.positions * self.outputs.width;
        let mut outputs = Vec::with_capacity(self.data.len() * per_sample);
        let evaluation = self.run(gpu, &set(&self.clean), |valid| {
            let batch = self.plan.read_outputs(gpu)?;
            outputs.extend_from_slice(&batch[..valid * per_sample]);
            Ok(())
        })?;
        Ok((evaluation, outputs))
    }

    fn run(
        &self,
        gpu: &Gpu,
        set: &SetWeights<'_>,
        mut after_batch: impl FnMut(usize) -> Result<(), GpuError>,
    ) -> Result<Evaluation, GpuError> {
        let mut recorder = gpu.record();
        set(&mut recorder)?;
        recorder.submit()?;
        let (mut loss, mut correct) = (0.0, 0.0);
        let mut batches = self.data.batches(gpu, self.batch);
        loop {
            let mut filled = 0;
            for batch in batches.by_ref().take(SLOTS) {
                let batch = BatchInfo { slot: filled as u32, ..batch? };
                let mut recorder = gpu.record();
                self.plan.record(&mut recorder, batch);
                recorder.submit()?;
                after_batch(batch.valid as usize)?;
                filled += 1;
            }
            if filled == 0 {
                break;
            }
            let sums: Vec<[f32; 2]> = gpu.read(&self.sums.view())?;
            for [batch_loss, batch_correct] in &sums[..filled] {
                loss += f64::from(*batch_loss);
                correct += f64::from(*batch_correct);
            }
        }
        let count = (self.data.len() * self.outputs.positions) as f64;
        let has_answers = !matches!(self.data.dataset().targets, Targets::Vectors { .. });
        let accuracy = if has_answers { correct / count } else { f64::NAN };
        Ok(Evaluation { loss: loss / count, accuracy })
    }
}
