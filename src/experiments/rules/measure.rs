//! The runs, and what is kept of them.

use serde_json::json;

use crate::{
    analysis::{Curvature, SpectrumOptions, TraceOptions},
    experiments::{ExperimentError, Surroundings},
    train::{
        Arm, ArmRuns, Control, DeviceData, Event, MetricsFiles, Prepared, RunConfig, RunResult, TrainError, Trainer,
        compare,
    },
};

use super::{
    measurements::{ArmMeasurements, End, Measurements, Run, Sharpness},
    settings::Settings,
};

/// Largest batch of a product with the Hessian, and the words of its largest tensor: 128 MiB, which every adapter binds.
const BATCH: usize = 512;
const WORDS: usize = 1 << 25;

/// Trains every arm with every seed; writes each run's metrics.
pub(super) fn measure(
    settings: &Settings,
    around: &mut Surroundings<'_>,
) -> Result<(Measurements, Vec<ArmRuns>), ExperimentError> {
    let arms = settings.arms()?;
    let config = arms.first().map(|arm| arm.config.clone()).unwrap_or_default();
    let seeds = settings.seeds(&config);
    let prepared = Prepared::load(&config)?;
    let data = curvature_data(settings, &config, prepared, around)?;
    let mut sharpness = Vec::new();
    let mut finish = |trainer: &Trainer<'_>| {
        let traces = trainer.traces(Some(&data), settings.trace_probes)?;
        let trace = traces.hessian.trace;
        // Nothing is to be had of weights that are not finite.
        let largest_eigenvalue =
            if trace.is_finite() { largest_eigenvalue(settings, trainer, &data)? } else { f64::NAN };
        sharpness.push(Sharpness { trace, largest_eigenvalue });
        Ok(Some(traces))
    };
    let mut metrics = MetricsFiles::new(&around.out);
    let runs = (arms.len() * seeds.len()) as f64;
    let mut heard = Ok(());
    let found = compare(around.gpu, arms, &seeds, &Prepared::load, &mut finish, &mut |arm: &Arm, seed, event| {
        let name = arm.run_name(seed);
        let file = metrics.file(&name)?;
        match event {
            Event::Progress { step, total } => {
                let share = (metrics.finished() as f64 + step as f64 / total as f64) / runs;
                heard = (around.progress)(share, &name);
            }
            Event::Step(record) => file.step(&record)?,
            Event::Epoch(record) => file.epoch(&record)?,
        }
        Ok(if heard.is_ok() { Control::Continue } else { Control::Stop })
    });
    heard?;
    let found = found?;
    let mut sharpness = sharpness.into_iter();
    let of_arm = |(index, arm): (usize, &ArmRuns)| {
        let run = |(seed, run): (&u64, &RunResult)| {
            let sharpness = sharpness.next();
            Run {
                seed: *seed,
                end: run.end().zip(sharpness).map(|(end, sharpness)| End::new(end, sharpness)),
                epochs: json!(run.epochs),
            }
        };
        ArmMeasurements {
            arm: arm.arm.label.clone(),
            own: settings.own(index),
            config: json!(arm.arm.config),
            step_milliseconds: arm.step_milliseconds().unwrap_or(f64::NAN),
            gradient_evaluations: arm.cost.gradient_evaluations,
            passes: arm.cost.passes,
            runs: arm.seeds.iter().zip(&arm.runs).map(run).collect(),
        }
    };
    let arms = found.iter().enumerate().map(of_arm).collect();
    let data = found.first().map_or(config.data, |arm| arm.data.clone());
    Ok((Measurements { data, model: config.model, label_noise: config.label_noise, arms }, found))
}

/// Of the Hessian of the training loss at the weights that a run ended with.
fn largest_eigenvalue(settings: &Settings, trainer: &Trainer<'_>, data: &DeviceData) -> Result<f64, TrainError> {
    // The start is that of the run's seed, which arms have in common.
    let seed = TraceOptions::default().seed ^ trainer.seed();
    let options = SpectrumOptions { steps: settings.lanczos_steps, starts: 1, seed, curvature: Curvature::Hessian };
    let spectrum = trainer.spectrum(Some(data), options)?;
    Ok(spectrum.quadratures.iter().flatten().map(|ritz| ritz.value).fold(f64::NAN, f64::max))
}

/// The samples that the curvature is of, normalised as in training and not augmented, with the labels that training has.
fn curvature_data(
    settings: &Settings,
    config: &RunConfig,
    prepared: Prepared,
    around: &Surroundings<'_>,
) -> Result<DeviceData, ExperimentError> {
    let most = prepared.model.graph.batch_within(BATCH, WORDS);
    let train = prepared.split.train;
    let normalisation = config.normalise.moments(&train)?;
    let samples = settings.curvature_samples.min(train.len());
    let subset = train.stratified_subset(samples, config.subset_seed)?;
    Ok(DeviceData::new(around.gpu, subset, samples.min(most), &normalisation)?)
}
