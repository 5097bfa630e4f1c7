//! `jostle train`

use std::{
    path::{Path, PathBuf},
    sync::atomic::Ordering,
};

use jostle::{
    analysis::{TraceEstimate, TraceOptions},
    experiments::write_curves,
    gpu::{KernelTime, Profile},
    report::Table,
    train::{
        Best, Control, EpochRecord, Event, Message, Prepared, RunConfig, RunResult, Scores, Status, Supervisor,
        SupervisorOptions, TrainError, Trainer,
    },
};
use serde_json::json;

use super::{
    CliError, Context, Exit,
    output::{error_text, interrupt_flag, progress, run_folder, trace_text},
};

/// Options of `jostle train`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A TOML file with the same keys; options given here override it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Folder for config.toml, metrics.jsonl, weights.safetensors, curves.png/.svg, checkpoints and TensorBoard's events
    #[arg(long, value_name = "DIR", default_value = "runs/train")]
    out: PathBuf,
    /// Write into a folder that holds a run already
    #[arg(long)]
    overwrite: bool,
    /// Resume the run in this folder from its last checkpoint, as if it had never stopped
    #[arg(long, value_name = "DIR", conflicts_with_all = ["config", "out", "overwrite"])]
    resume: Option<PathBuf>,
    /// Resume though options, model or data are others than the checkpoint's; says what it ignores
    #[arg(long, requires = "resume")]
    force: bool,
    #[command(flatten)]
    supervisor: SupervisorOptions,
    /// Time every kernel (slows the run) and print a table
    #[arg(long)]
    profile: bool,
    /// Estimate the Hessian trace at the end with this many probes
    #[arg(long, value_name = "PROBES")]
    hessian: Option<u32>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let (mut supervisor, out) = supervisor(context, args)?;
    let interrupt = interrupt_flag();
    let bar = progress(0);
    let open = || Ok(context.gpu()?);
    let mut observe = |message: Message<'_>| {
        match message {
            Message::Notice(text) => bar.suspend(|| eprintln!("{text}")),
            Message::Event(Event::Step(_)) => {}
            Message::Event(Event::Progress { step, total }) => {
                bar.set_length(total);
                bar.set_position(step);
            }
            Message::Event(Event::Epoch(record)) => bar.suspend(|| eprintln!("{}", epoch_line(&record))),
        }
        Ok(if interrupt.load(Ordering::SeqCst) { Control::Stop } else { Control::Continue })
    };
    let mut finish = |trainer: &Trainer<'_>, result: &RunResult, profile: Option<Profile>| {
        finish(trainer, result, profile, (args, &out))
    };
    let config = supervisor.config();
    let data = supervisor.prepared().training_data();
    eprintln!("{} on {data}: {} noise", config.model, config.noise);
    let (result, done) = supervisor.run(&open, args.profile, &mut observe, &mut finish)?;
    bar.finish_and_clear();
    let epochs = write_curves(&supervisor, &out)?;
    let config = supervisor.config();
    let mut text = format!("trained on {data}\n{}\n{}", scores_text(epochs.last()), best_text(result.best));
    if let Some(trace) = &done.trace {
        text.push_str(&format!(
            "\nHessian trace {} ({})",
            trace_text([trace.trace, trace.standard_error], 2),
            error_text(trace)
        ));
    }
    if let Some(times) = &done.times {
        text.push_str(&format!("\n\n{}", kernel_times(times)));
    }
    text.push_str(&format!("\nwritten to {}", out.display()));
    let exit = match result.status {
        Status::Finished => Exit::Done,
        Status::Interrupted => Exit::Interrupted,
        Status::Diverged { .. } => Exit::Diverged,
    };
    if exit != Exit::Done {
        let onwards = match supervisor.newest_step() {
            Some(step) => format!("`jostle train --resume {}` resumes after step {step}", out.display()),
            None => "there is no checkpoint to resume from".to_owned(),
        };
        eprintln!("{}; what was reached is saved, {onwards}", done.status);
    }
    let output = json!({
        "status": done.status, "out": out, "config": config, "data": data,
        "label_noise": supervisor.prepared().label_noise, "adapter": done.adapter, "final": epochs.last(),
        "best": result.best, "stopped_early": result.stopped_early, "hessian_trace": done.trace, "kernels": done.times,
    });
    context.print(&output, &text)?;
    Ok(exit)
}

/// The run of the command line, begun or gone on with, and its folder.
fn supervisor(context: &Context, args: &Args) -> Result<(Supervisor, PathBuf), CliError> {
    if let Some(run) = &args.resume {
        let mut notify = |text: &str| eprintln!("{text}");
        let supervisor = Supervisor::resume(run, &context.options, args.supervisor, args.force, &mut notify)?;
        return Ok((supervisor, run.clone()));
    }
    let config = RunConfig::resolve(args.config.as_deref(), &context.options)?;
    // Before there is a folder: what data and model refuse leaves none behind.
    let prepared = Prepared::load(&config)?;
    let out = run_folder(&args.out, "metrics.jsonl", args.overwrite)?;
    Ok((Supervisor::with_prepared(&out, config, prepared, args.supervisor)?, out))
}

/// What is taken from the trained network before it goes.
struct Done {
    adapter: String,
    status: String,
    trace: Option<TraceEstimate>,
    times: Option<Vec<KernelTime>>,
}

fn finish(
    trainer: &Trainer<'_>,
    result: &RunResult,
    profile: Option<Profile>,
    (args, out): (&Args, &Path),
) -> Result<Done, TrainError> {
    let gpu = trainer.gpu();
    trainer.save_weights(out)?;
    let options = |probes| TraceOptions { probes, ..TraceOptions::default() };
    let trace = args
        .hessian
        .filter(|probes| *probes > 0)
        .map(|probes| trainer.hessian_trace(None, options(probes)))
        .transpose()?;
    Ok(Done {
        adapter: gpu.adapter_name().to_owned(),
        status: result.sentence(trainer),
        trace,
        times: profile.map(|profile| profile.times()),
    })
}

/// What was scored, one after the other.
fn scores_line(scores: &Scores) -> String {
    let parts = [
        ("train loss", scores.train_loss),
        ("validation loss", scores.validation_loss),
        ("validation accuracy", scores.validation_accuracy),
        ("test loss", scores.test_loss),
        ("test accuracy", scores.test_accuracy),
    ];
    let shown = parts.into_iter().filter_map(|(name, value)| Some(format!("{name} {:.4}", value?)));
    shown.collect::<Vec<_>>().join("  ")
}

fn epoch_line(record: &EpochRecord) -> String {
    let EpochRecord { epoch, step, scores, samples_per_second, .. } = record;
    format!("epoch {epoch:>3}  step {step:>6}  {}  {samples_per_second:.0} samples/s", scores_line(scores))
}

fn scores_text(last: Option<&EpochRecord>) -> String {
    let Some(last) = last else { return "no step was taken".to_owned() };
    let mut text = scores_line(&last.scores);
    if let Some(quality) = last.quality {
        text.push_str(&format!("\ntest predictions: {}", quality.text()));
    }
    for (name, scores) in [("noisy weights", last.noisy), ("average of weights", last.average)] {
        if let Some(scores) = scores {
            text.push_str(&format!("\n{name}: {}", scores_line(&scores)));
        }
    }
    text
}

/// Which checkpoint is the best, and by what.
fn best_text(best: Option<Best>) -> String {
    match best {
        Some(Best { step, validation_loss, .. }) => {
            format!(
                "best checkpoint: that of step {step}, by its validation loss {validation_loss:.4}; scores above are of the last step"
            )
        }
        None => "best checkpoint: the last, as there is no validation loss to choose by (--validation)".to_owned(),
    }
}

/// The profile as a table.
pub(super) fn kernel_times(times: &[KernelTime]) -> String {
    let total: f64 = times.iter().map(|time| time.total_ms).sum();
    let rows = times
        .iter()
        .map(|time| {
            vec![
                time.kernel.clone(),
                time.count.to_string(),
                format!("{:.3}", time.total_ms / time.count as f64),
                format!("{:.1}", time.total_ms),
                format!("{:.1}", 100.0 * time.total_ms / total.max(f64::MIN_POSITIVE)),
            ]
        })
        .collect();
    Table::new("Time per kernel", &["kernel", "dispatches", "ms each", "ms", "%"], rows).to_text()
}
