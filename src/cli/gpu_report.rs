//! `jostle gpu-report`: what `scripts/gpu.sh` calls after every piece of its work.

use std::path::PathBuf;

use jostle::gpu_report::Report;

use super::{CliError, Context, Exit};

/// Options of `jostle gpu-report`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of the ledger and the outputs that it names
    #[arg(long, value_name = "DIR")]
    from: PathBuf,
    /// Folder for RESULTS.md and results.json
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Write the files, print nothing, and succeed whatever they say
    #[arg(long)]
    quiet: bool,
    /// Fail where a stage but PyTorch's was not done in full
    #[arg(long)]
    require_all: bool,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let report = Report::read(&args.from).map_err(|source| CliError::Io { path: args.from.clone(), source })?;
    report.write(&args.out).map_err(|source| CliError::Io { path: args.out.clone(), source })?;
    if args.quiet {
        return Ok(Exit::Done);
    }
    context.print(&report, &report.to_text())?;
    Ok(match () {
        () if !report.correct() => Exit::Incorrect,
        () if args.require_all && !report.complete() => Exit::Incomplete,
        () => Exit::Done,
    })
}
