//! `make isa`: every pipeline of a training step by the compiler of AMD's GPUs, without one.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    thread,
};

use clap::Parser;
use jostle_isa::{
    baseline::{Baseline, Judgement},
    family::{Answer, Driver, FAMILIES, Family, SKIPPED},
    pipelines::Selection,
    report::{Report, ReportError},
};
use serde_json::Value;

/// Compiles every pipeline that a training step takes on a GPU by Mesa's RADV, for GPUs that need not be here, and holds what
/// comes of it against what was committed for this version of Mesa.
///
/// Exit status: 0; 1 for a pipeline that does not compile and, where the version has a baseline, for one that spills or has
/// lost occupancy; 77 where something could not be compiled for.
#[derive(Debug, Parser)]
struct Args {
    /// The file by which the Vulkan loader finds RADV, instead of the installed one
    #[arg(long, value_name = "FILE")]
    driver: Option<PathBuf>,
    /// That of a newer RADV, for the kernels by cooperative matrices where the other has none
    #[arg(long, value_name = "FILE")]
    newer: Option<PathBuf>,
    /// Only these families
    #[arg(long, value_name = "NAME", value_parser = FAMILIES.map(|family| family.name))]
    family: Vec<String>,
    /// Write all numbers to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Another baseline than that of tests/isa for the driver's version
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
    /// Write the baseline anew
    #[arg(long)]
    update: bool,
    /// No tables: only what has changed
    #[arg(long)]
    brief: bool,
    /// Compile for the family of the environment and print a report: what the program calls itself with
    #[arg(long, value_name = "NAME", hide = true)]
    inside: Option<String>,
    #[arg(long, hide = true)]
    only_cooperative: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ended = match &args.inside {
        Some(family) => inside(family, if args.only_cooperative { Selection::Cooperative } else { Selection::All }),
        None => outside(&args),
    };
    ended.unwrap_or_else(|words| {
        eprintln!("isa: {words}");
        ExitCode::FAILURE
    })
}

/// The process that has the driver.
fn inside(family: &str, selection: Selection) -> Result<ExitCode, String> {
    match Report::new(family, selection) {
        Ok(report) => {
            println!("{}", serde_json::to_string(&report).map_err(|error| error.to_string())?);
            Ok(ExitCode::SUCCESS)
        }
        Err(ReportError::Unavailable(reason)) => {
            eprintln!("{reason}");
            Ok(SKIPPED.into())
        }
        Err(error) => Err(error.to_string()),
    }
}

/// The process that has none.
fn outside(args: &Args) -> Result<ExitCode, String> {
    let Some(driver) = args.driver.clone().or_else(Driver::installed) else {
        println!("isa: skipped: RADV, Mesa's driver of AMD's GPUs, is not here (Debian: mesa-vulkan-drivers)");
        return Ok(SKIPPED.into());
    };
    let families: Vec<&Family> = FAMILIES.iter().filter(|family| asked_for(args, family)).collect();
    let reports = ask(&families, &driver, Selection::All)?;
    let (mut newer, mut absent) = (Vec::new(), reports.len() < families.len());
    if let Some(driver) = &args.newer {
        let has = |family: &Family| reports.iter().any(|report| report.family == family.name && report.cooperative);
        let lacking: Vec<&Family> =
            families.iter().copied().filter(|family| family.has_matrices && !has(family)).collect();
        newer = ask(&lacking, driver, Selection::Cooperative)?;
        absent |= newer.len() < lacking.len();
    }
    show(args, reports.iter().chain(&newer))?;
    let passed = judge(args, &reports)? & judge_newer(&newer);
    Ok(match passed {
        false => ExitCode::FAILURE,
        true if absent => SKIPPED.into(),
        true => ExitCode::SUCCESS,
    })
}

fn asked_for(args: &Args, family: &Family) -> bool {
    args.family.is_empty() || args.family.iter().any(|name| name == family.name)
}

/// The reports of all families that the driver has; of the others it is said why it has none.
fn ask(families: &[&Family], driver: &Path, selection: Selection) -> Result<Vec<Report>, String> {
    let driver = Driver::new(driver)?;
    let answers: Vec<Answer> = thread::scope(|scope| {
        let driver = &driver;
        let running: Vec<_> =
            families.iter().map(|family| scope.spawn(move || family.ask(driver, selection))).collect();
        let broken = |_| Answer::Broken("its thread broke down".to_owned());
        running.into_iter().map(|thread| thread.join().unwrap_or_else(broken)).collect()
    });
    let mut reports = Vec::new();
    for (family, answer) in families.iter().zip(answers) {
        match answer {
            Answer::Report(report) => reports.push(*report),
            Answer::Absent(reason) => println!("isa: {}: skipped: {reason}", family.name),
            Answer::Broken(words) => return Err(format!("{}: the compiler broke down: {words}", family.name)),
        }
    }
    Ok(reports)
}

fn show<'a>(args: &Args, reports: impl Iterator<Item = &'a Report> + Clone) -> Result<(), String> {
    if !args.brief {
        reports.clone().for_each(|report| println!("{}", report.table().to_text()));
    }
    if let Some(path) = &args.json {
        let all: Value = reports.clone().map(Report::to_json).collect();
        let text = serde_json::to_string_pretty(&all).map_err(|error| error.to_string())?;
        write(path, &(text + "\n"))?;
    }
    reports.for_each(|report| println!("isa: {}", report.summary()));
    Ok(())
}

/// Whether nothing is worse than in the baseline of the driver's version, which is written anew where that is asked for.
fn judge(args: &Args, reports: &[Report]) -> Result<bool, String> {
    let Some(mesa) = reports.first().map(Report::mesa) else { return Ok(true) };
    let path = args.baseline.clone().unwrap_or_else(|| Baseline::place(mesa));
    let baseline = Baseline::read(&path)?;
    let judgement = Judgement::new(baseline.as_ref(), reports);
    say(&judgement);
    if baseline.is_none() {
        println!("isa: Mesa {mesa} has no baseline: its numbers are only shown");
    }
    if args.update {
        let updated = baseline.unwrap_or_default().updated(mesa, reports);
        write(&path, &updated.text().map_err(|error| error.to_string())?)?;
        println!("isa: {} is written", path.display());
        return Ok(true);
    }
    if !judgement.failures.is_empty() {
        println!(
            "isa: where that is meant, write the baseline anew: make isa ISA_FLAGS=--update; a spill wants a reason in it"
        );
    }
    Ok(judgement.failures.is_empty())
}

/// A newer driver has no baseline: a pipeline that it refuses is all that fails.
fn judge_newer(reports: &[Report]) -> bool {
    let judgement = Judgement::new(None, reports);
    say(&judgement);
    judgement.failures.is_empty()
}

fn say(judgement: &Judgement) {
    judgement.notes.iter().for_each(|note| println!("isa: {note}"));
    judgement.failures.iter().for_each(|failure| println!("isa: FAILED: {failure}"));
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
}
