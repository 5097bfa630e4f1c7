//! Loss, accuracy, outputs and the quality of predictions over a data set, at the clean weights or others.

use std::sync::Arc;

use serde::Serialize;

use crate::{
    data::{Dataset, Targets},
    gpu::{Buffer, Gpu, GpuError, Recorder},
    graph::{BatchInfo, LossFunction, OutputShape, Plan, PlanMode, Schedule},
    kernels::{Arena, EffectiveWeights},
    nn::Model,
};

use super::{DeviceData, Evaluation, Quality, QualitySums, TrainError};

/// Largest batch of an evaluation, which keeps no activations for backward.
const BATCH: usize = 512;

/// Words of the largest tensor of such a batch: 32 MiB.
const TENSOR_WORDS: usize = 1 << 23;

/// Batches between two reads of their sums.
const SLOTS: usize = 256;

/// Most words of all outputs that are read back to measure their quality, where a sample has several positions: 128 MiB.
const QUALITY_WORDS: usize = 1 << 25;

/// Records what puts weights into `weights_eff`.
pub type SetWeights<'a> = dyn Fn(&mut Recorder<'_>) -> Result<(), GpuError> + 'a;

/// What puts these weights there, without noise.
pub(super) fn set(weights: &EffectiveWeights) -> impl Fn(&mut Recorder<'_>) -> Result<(), GpuError> + '_ {
    |recorder| {
        weights.record(recorder);
        Ok(())
    }
}

/// What an evaluation found that reads the outputs back.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Scored {
    /// Mean loss and accuracy.
    #[serde(flatten)]
    pub evaluation: Evaluation,
    /// The quality of the predictions, where there is one: [`has_quality`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
}

/// Whether the quality of a model's predictions of data is measured: they are probabilities of classes, and where a sample has
/// several positions all outputs together are few enough to be read back.
#[must_use]
pub fn has_quality(model: &Model, data: &Dataset, loss: &dyn LossFunction) -> bool {
    let [positions, width] = [model.positions(), model.classes()];
    let words = positions.saturating_mul(width).saturating_mul(data.len());
    let has_labels = !matches!(data.targets, Targets::Vectors { .. });
    loss.outputs_are_logits() && has_labels && (positions == 1 || words <= QUALITY_WORDS)
}

/// A data set with the plan that evaluates a network on it.
#[derive(Debug)]
pub struct Evaluator {
    data: DeviceData,
    plan: Plan,
    batch: usize,
    pub(super) outputs: OutputShape,
    has_quality: bool,
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
        let (batch, loss) = (Self::batch(model, data.len()), loss.into());
        let has_quality = has_quality(model, &data, &*loss);
        let data = DeviceData::new(gpu, data, batch, normalisation)?;
        let sums = gpu.buffer("evaluation sums", SLOTS * 2)?;
        let schedule = Schedule::suited(&model.graph, batch, PlanMode::Evaluate, loss, arena.element, gpu)?;
        let plan = Plan::new(gpu, &schedule, arena, data.views(), &sums.view())?;
        let clean = EffectiveWeights::new(gpu, arena, &arena.weights)?;
        Ok(Self { data, plan, batch, outputs: schedule.outputs, has_quality, sums, clean })
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
        self.run(gpu, set, |_, _| Ok(()))
    }

    /// As [`Evaluator::evaluate`], with the quality of the predictions where there is one, for which it reads the outputs back,
    /// batch by batch.
    ///
    /// # Errors
    /// Those of the device.
    pub fn score(&self, gpu: &Gpu) -> Result<Scored, GpuError> {
        self.score_at(gpu, &set(&self.clean))
    }

    /// As [`Evaluator::score`], at the weights that `set` leaves in `weights_eff`.
    ///
    /// # Errors
    /// Those of the device and of `set`.
    pub fn score_at(&self, gpu: &Gpu, set: &SetWeights<'_>) -> Result<Scored, GpuError> {
        if !self.has_quality {
            return Ok(Scored { evaluation: self.evaluate_at(gpu, set)?, quality: None });
        }
        let mut sums = QualitySums::default();
        let evaluation = self.read_at(gpu, set, |first, outputs| self.add(&mut sums, first, outputs))?;
        Ok(Scored { evaluation, quality: Some(sums.quality()) })
    }

    /// As [`Evaluator::evaluate`], with the outputs [samples, positions, width] in the data's order.
    ///
    /// # Errors
    /// Those of the device.
    pub fn outputs(&self, gpu: &Gpu) -> Result<(Evaluation, Vec<f32>), GpuError> {
        let mut outputs = Vec::with_capacity(self.data.len() * self.per_sample());
        let evaluation = self.read_at(gpu, &set(&self.clean), |_, batch| outputs.extend_from_slice(batch))?;
        Ok((evaluation, outputs))
    }

    /// The quality of such outputs as predictions, where it is measured.
    #[must_use]
    pub fn quality(&self, outputs: &[f32]) -> Option<Quality> {
        let mut sums = QualitySums::default();
        self.has_quality.then(|| {
            self.add(&mut sums, 0, outputs);
            sums.quality()
        })
    }

    /// Whether [`Evaluator::score`] measures the quality of the predictions.
    #[must_use]
    pub fn has_quality(&self) -> bool {
        self.has_quality
    }

    /// Outputs of a sample.
    pub(super) fn per_sample(&self) -> usize {
        self.outputs.positions * self.outputs.width
    }

    /// Adds the predictions of samples from `first` on.
    fn add(&self, sums: &mut QualitySums, first: usize, outputs: &[f32]) {
        let labels = self.data.labels(first, outputs.len() / self.per_sample().max(1));
        for (row, label) in outputs.chunks_exact(self.outputs.width).zip(labels) {
            sums.add_logits(row, label as usize);
        }
    }

    /// As [`Evaluator::evaluate_at`]; hands on the outputs of each batch with the position of its first sample.
    pub(super) fn read_at(
        &self,
        gpu: &Gpu,
        set: &SetWeights<'_>,
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<Evaluation, GpuError> {
        self.run(gpu, set, |first, valid| {
            let outputs = self.plan.read_outputs(gpu)?;
            take(first, &outputs[..valid * self.per_sample()]);
            Ok(())
        })
    }

    /// Scores batch by batch; after each comes `after_batch` with the position of its first sample and its samples.
    fn run(
        &self,
        gpu: &Gpu,
        set: &SetWeights<'_>,
        mut after_batch: impl FnMut(usize, usize) -> Result<(), GpuError>,
    ) -> Result<Evaluation, GpuError> {
        let mut recorder = gpu.record();
        set(&mut recorder)?;
        recorder.submit()?;
        let (mut loss, mut correct, mut done) = (0.0, 0.0, 0);
        let mut batches = self.data.batches(gpu, self.batch);
        loop {
            let mut filled = 0;
            for batch in batches.by_ref().take(SLOTS) {
                let batch = BatchInfo { slot: filled as u32, ..batch? };
                let mut recorder = gpu.record();
                self.plan.record(&mut recorder, batch);
                recorder.submit()?;
                after_batch(done, batch.valid as usize)?;
                done += batch.valid as usize;
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
