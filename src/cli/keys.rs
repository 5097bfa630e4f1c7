//! Which keys of a run's configuration a command takes as options: those that it reads, and no others.
//!
//! The keys themselves, with their defaults and help, are the fields of [`RunConfig`].

use clap::{Arg, builder::Resettable};

use jostle::{
    data::DataSource,
    noise::Mode,
    train::{AUTO_BATCH, RunConfig, TrainError, topic},
};

use super::{CliError, Context};

/// The commands that take some.
pub(super) const COMMANDS: [&str; 7] = ["plan", "train", "compare", "eval", "hessian", "noise", "bench"];

/// What `jostle bench` measures by default.
pub(super) const BENCH_MODEL: &str = "mlp1";
pub(super) const BENCH_NOISE: Mode = Mode::Layer;

/// Whether a command reads a key.
fn takes(command: &str, key: &Arg) -> bool {
    let named = |names: &[&str]| key.get_long().is_some_and(|name| names.contains(&name));
    let about = |topics: &[&str]| key.get_help_heading().is_some_and(|topic| topics.contains(&topic));
    match command {
        "train" => true,
        // Its arms differ in the mode, and have no folders of their own to keep events in.
        "compare" => !named(&["noise", "tensorboard"]),
        "eval" => about(&[topic::DATA, topic::NOISE]) || named(&["model", "loss", "bn-recalibrate"]),
        "hessian" => about(&[topic::DATA]) || named(&["model", "loss", "label-smoothing", "groups"]),
        "noise" => {
            about(&[topic::NOISE, topic::SIGMA_SCHEDULE])
                || named(&[
                    "rule",
                    "pairs",
                    "sub-batches",
                    "mc-samples",
                    "fresh-label-noise",
                    "subset",
                    "subset-seed",
                    "stratified",
                    "label-noise",
                    "label-noise-seed",
                    "validation",
                    "data",
                    "block",
                    "model",
                    "seed",
                    "epochs",
                    "steps",
                    "schedule-unit",
                ])
        }
        // The samples are random ones of the data's shape, at a learning rate of its own.
        "bench" => {
            about(&[topic::MODEL, topic::AUGMENTATION, topic::RULE, topic::NOISE, topic::OPTIMIZER])
                || named(&["data", "block", "batch", "seed", "on-nan"])
        }
        "plan" => named(&["data", "block", "model", "dropout", "precision", "optimizer", "batch"]),
        _ => false,
    }
}

/// The options of a command that are keys of a run's configuration.
pub(super) fn options(command: &str) -> Vec<Arg> {
    RunConfig::arguments().into_iter().filter(|key| takes(command, key)).map(|key| adapted(command, key)).collect()
}

/// A key as a command takes it: some have other defaults than a run.
fn adapted(command: &str, key: Arg) -> Arg {
    match (command, key.get_long().unwrap_or_default()) {
        ("bench" | "plan", "data") => key
            .default_value(Resettable::Reset)
            .help("Data set whose shape and classes the model takes, named as for train; without it the model's own"),
        ("bench" | "plan", "batch") => key.help("Samples a step"),
        ("eval", "bn-recalibrate") => {
            key.help("Before each draw of --posterior is scored, estimate the running statistics of batch norms there")
        }
        ("hessian", "groups") => key.visible_alias("by"),
        ("bench", "model") => key.default_value(BENCH_MODEL),
        ("bench", "noise") => key.default_value(BENCH_NOISE.name()),
        ("plan", "model") => key.default_value(Resettable::Reset).required(true),
        _ => key,
    }
}

/// The data set that is named on the command line, not that of the configuration's default.
///
/// # Errors
/// [`TrainError::Data`] for a name of none.
pub(super) fn named_data(context: &Context, config: &RunConfig) -> Result<Option<DataSource>, TrainError> {
    Ok(context.options.gives("data").then(|| config.data.parse()).transpose()?)
}

/// The samples of a batch, for a command that has no run to find the largest batch for.
///
/// # Errors
/// [`CliError::Usage`] for `auto`.
pub(super) fn expect_batch(config: &RunConfig, command: &str) -> Result<usize, CliError> {
    if config.batch == AUTO_BATCH {
        let advice = "`jostle train --batch auto` says the largest that fits";
        return Err(CliError::Usage(format!("batch: found auto, {command} expects a number of samples; {advice}")));
    }
    Ok(config.batch)
}
