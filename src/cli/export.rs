//! `jostle export`

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
};

use jostle::{
    nn::{WeightsFormat, read_tensors, write_tensors},
    train::{EPOCH_COLUMNS, MetricsFile, STEP_COLUMNS, csv},
};
use serde_json::json;

use super::{
    CliError, Context, Exit,
    output::{create_folder, write_text},
};

/// Rows of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Kind {
    /// Logged steps.
    Steps,
    /// Evaluations.
    Epochs,
}

/// Options of `jostle export`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run: the folder that `jostle train` wrote, or a file of metrics such as `jostle compare` writes for each run
    #[arg(value_name = "RUN")]
    run: PathBuf,
    /// As CSV: steps.csv and epochs.csv, a column each for what docs/metrics.md explains
    #[arg(long, required_unless_present = "weights")]
    csv: bool,
    /// The run's final weights as a file of --weights-format; RUN may be a file of weights, too
    #[arg(long, value_name = "FILE.safetensors", conflicts_with_all = ["csv", "stdout"])]
    weights: Option<PathBuf>,
    /// Whose names and layouts the file gets: jostle, nanogpt, huggingface or timm
    #[arg(long, value_name = "FORMAT", default_value_t = WeightsFormat::Jostle, requires = "weights")]
    weights_format: WeightsFormat,
    /// Folder for the files; the run's where not given
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print one of the two on stdout and write no file
    #[arg(long, value_name = "WHICH", conflicts_with = "out")]
    stdout: Option<Kind>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    if args.stdout.is_some() && context.json {
        return Err(CliError::Usage("--stdout: expected this or --json, found both".to_owned()));
    }
    if let Some(file) = &args.weights {
        return weights(context, args, file);
    }
    let (metrics, prefix) = metrics(&args.run);
    let (steps, epochs, whole) = MetricsFile::read_so_far(&metrics)?;
    if !whole {
        eprintln!("{}: the last line is not whole yet and left out", metrics.display());
    }
    let texts = || [csv(&STEP_COLUMNS, &steps), csv(&EPOCH_COLUMNS, &epochs)];
    if let Some(kind) = args.stdout {
        let [steps, epochs] = texts();
        context.print(&(), if kind == Kind::Steps { &steps } else { &epochs })?;
        return Ok(Exit::Done);
    }
    let out = match &args.out {
        Some(out) => create_folder(out)?,
        None => metrics.parent().unwrap_or(Path::new("")).to_owned(),
    };
    let paths = ["steps", "epochs"].map(|name| out.join(format!("{prefix}{name}.csv")));
    paths.iter().zip(texts()).try_for_each(|(path, text)| write_text(path, &text))?;
    let files = [("steps", steps.len()), ("epochs", epochs.len())];
    let files =
        files.iter().zip(&paths).map(|((kind, rows), path)| json!({ "kind": kind, "rows": rows, "path": path }));
    let text = format!(
        "{} steps written to {}\n{} evaluations written to {}",
        steps.len(),
        paths[0].display(),
        epochs.len(),
        paths[1].display()
    );
    context.print(&json!({ "metrics": metrics, "files": files.collect::<Vec<_>>() }), &text)?;
    Ok(Exit::Done)
}

/// Writes the weights of a run, or of a file, for another program.
fn weights(context: &Context, args: &Args, file: &Path) -> Result<Exit, CliError> {
    let source = if args.run.is_file() { args.run.clone() } else { args.run.join("weights.safetensors") };
    let tensors = args.weights_format.written(read_tensors(&source)?);
    // What PyTorch's readers ask for.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    write_tensors(file, &tensors, metadata)?;
    let text = format!("{} tensors of {} written to {}", tensors.len(), source.display(), file.display());
    let format = args.weights_format;
    context.print(&json!({ "weights": source, "format": format, "tensors": tensors.len(), "path": file }), &text)?;
    Ok(Exit::Done)
}

/// The metrics of a run, and what the names of its files begin with: those of several runs may lie in one folder.
fn metrics(run: &Path) -> (PathBuf, String) {
    if run.is_file() {
        let name = run.file_stem().unwrap_or_default().to_string_lossy();
        let prefix = if name == "metrics" { String::new() } else { format!("{name}-") };
        return (run.to_owned(), prefix);
    }
    (run.join("metrics.jsonl"), String::new())
}
