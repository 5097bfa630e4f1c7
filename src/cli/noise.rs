//! `jostle noise`

use std::{collections::HashMap, path::PathBuf};

use jostle::{
    data::DataSource,
    gpu::Gpu,
    kernels::Arena,
    nn::{self, Model, NamedTensor, write_tensors},
    rules::RuleKind,
    train::{NoiseOfStep, Prepared, RunConfig, TrainError, check_noise_of_step, model_for, noise_of_step},
};
use serde::Serialize;

use super::{CliError, Context, Exit};

/// Options of `jostle noise`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A TOML file with the same keys
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Step, counted from 0: needed for all but the labels of rule fresh-labels, which are an epoch's
    #[arg(long)]
    step: Option<u64>,
    /// Epoch of that step, for scheduled sigmas, or of the labels, counted from 0
    #[arg(long, default_value_t = 0)]
    epoch: u64,
    /// Clean weights of that step: needed for --noise-scale filter
    #[arg(long, value_name = "FILE.safetensors")]
    weights: Option<PathBuf>,
    /// Where to write the tensors, named as the weights; or the training data's labels [samples]
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
    if let RuleKind::FreshLabels = config.rule {
        return write_labels(context, args, &config);
    }
    let step = args.step.ok_or_else(|| CliError::Usage("--step: expected the step that the noise is of".to_owned()))?;
    let data: DataSource = config.data.parse().map_err(TrainError::from)?;
    let model = model_for(&config, Some(&data))?;
    check_noise_of_step(&config, args.weights.is_some())?;
    let gpu = context.gpu()?;
    let load = |gpu: &Gpu, model: &Model, arena: &Arena| match &args.weights {
        Some(path) => nn::load(gpu, model, arena, path),
        None => Ok(()),
    };
    let NoiseOfStep { tensors, sigma, group } = noise_of_step(&gpu, &config, &model, [step, args.epoch], Some(&load))?;
    let metadata = [
        ("model", config.model.clone()),
        ("seed", config.seed.to_string()),
        ("step", step.to_string()),
        ("rule", config.rule.to_string()),
        ("noise", config.noise.to_string()),
        ("sigma", sigma.to_string()),
        ("distribution", config.noise_distribution.to_string()),
    ];
    let metadata: HashMap<_, _> = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    write_tensors(&args.out, &tensors, metadata)?;
    let output = Output { model: &config.model, step, mode: config.noise.name(), sigma, group, out: &args.out };
    let text = format!("wrote {} tensors to {}", tensors.len(), args.out.display());
    context.print(&output, &text)?;
    Ok(Exit::Done)
}

/// What rule fresh-labels writes.
#[derive(Serialize)]
struct Labels<'a> {
    data: String,
    epoch: u64,
    samples: usize,
    /// Labels that are others than the data's.
    changed: usize,
    out: &'a PathBuf,
}

/// The labels of an epoch.
fn write_labels(context: &Context, args: &Args, config: &RunConfig) -> Result<Exit, CliError> {
    let prepared = Prepared::load(config)?;
    let train = &prepared.split.train;
    let labels = prepared.labels_of_epoch(config, args.epoch).unwrap_or_default();
    let changed = labels.iter().zip(train.targets.labels()).filter(|(drawn, own)| drawn != own).count();
    let samples = labels.len();
    let values = labels.into_iter().map(|label| label as f32).collect();
    let tensor = NamedTensor { name: "labels".to_owned(), shape: vec![samples], values };
    let metadata =
        [("data", prepared.training_data()), ("seed", config.seed.to_string()), ("epoch", args.epoch.to_string())];
    let metadata = metadata.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    write_tensors(&args.out, &[tensor], metadata)?;
    let (data, epoch, out) = (prepared.training_data(), args.epoch, &args.out);
    let text = format!("wrote the labels of epoch {epoch} to {}: {changed} of {samples} changed", out.display());
    context.print(&Labels { data, epoch, samples, changed, out }, &text)?;
    Ok(Exit::Done)
}
