//! `jostle eval`

use std::{collections::HashMap, path::PathBuf};

use jostle::{
    nn::{NamedTensor, WeightsFormat, write_tensors},
    train::{Evaluation, Network, Prepared, RunConfig},
};
use serde::Serialize;

use super::{CliError, Context, Exit};

/// Options of `jostle eval`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run's configuration (config.toml in its folder)
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The weights to score
    #[arg(long, value_name = "FILE.safetensors")]
    weights: PathBuf,
    /// Whose names and layouts they have: jostle, nanogpt, huggingface or timm
    #[arg(long, value_name = "FORMAT", default_value_t = WeightsFormat::Jostle)]
    weights_format: WeightsFormat,
    /// Score the training data instead of the test data
    #[arg(long, conflicts_with = "validation_data")]
    train_data: bool,
    /// Score the validation part instead of the test data
    #[arg(long)]
    validation_data: bool,
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
    /// Beside the test data, where there is a validation part.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Evaluation>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &context.options)?;
    let prepared = Prepared::load(&config)?;
    let gpu = context.gpu()?;
    let network = Network::new(&gpu, &config, &prepared)?;
    network.load_as(&args.weights, args.weights_format)?;
    let (mut part, mut data, mut beside) = ("test", prepared.split.test, prepared.validation);
    if args.train_data {
        (part, data, beside) = ("train", prepared.split.train, None);
    } else if args.validation_data {
        let none = || CliError::Usage("--validation-data: the configuration has no validation part".to_owned());
        (part, data, beside) = ("validation", beside.ok_or_else(none)?, None);
    }
    let samples = data.len();
    let evaluator_beside = beside.map(|data| network.evaluator(data)).transpose()?;
    let evaluator = network.evaluator(data)?;
    let evaluation = match &args.logits {
        None => evaluator.evaluate(&gpu)?,
        Some(path) => {
            let (evaluation, values) = evaluator.outputs(&gpu)?;
            let shape = prepared.model.outputs_shape(samples);
            write_tensors(path, &[NamedTensor { name: "logits".to_owned(), shape, values }], HashMap::new())?;
            evaluation
        }
    };
    let validation = evaluator_beside.map(|evaluator| evaluator.evaluate(&gpu)).transpose()?;
    let Evaluation { loss, accuracy } = evaluation;
    let output = Output { data: &config.data, part, samples, loss, accuracy, validation };
    let mut text =
        format!("{} ({part}, {samples} samples): loss {:.4}, accuracy {:.2} %", config.data, loss, 100.0 * accuracy);
    if let Some(Evaluation { loss, accuracy }) = validation {
        text.push_str(&format!("\nvalidation: loss {loss:.4}, accuracy {:.2} %", 100.0 * accuracy));
    }
    context.print(&output, &text)?;
    Ok(Exit::Done)
}
