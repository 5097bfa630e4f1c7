//! `jostle noise`

use std::{collections::HashMap, path::PathBuf};

use jostle::{
    data::DataSource,
    gpu::Gpu,
    kernels::Arena,
    nn::{self, Model, write_tensors},
    train::{NoiseOfStep, RunConfig, TrainError, check_noise_of_step, model_for, noise_of_step},
};
use serde::Serialize;

use super::{CliError, Context, Exit};

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
    let model = model_for(&config, Some(&data))?;
    check_noise_of_step(&config, args.weights.is_some())?;
    let gpu = context.gpu()?;
    let load = |gpu: &Gpu, model: &Model, arena: &Arena| match &args.weights {
        Some(path) => nn::load(gpu, model, arena, path),
        None => Ok(()),
    };
    let NoiseOfStep { tensors, sigma, group } =
        noise_of_step(&gpu, &config, &model, [args.step, args.epoch], Some(&load))?;
    let metadata = [
        ("model", config.model.clone()),
        ("seed", config.seed.to_string()),
        ("step", args.step.to_string()),
        ("rule", config.rule.to_string()),
        ("noise", config.noise.to_string()),
        ("sigma", sigma.to_string()),
        ("distribution", config.noise_distribution.to_string()),
    ];
    let metadata: HashMap<_, _> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    write_tensors(&args.out, &tensors, metadata)?;
    let output =
        Output { model: &config.model, step: args.step, mode: config.noise.name(), sigma, group, out: &args.out };
    let text = format!("wrote {} tensors to {}", tensors.len(), args.out.display());
    context.print(&output, &text)?;
    Ok(Exit::Done)
}
