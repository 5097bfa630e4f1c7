//! `jostle experiment`

use std::{path::PathBuf, time::Instant};

use jostle::{
    experiments::{Choices, Definition, Provenance, Surroundings, Verdict, run as run_experiment},
    report::Table,
};
use serde_json::json;

use super::{
    CliError, Context, Exit,
    output::{progress, run_folder},
};

/// Options of `jostle experiment`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Name of the experiment
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// List the experiments with their running times on two cores without a GPU
    #[arg(long)]
    list: bool,
    /// The size, of those that --list names [the first of them]
    #[arg(long, value_name = "NAME")]
    scale: Option<String>,
    /// The largest size: scale full where there is one, else the last
    #[arg(long, conflicts_with = "scale")]
    full: bool,
    /// Data of the experiments that train on a data set, as `jostle train --data` takes them
    #[arg(long, value_name = "DATA")]
    data: Option<String>,
    /// Another setting than the declared one, such as arms.steps=1000; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Your own problem: X and y (l1), and groups (group-l1), or Y, or A and y (nuclear)
    #[arg(long, value_name = "FILE.safetensors")]
    problem: Option<PathBuf>,
    /// A network of yours for smoothed-loss: the folder that `jostle train --out` wrote
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// Folder for report, figures, metrics and verdict; runs/NAME where not given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Write into a folder that holds an experiment already
    #[arg(long)]
    overwrite: bool,
}

/// Positions of the progress bar.
const TICKS: u64 = 1000;

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let Some(name) = args.name.as_ref().filter(|_| !args.list) else { return list(context) };
    let definition = Definition::find(name)?;
    let out = args.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(name));
    let out = run_folder(&out, "verdict.json", args.overwrite)?;
    let gpu = context.gpu()?;
    let started = Instant::now();
    let bar = progress(TICKS);
    let data = args.data.as_ref().map(|data| format!("train.data={data:?}"));
    let scale = if args.full { definition.largest().map(str::to_owned) } else { args.scale.clone() };
    let choices = Choices { scale, overrides: data.into_iter().chain(args.set.clone()).collect() };
    let mut report_progress = |share: f64, what: &str| {
        bar.set_position((share * TICKS as f64) as u64);
        bar.set_message(what.to_owned());
        Ok(())
    };
    let mut around = Surroundings {
        gpu: &gpu,
        problem: args.problem.clone(),
        run: args.run.clone(),
        out: out.clone(),
        progress: &mut report_progress,
    };
    let outcome = run_experiment(&definition, &choices, &mut around)?;
    bar.finish_and_clear();
    let by = Provenance {
        adapter: format!("{}, {}", gpu.adapter_name(), gpu.driver()),
        command: command(args),
        seconds: started.elapsed().as_secs_f64(),
    };
    outcome.write(&out, &definition, &by)?;
    let notes: String = outcome.notes.iter().map(|note| format!("{note}\n")).collect();
    let text = format!(
        "{}\n{notes}\n{}\n{}\n{:.0} s; report.html, report.md, verdict.json and figures in {}",
        outcome.claims_table().to_text(),
        definition.title,
        outcome.summary(),
        by.seconds,
        out.display()
    );
    let summary = json!({ "experiment": name, "verdict": outcome.verdict(), "claims": outcome.claims, "out": out });
    context.print(&summary, &text)?;
    Ok(match outcome.verdict() {
        Verdict::Holds => Exit::Done,
        Verdict::Fails => Exit::Refuted,
        Verdict::Inconclusive | Verdict::DoesNotApply => Exit::Undecided,
    })
}

/// The command as typed, but for the choice of the adapter and of the folder.
fn command(args: &Args) -> String {
    let mut command = format!("jostle experiment {}", args.name.as_deref().unwrap_or_default());
    for (option, value) in [("scale", &args.scale), ("data", &args.data)] {
        if let Some(value) = value {
            command.push_str(&format!(" --{option} {value}"));
        }
    }
    if args.full {
        command.push_str(" --full");
    }
    for set in &args.set {
        command.push_str(&format!(" --set '{set}'"));
    }
    if let Some(problem) = &args.problem {
        command.push_str(&format!(" --problem {}", problem.display()));
    }
    if let Some(run) = &args.run {
        command.push_str(&format!(" --run {}", run.display()));
    }
    command
}

fn list(context: &Context) -> Result<Exit, CliError> {
    let all = Definition::all()?;
    let scales = |definition: &Definition| -> Vec<String> {
        definition.scales.iter().map(|scale| format!("{}: {}", scale.name, scale.time)).collect()
    };
    let row = |definition: &Definition| {
        vec![definition.name.clone(), definition.title.clone(), scales(definition).join("; ")]
    };
    let table = Table::new("", &["name", "what it shows", "scales and times"], all.iter().map(row).collect());
    let value: Vec<_> = all
        .iter()
        .map(|definition| json!({ "name": definition.name, "title": definition.title, "claim": definition.claim, "scales": scales(definition) }))
        .collect();
    context.print(&value, &table.to_text())?;
    Ok(Exit::Done)
}
