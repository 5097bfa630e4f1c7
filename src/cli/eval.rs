//! `jostle eval`

use std::{collections::HashMap, path::PathBuf};

use jostle::{
    nn::{NamedTensor, WeightsFormat, write_tensors},
    train::{Evaluation, Network, Prepared, RunConfig, Scored},
};
use serde::Serialize;

use super::{
    CliError, Context, Exit,
    posterior::{Averaged, Averaging, PosteriorArgs},
};

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
    #[command(flatten)]
    posterior: PosteriorArgs,
}

#[derive(Serialize)]
struct Output<'a> {
    data: &'a str,
    part: &'static str,
    samples: usize,
    #[serde(flatten)]
    scored: Scored,
    #[serde(skip_serializing_if = "Option::is_none")]
    posterior: Option<Averaged>,
    /// Beside the test data, where there is a validation part.
    #[serde(skip_serializing_if = "Option::is_none")]
    validation: Option<Evaluation>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &context.options)?;
    let averaging = Averaging::new(&args.posterior, &config)?;
    let prepared = Prepared::load(&config)?;
    let (mut part, mut data, mut beside) = ("test", prepared.split.test.clone(), prepared.validation.clone());
    if args.train_data {
        (part, data, beside) = ("train", prepared.split.train.clone(), None);
    } else if args.validation_data {
        let none = || CliError::Usage("--validation-data: the configuration has no validation part".to_owned());
        (part, data, beside) = ("validation", beside.ok_or_else(none)?, None);
    }
    if let Some(averaging) = &averaging {
        averaging.check(&prepared, &data)?;
    }
    let gpu = context.gpu()?;
    let network = Network::new(&gpu, &config, &prepared)?;
    network.load_as(&args.weights, args.weights_format)?;
    let samples = data.len();
    let evaluator_beside = beside.map(|data| network.evaluator(data)).transpose()?;
    let evaluator = network.evaluator(data)?;
    let scored = match &args.logits {
        None => evaluator.score(&gpu)?,
        Some(path) => {
            let (evaluation, values) = evaluator.outputs(&gpu)?;
            let quality = evaluator.quality(&values);
            let shape = prepared.model.outputs_shape(samples);
            write_tensors(path, &[NamedTensor { name: "logits".to_owned(), shape, values }], HashMap::new())?;
            Scored { evaluation, quality }
        }
    };
    let validation = evaluator_beside.map(|evaluator| evaluator.evaluate(&gpu)).transpose()?;
    let average = |averaging: Averaging<'_>| averaging.score(&gpu, &network, &evaluator, (&prepared, &args.weights));
    let posterior = averaging.map(average).transpose()?;
    let output = Output { data: &config.data, part, samples, scored, posterior, validation };
    context.print(&output, &text(&output))?;
    Ok(Exit::Done)
}

fn text(output: &Output<'_>) -> String {
    let Output { data, part, samples, scored, posterior, validation } = output;
    let mut text = format!("{data} ({part}, {samples} samples): {}", evaluation_text(scored.evaluation));
    if let Some(quality) = scored.quality {
        text.push_str(&format!("\npredictions: {}", quality.text()));
    }
    if let Some(averaged) = posterior {
        let Scored { evaluation, quality } = averaged.scored;
        // Its loss is the likelihood of the quality.
        let found = quality.map_or(String::new(), |quality| format!(", {}", quality.text()));
        text.push_str(&format!("\n{}: accuracy {:.2} %{found}", averaged.title(), 100.0 * evaluation.accuracy));
    }
    if let Some(evaluation) = validation {
        text.push_str(&format!("\nvalidation: {}", evaluation_text(*evaluation)));
    }
    text
}

fn evaluation_text(Evaluation { loss, accuracy }: Evaluation) -> String {
    format!("loss {loss:.4}, accuracy {:.2} %", 100.0 * accuracy)
}
