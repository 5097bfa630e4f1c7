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
    /// What is added to each parameter, under its name.
    pub tensors: Vec<NamedTensor>,
    /// Its standard deviation, or that in units of the scale.
    pub sigma: f32,
    /// The parameters of the noisy group, in mode `layer`; a projection as `attn.weight[q]`.
    pub group: Option<Vec<String>>,
}

/// Puts the clean weights of the step into an arena.
pub type PlaceWeights<'a> = dyn Fn(&Gpu, &Model, &Arena) -> Result<(), nn::WeightsError> + 'a;

/// The noise that training adds at a step of an epoch, both from 0. Noise in units of filter norms depends on the weights, which
/// `place` brings.
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
    let scheme = Scheme::new(config.noise_config(), &layout, &model.noise_tensors(), config.seed);
    let arena = Arena::new(gpu, layout, &scheme.scales())?;
    if let Some(place) = place {
        place(gpu, model, &arena)?;
    }
    let at = scheme.at(step, when);
    let params = model.graph.params();
    let tensors = params.iter().zip(deltas(gpu, &arena, &scheme, &at)?);
    Ok(NoiseOfStep {
        tensors: tensors
            .map(|(param, values)| NamedTensor { name: param.name.clone(), shape: param.shape.clone(), values })
            .collect(),
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
    if config.noise_scale == Scale::Filter && !has_weights {
        return open("noise-scale", "filter needs the weights of the step, which the noise depends on".to_owned());
    }
    let schedule = config.noise_schedule;
    if !matches!(schedule, SigmaSchedule::Linear | SigmaSchedule::Cosine) {
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
