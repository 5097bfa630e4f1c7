//! `jostle eval`

use std::{collections::HashMap, path::PathBuf};

use jostle::{
    kernels::Arena,
    nn::{self, NamedTensor, write_tensors},
    train::{Evaluator, Options, Prepared, RunConfig},
};
use serde::Serialize;

use super::{CliError, Context, Exit};

/// Options of `jostle eval`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// The run's configuration (config.toml in its folder)
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The weights to score
    #[arg(long, value_name = "FILE.safetensors")]
    weights: PathBuf,
    /// Score the training data instead of the test data
    #[arg(long)]
    train_data: bool,
    /// Write the logits [samples, classes] in the data's order
    #[arg(long, value_name = "FILE.safetensors")]
    logits: Option<PathBuf>,
}

#[derive(Serialize)]
struct Output<'a> {
    data: &'a str,
    part: &'static str,
    samples: usize,
    loss: f64,
    accuracy: f64,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &args.options)?;
    let prepared = Prepared::load(&config)?;
    let normalisation = config.normalise.moments(&prepared.split.train)?;
    let gpu = context.gpu()?;
    let layout = prepared.model.graph.layout();
    let scales = vec![0.0; layout.spans().len()];
    let arena = Arena::new(&gpu, layout, &scales)?;
    nn::load(&gpu, &prepared.model, &arena, &args.weights)?;
    let (part, data) = if args.train_data { ("train", prepared.split.train) } else { ("test", prepared.split.test) };
    let samples = data.len();
    let evaluator = Evaluator::new(&gpu, &prepared.model, &arena, data, &normalisation, config.loss)?;
    let evaluation = match &args.logits {
        None => evaluator.evaluate(&gpu)?,
        Some(path) => {
            let (evaluation, values) = evaluator.outputs(&gpu)?;
            let shape = vec![samples, prepared.model.classes()];
            write_tensors(path, &[NamedTensor { name: "logits".to_owned(), shape, values }], HashMap::new())?;
            evaluation
        }
    };
    let output = Output { data: &config.data, part, samples, loss: evaluation.loss, accuracy: evaluation.accuracy };
    let text = format!(
        "{} ({part}, {samples} samples): loss {:.4}, accuracy {:.2} %",
        config.data,
        evaluation.loss,
        100.0 * evaluation.accuracy
    );
    context.print(&output, &text)?;
    Ok(Exit::Done)
}
