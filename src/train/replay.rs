//! A run repeated from its slopes: without data, without a network, one number a step.

use crate::{
    gpu::Gpu,
    kernels::Arena,
    nn::{self, Model},
    rules::{DescentConfig, Machine, Updates},
    schedule::Clock,
};

use super::{RunConfig, TrainError};

/// The weights of a run after the steps that these are the slopes of, bit for bit those that it had; the arena holds them. An epoch of
/// the run had `steps_per_epoch` steps, by which its learning rate may go.
///
/// Source: Malladi, Gao, Nichani et al., *Fine-Tuning Language Models with Just Forward Passes*, NeurIPS 2023, section 2.1.
///
/// # Errors
/// [`TrainError::Config`] for a run by another rule; those of the initial weights and of the device.
pub fn replay(
    gpu: &Gpu,
    config: &RunConfig,
    model: &Model,
    slopes: &[f32],
    steps_per_epoch: u64,
) -> Result<Arena, TrainError> {
    let rule = config.rule_for(model)?;
    if rule.compiled().takes_gradients() {
        let reason = format!("a run by rule {} moves by more than its slopes", config.rule);
        return Err(TrainError::Config { key: "rule".to_owned(), reason });
    }
    let element = config.precision.element();
    let arena = Arena::without_gradients(gpu, model.graph.layout(), &rule.scheme.scales(), element)?;
    nn::initialise(gpu, model, &arena, config.seed)?;
    if let Some(path) = &config.init {
        nn::load_as(gpu, model, &arena, path, config.weights_format)?;
    }
    let length = config.length(steps_per_epoch);
    let (metrics, optimizer) = (gpu.buffer("no metrics", 2)?, config.optimizer_for(1));
    let descent = DescentConfig::new(config.probe_distance(), &optimizer, metrics.view(), 1);
    let updates = Updates { optimizer, factor: None, descent: Some(descent) };
    let mut machine = Machine::new(gpu, &arena, &rule, updates, Clock::Run(length))?;
    let last = machine.compiled().phases().len().saturating_sub(1);
    let rate = config.learning_rate();
    for (step, slope) in slopes.iter().enumerate() {
        let step = step as u64;
        if let Some(buffer) = machine.slopes() {
            gpu.write(&buffer.view(), &[*slope])?;
        }
        let mut recorder = gpu.record();
        machine.after_pass(gpu, &mut recorder, last, step, rate.at(length.moment(step)))?;
        recorder.submit()?;
    }
    Ok(arena)
}

/// Steps of an epoch of a run on so many samples.
#[must_use]
pub fn steps_per_epoch(config: &RunConfig, samples: usize) -> u64 {
    let batch = config.batch.min(samples).max(1);
    let accumulate = config.accumulate.min(samples.div_ceil(batch)).max(1);
    (samples.div_ceil(batch * accumulate) as u64).max(1)
}
