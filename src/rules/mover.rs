//! What moves the clean weights at the end of a step.

use crate::{
    gpu::{Buffer, Gpu, GpuError, Recorder, View},
    kernels::{AdapterClass, Arena, Descend, DescendStep, NoiseRange, NoiseStep},
    noise::{Point, StepNoise},
    optim::{Decay, Optimizer, OptimizerConfig, StepRate},
};

/// How the weights descend by the loss at two probes, without a gradient.
#[derive(Clone, Debug)]
pub struct DescentConfig {
    /// Distance between the two probes, in units of a unit draw.
    pub distance: f64,
    /// Weight decay.
    pub decay: f64,
    /// Whether tensors of one dimension do not decay.
    pub decay_matrices: bool,
    /// The ring of (loss, correct) sums.
    pub metrics: View,
    /// Slots of the ring of slopes.
    pub slots: usize,
}

impl DescentConfig {
    /// With the weight decay of an optimizer's settings.
    #[must_use]
    pub fn new(distance: f64, optimizer: &OptimizerConfig, metrics: View, slots: usize) -> Self {
        let decay_matrices = optimizer.decay == Decay::Matrices;
        Self { distance, decay: optimizer.weight_decay, decay_matrices, metrics, slots }
    }
}

/// An optimizer, or descent by probes.
#[derive(Debug)]
pub(super) enum Mover {
    Optimizer(Optimizer),
    Descent(Descent),
}

impl Mover {
    pub(super) fn optimizer(&self) -> Option<&Optimizer> {
        match self {
            Self::Optimizer(optimizer) => Some(optimizer),
            Self::Descent(_) => None,
        }
    }

    pub(super) fn descent(&self) -> Option<&Descent> {
        match self {
            Self::Descent(descent) => Some(descent),
            Self::Optimizer(_) => None,
        }
    }

    /// Records the update that follows upon a step's noise and leaves the effective weights at a point.
    pub(super) fn record(
        &mut self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        rate: StepRate,
        (step, then): (u64, &StepNoise),
        leaves: &Point,
    ) -> Result<(), GpuError> {
        match self {
            Self::Optimizer(optimizer) => optimizer.record_after(gpu, recorder, rate, leaves, then.values),
            Self::Descent(descent) => descent.record(gpu, recorder, rate.learning_rate, (step, then.values), leaves),
        }
    }
}

/// Descent by probes, planned.
#[derive(Debug)]
pub(super) struct Descent {
    config: DescentConfig,
    kernel: Descend,
    /// The whole arena, without noise.
    clean: [NoiseRange; 1],
}

impl Descent {
    pub(super) fn new(
        gpu: &Gpu,
        class: AdapterClass,
        arena: &Arena,
        config: DescentConfig,
        noise: u32,
    ) -> Result<Self, GpuError> {
        let (metrics, slots) = (&config.metrics, config.slots);
        let kernel = Descend::new(gpu, class, arena, (metrics, slots), (noise, config.decay_matrices))?;
        Ok(Self { kernel, config, clean: [NoiseRange { blocks: 0..arena.layout.blocks(), noisy: false }] })
    }

    /// One slope a step, a ring.
    pub(super) fn slopes(&self) -> &Buffer {
        self.kernel.slopes()
    }

    /// Records the slope of a step between the losses in two slots, sums over so many answers.
    pub(super) fn record_slope(&self, recorder: &mut Recorder<'_>, step: u64, probes: [u32; 2], answers: usize) {
        let scale = (1.0 / (answers as f64 * self.config.distance)) as f32;
        self.kernel.record_slope(recorder, probes, self.slot(step), scale);
    }

    fn slot(&self, step: u64) -> u32 {
        (step % self.config.slots.max(1) as u64) as u32
    }

    fn record(
        &self,
        gpu: &Gpu,
        recorder: &mut Recorder<'_>,
        learning_rate: f64,
        (step, then): (u64, NoiseStep),
        leaves: &Point,
    ) -> Result<(), GpuError> {
        let (ranges, noise) = match leaves {
            Point::Noisy(noise) => (&noise.ranges[..], noise.values),
            Point::Clean | Point::Ahead(_) => (&self.clean[..], NoiseStep::default()),
        };
        let values = DescendStep {
            noise,
            then_seed_low: then.seed_low,
            then_seed_high: then.seed_high,
            then_step: then.step,
            slot: self.slot(step),
            learning_rate: learning_rate as f32,
            decay: self.config.decay as f32,
        };
        self.kernel.record(gpu, recorder, ranges, values)
    }
}
