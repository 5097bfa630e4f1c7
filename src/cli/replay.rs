//! `jostle replay`

use std::path::PathBuf;

use jostle::{
    nn,
    train::{Prepared, RunConfig, read_slopes, replay, steps_per_epoch},
};
use serde::Serialize;

use super::{CliError, Context, Exit};

/// Options of `jostle replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of a run by rule mezo: its config.toml and slopes.txt are read
    #[arg(long, value_name = "DIR")]
    run: PathBuf,
    /// Steps to repeat; all that were written down where not given
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Where to write the weights
    #[arg(long, value_name = "FILE.safetensors")]
    out: PathBuf,
}

#[derive(Serialize)]
struct Output<'a> {
    steps: usize,
    out: &'a PathBuf,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(Some(&args.run.join("config.toml")), &context.options)?;
    let mut slopes = read_slopes(&args.run)?;
    if let Some(steps) = args.steps {
        if steps > slopes.len() {
            let found = slopes.len();
            return Err(CliError::Usage(format!("--steps: {steps} are more than the {found} that the run has taken")));
        }
        slopes.truncate(steps);
    }
    // The data say how the model looks, and how many steps an epoch had.
    let prepared = Prepared::load(&config)?;
    let gpu = context.gpu()?;
    let per_epoch = steps_per_epoch(&config, prepared.split.train.len());
    let arena = replay(&gpu, &config, &prepared.model, &slopes, per_epoch)?;
    nn::save(&gpu, &prepared.model, &arena, &arena.weights, &args.out)?;
    let text = format!("repeated {} steps, weights in {}", slopes.len(), args.out.display());
    context.print(&Output { steps: slopes.len(), out: &args.out }, &text)?;
    Ok(Exit::Done)
}
