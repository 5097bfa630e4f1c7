//! `jostle noise`

use std::{collections::HashMap, path::PathBuf};

use jostle::{
    data::DataSource,
    kernels::Arena,
    nn::{self, NamedTensor, write_tensors},
    noise::{Scale, Scheme, SigmaSchedule, deltas},
    schedule::{Moment, ScheduleUnit},
    train::{RunConfig, TrainError},
};
use serde::Serialize;

use super::{CliError, Context, Exit, model};

/// Options of `jostle noise`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A TOML file with the same keys
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Step, counted from 0
    #[arg(long)]
    step: u64,
    /// Epoch of that step, for scheduled sigmas, counted from 0
    #[arg(long, default_value_t = 0)]
    epoch: u64,
    /// Clean weights of that step: needed for --noise-scale filter
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
    /// Where to write the tensors, named as the weights
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Output<'a> {
    model: &'a str,
    step: u64,
    mode: &'static str,
    sigma: f32,
    group: Option<Vec<String>>,
    out: &'a PathBuf,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &context.options)?;
    let data: DataSource = config.data.parse().map_err(TrainError::from)?;
    let model = model::build(&config.model, Some(&data))?;
    if config.noise_scale == Scale::Filter && args.weights.is_none() {
        return Err(CliError::Usage("--noise-scale filter needs --weights: the noise depends on them".to_owned()));
    }
    let by_share = matches!(config.noise_schedule, SigmaSchedule::Linear | SigmaSchedule::Cosine);
    if by_share && config.schedule_unit == ScheduleUnit::Step && config.steps.is_none() {
        let schedule = config.noise_schedule;
        let reason = format!("--noise-schedule {schedule} by the step needs the run's number of steps: give --steps");
        return Err(CliError::Usage(reason));
    }
    if by_share && config.schedule_unit == ScheduleUnit::Epoch && config.steps.is_some() {
        let schedule = config.noise_schedule;
        let reason = format!(
            "--noise-schedule {schedule} by the epoch needs the epochs that the run's steps make: give --epochs"
        );
        return Err(CliError::Usage(reason));
    }
    let when =
        Moment { step: args.step, epoch: args.epoch, steps: config.steps.unwrap_or(u64::MAX), epochs: config.epochs };
    let gpu = context.gpu()?;
    let layout = model.graph.layout();
    let scheme = Scheme::new(config.noise_config(), &layout, &model.noise_tensors(), config.seed);
    let arena = Arena::new(&gpu, layout, &scheme.scales())?;
    if let Some(path) = &args.weights {
        nn::load(&gpu, &model, &arena, path)?;
    }
    let at = scheme.at(args.step, when);
    let values = deltas(&gpu, &arena, &scheme, &at)?;
    let params = model.graph.params();
    let named = params.iter().zip(values);
    let tensors: Vec<_> = named
        .map(|(param, values)| NamedTensor { name: param.name.clone(), shape: param.shape.clone(), values })
        .collect();
    let metadata = [
        ("model", config.model.clone()),
        ("seed", config.seed.to_string()),
        ("step", args.step.to_string()),
        ("noise", config.noise.to_string()),
        ("sigma", at.values.sigma.to_string()),
        ("distribution", config.noise_distribution.to_string()),
    ];
    let metadata: HashMap<_, _> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    write_tensors(&args.out, &tensors, metadata)?;
    let group = at.group.map(|group| scheme.groups()[group].iter().map(|t| params[*t].name.clone()).collect());
    let output = Output {
        model: &config.model,
        step: args.step,
        mode: config.noise.name(),
        sigma: at.values.sigma,
        group,
        out: &args.out,
    };
    let text = format!("wrote {} tensors to {}", tensors.len(), args.out.display());
    context.print(&output, &text)?;
    Ok(Exit::Done)
}
