//! The command line: one file per subcommand, thin.

mod adapters;
mod bench;
mod compare;
mod context;
mod error;
mod eval;
mod experiment;
mod export;
mod generate;
mod gpu_report;
mod hessian;
mod hessian_bench;
mod keys;
mod noise;
mod output;
mod plan;
mod posterior;
mod replay;
mod roofline;
mod rule_bench;
mod train;
mod variants;

use std::{ffi::OsString, time::Instant};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use jostle::{gpu::AdapterChoice, train::Options};

pub use error::{CliError, Exit};

use context::Context;

/// Trains neural networks on any GPU, with noise injected into the weights, layer by layer, before every gradient.
#[derive(Debug, Parser)]
#[command(
    name = "jostle",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage or configuration, \
    3 no usable adapter, 4 the loss diverged, 5 a claim of an experiment does not hold, 130 interrupted (what was reached is saved)."
)]
pub struct Cli {
    /// Adapter: an index of `jostle adapters`, a part of a name, or `software`
    #[arg(long, global = true, env = jostle::gpu::ADAPTER_VARIABLE, default_value = "best")]
    adapter: AdapterChoice,
    /// Print one JSON object on stdout for programs; human-readable text goes to stderr
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
    /// What is given of a run's configuration.
    #[arg(skip)]
    options: Options,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List adapters with their limits and the features that Jostle uses
    Adapters,
    /// Show a training step's dispatches and the bytes of every arena, before anything is allocated
    Plan(plan::Args),
    /// Train a network
    Train(train::Args),
    /// Train arms (noise modes x sigmas x learning rates, or rules) over seeds and compare them
    Compare(compare::Args),
    /// Score weights on a data set
    Eval(eval::Args),
    /// Write a text by the model of a run
    Generate(generate::Args),
    /// Write a run's metrics for other programs
    Export(export::Args),
    /// Measure the curvature of the loss at weights: traces, largest eigenvalues, spectral density
    Hessian(hessian::Args),
    /// Run one of the paper's experiments and check its claims against measurements
    Experiment(experiment::Args),
    /// Write the noise that training adds at a step
    Noise(noise::Args),
    /// Repeat a run by rule mezo from its slopes alone: one number a step
    Replay(replay::Args),
    /// Measure a step, the cost of noise or of a rule, a matrix product, or every kernel against the adapter's ceilings
    Bench(bench::Args),
    /// Make the report of scripts/gpu.sh
    #[command(hide = true)]
    GpuReport(gpu_report::Args),
}

impl Cli {
    /// The commands with all of their options.
    fn complete() -> clap::Command {
        keys::COMMANDS
            .iter()
            .fold(Self::command(), |all, name| all.mut_subcommand(name, |command| command.args(keys::options(name))))
    }

    /// Reads the words of a command line, the program's name first; ends the process where they ask for help or make no sense,
    /// as clap does.
    #[must_use]
    pub fn read(words: impl IntoIterator<Item = OsString>) -> Self {
        let mut command = Self::complete();
        let matches = command.try_get_matches_from_mut(words).unwrap_or_else(|error| error.exit());
        let read = Self::from_arg_matches(&matches).and_then(|cli| match matches.subcommand() {
            Some((name, given)) => Ok(Self { options: Options::given(given, &keys::options(name))?, ..cli }),
            None => Ok(cli),
        });
        read.unwrap_or_else(|error| error.format(&mut command).exit())
    }
}

/// The program: runs a command line, says what went wrong, and gives the exit code.
pub fn main(words: impl IntoIterator<Item = OsString>) -> u8 {
    // Where the program is a part of another, that may have a logger already.
    let _ = env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("error")).try_init();
    match run(Cli::read(words)) {
        Ok(exit) => exit.code(),
        Err(error) => {
            eprintln!("error: {error}");
            error.exit()
        }
    }
}

/// Runs a parsed command line.
///
/// # Errors
/// Whatever the subcommand meets; [`CliError::exit`] gives its code.
pub fn run(cli: Cli) -> Result<Exit, CliError> {
    let context = Context { adapter: cli.adapter, json: cli.json, options: cli.options, started: Instant::now() };
    match cli.command {
        Command::Adapters => adapters::run(&context),
        Command::Plan(args) => plan::run(&context, &args),
        Command::Train(args) => train::run(&context, &args),
        Command::Compare(args) => compare::run(&context, &args),
        Command::Eval(args) => eval::run(&context, &args),
        Command::Generate(args) => generate::run(&context, &args),
        Command::Export(args) => export::run(&context, &args),
        Command::Hessian(args) => hessian::run(&context, &args),
        Command::Experiment(args) => experiment::run(&context, &args),
        Command::Noise(args) => noise::run(&context, &args),
        Command::Replay(args) => replay::run(&context, &args),
        Command::Bench(args) => bench::run(&context, &args),
        Command::GpuReport(args) => gpu_report::run(&context, &args),
    }
}
