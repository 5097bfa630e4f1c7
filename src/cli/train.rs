//! `jostle train`

use std::{path::PathBuf, sync::atomic::Ordering};

use jostle::{
    analysis::TraceOptions,
    gpu::Profile,
    nn,
    report::Table,
    train::{Control, Event, MetricsFile, Options, Prepared, RunConfig, Scores, Status, Trainer, run as run_loop},
};
use serde_json::json;

use super::{
    CliError, Context, Exit, figure,
    output::{interrupt_flag, progress, run_folder, write_text},
};

/// Options of `jostle train`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    options: Options,
    /// A TOML file with the same keys; options given here override it
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Folder for config.toml, metrics.jsonl, weights.safetensors and curves.png/.svg
    #[arg(long, value_name = "DIR", default_value = "runs/train")]
    out: PathBuf,
    /// Write into a folder that holds a run already
    #[arg(long)]
    overwrite: bool,
    /// Time every kernel (slows the run) and print a table
    #[arg(long)]
    profile: bool,
    /// Estimate the Hessian trace at the end with this many probes
    #[arg(long, value_name = "PROBES")]
    hessian: Option<u32>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &args.options)?;
    let prepared = Prepared::load(&config)?;
    let out = run_folder(&args.out, "metrics.jsonl", args.overwrite)?;
    let resolved = toml::to_string(&config).map_err(|error| CliError::Usage(error.to_string()))?;
    write_text(&out.join("config.toml"), &resolved)?;
    let gpu = context.gpu()?;
    eprintln!("{} on {}: {} noise, adapter {}", config.model, config.data, config.noise, gpu.adapter_name());
    let mut trainer = Trainer::new(&gpu, &config, &prepared)?;
    let mut profile = args.profile.then(|| Profile::new(&gpu)).transpose()?;
    let mut metrics = MetricsFile::create(&out.join("metrics.jsonl"))?;
    let mut steps = Vec::new();
    let interrupt = interrupt_flag();
    let bar = progress(0);
    let result = run_loop(&mut trainer, &config, profile.as_mut(), &mut |event| {
        match event {
            Event::Progress { step, total } => {
                bar.set_length(total);
                bar.set_position(step);
            }
            Event::Step(record) => {
                metrics.step(&record)?;
                steps.push(record);
            }
            Event::Epoch(record) => {
                metrics.epoch(&record)?;
                let line = format!(
                    "epoch {:>3}  train loss {:.4}  test loss {:.4}  test accuracy {:.4}  {:.0} samples/s",
                    record.epoch, record.train_loss, record.test_loss, record.test_accuracy, record.samples_per_second
                );
                bar.suspend(|| eprintln!("{line}"));
            }
        }
        Ok(if interrupt.load(Ordering::SeqCst) { Control::Stop } else { Control::Continue })
    })?;
    bar.finish_and_clear();
    nn::save(&gpu, &trainer.model, &trainer.arena, &trainer.arena.weights, &out.join("weights.safetensors"))?;
    if let Some(average) = trainer.average() {
        nn::save(&gpu, &trainer.model, &trainer.arena, average, &out.join("weights-average.safetensors"))?;
    }
    let title = format!("{} on {}, noise {}", config.model, config.data, config.noise);
    figure::run(&title, &result.epochs, &steps).save(&out.join("curves"))?;
    let trace = match args.hessian {
        Some(probes) => Some(trainer.hessian_trace(None, TraceOptions { probes, ..TraceOptions::default() })?),
        None => None,
    };
    let times = profile.map(|profile| profile.times());
    let mut text = match result.epochs.last() {
        Some(last) => {
            let mut text = format!("test accuracy {:.4}, test loss {:.4}", last.test_accuracy, last.test_loss);
            for (name, scores) in [("noisy weights", last.noisy), ("average of weights", last.average)] {
                if let Some(Scores { test_accuracy, test_loss, .. }) = scores {
                    text.push_str(&format!("\n{name}: test accuracy {test_accuracy:.4}, test loss {test_loss:.4}"));
                }
            }
            text
        }
        None => "no step was taken".to_owned(),
    };
    if let Some(trace) = &trace {
        text.push_str(&format!("\nHessian trace {:.2} ± {:.2} (standard error)", trace.trace, trace.standard_error));
    }
    if let Some(times) = &times {
        text.push_str(&format!("\n\n{}", kernel_times(times)));
    }
    text.push_str(&format!("\nwritten to {}", out.display()));
    let (exit, status) = match result.status {
        Status::Finished => (Exit::Done, "finished".to_owned()),
        Status::Interrupted => (Exit::Interrupted, "interrupted".to_owned()),
        Status::Diverged { step } => (Exit::Diverged, format!("diverged at step {step}")),
    };
    if exit != Exit::Done {
        eprintln!("{status}; what was reached is saved");
    }
    let output = json!({
        "status": status, "out": out, "config": config, "adapter": gpu.adapter_name(),
        "final": result.epochs.last(), "hessian_trace": trace, "kernels": times,
    });
    context.print(&output, &text)?;
    Ok(exit)
}

/// The profile as a table.
pub(super) fn kernel_times(times: &[jostle::gpu::KernelTime]) -> String {
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
