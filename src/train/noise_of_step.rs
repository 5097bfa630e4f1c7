//! The noise that a configuration's training adds at a step, as named tensors.

use crate::{
    gpu::Gpu,
    kernels::Arena,
    nn::{self, Model, NamedTensor},
    noise::{Scale, Scheme, SigmaSchedule, deltas},
    schedule::{Moment, ScheduleUnit},
};

use super::{RunConfig, TrainError};

/// The noise of a step.
#[derive(Clone, Debug)]
pub struct NoiseOfStep {
    /// What is added to each parameter, under its name; of a rule with several draws a step under `NAME@0`, `NAME@1` and so on.
    pub tensors: Vec<NamedTensor>,
    /// Its standard deviation, or that in units of the scale.
    pub sigma: f32,
    /// The parameters of the noisy group, in mode `layer`; a projection as `attn.weight[q]`.
    pub group: Option<Vec<String>>,
}

/// Puts the clean weights of the step into an arena.
pub type PlaceWeights<'a> = dyn Fn(&Gpu, &Model, &Arena) -> Result<(), nn::WeightsError> + 'a;

/// The noise that training adds at a step of an epoch, both from 0. Noise in units of filter norms depends on the weights, which
/// `place` brings; a history of past gradients, as rule arwp has it, is left out. Of rules ivon and mezo these are unit draws: what
/// they are multiplied by is the state of the run.
///
/// # Errors
/// [`TrainError::Config`] for what the configuration leaves open; those of `place` and of the device.
pub fn noise_of_step(
    gpu: &Gpu,
    config: &RunConfig,
    model: &Model,
    [step, epoch]: [u64; 2],
    place: Option<&PlaceWeights<'_>>,
) -> Result<NoiseOfStep, TrainError> {
    let when = Moment { step, epoch, steps: config.steps.unwrap_or(u64::MAX), epochs: config.epochs };
    let layout = model.graph.layout();
    let mut noise = config.noise_config();
    if config.unscheduled_sigma().is_some() {
        noise.sigma = 1.0;
    }
    let scheme = Scheme::new(noise, &layout, &model.noise_tensors(), config.seed);
    let arena = Arena::new(gpu, layout, &scheme.scales())?;
    if let Some(place) = place {
        place(gpu, model, &arena)?;
    }
    let at = scheme.at(step, when);
    let (params, draws) = (model.graph.params(), config.draws());
    let mut tensors = Vec::with_capacity(params.len() * draws as usize);
    for draw in 0..draws {
        let suffix = if draws > 1 { format!("@{draw}") } else { String::new() };
        for (param, values) in params.iter().zip(deltas(gpu, &arena, &scheme, &at.clone().draw(draw))?) {
            tensors.push(NamedTensor { name: format!("{}{suffix}", param.name), shape: param.shape.clone(), values });
        }
    }
    Ok(NoiseOfStep {
        tensors,
        sigma: at.values.sigma,
        group: at.group.map(|group| scheme.groups()[group].iter().map(|part| model.part_name(part)).collect()),
    })
}

/// Whether a configuration says all that the noise of a single step depends on.
///
/// # Errors
/// [`TrainError::Config`] naming what it leaves open.
pub fn check_noise_of_step(config: &RunConfig, has_weights: bool) -> Result<(), TrainError> {
    let open = |key: &str, reason: String| Err(TrainError::Config { key: key.to_owned(), reason });
    if config.draws() == 0 {
        return open("rule", format!("{} draws no noise", config.rule));
    }
    if config.noise_scale == Scale::Filter && !has_weights {
        return open("noise-scale", "filter needs the weights of the step, which the noise depends on".to_owned());
    }
    let schedule = config.noise_schedule;
    if !matches!(schedule, SigmaSchedule::Linear | SigmaSchedule::Cosine | SigmaSchedule::CosineUp) {
        return Ok(());
    }
    match (config.schedule_unit, config.steps) {
        (ScheduleUnit::Step, None) => {
            open("noise-schedule", format!("{schedule} by the step needs the run's number of steps: give steps"))
        }
        (ScheduleUnit::Epoch, Some(_)) => open(
            "noise-schedule",
            format!("{schedule} by the epoch needs the epochs that the run's steps make: give epochs"),
        ),
        _ => Ok(()),
    }
}
