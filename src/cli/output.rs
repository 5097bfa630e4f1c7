//! What subcommands share in talking to people and programs: JSON, progress, Ctrl-C, a run's folder.

use std::{
    fs,
    io::{IsTerminal, Write},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use jostle::analysis::TraceEstimate;
use serde::Serialize;

use super::{CliError, Context};

impl Context {
    /// Prints `value` as one JSON object on stdout if asked for, else `text` to stdout.
    pub(super) fn print(&self, value: &impl Serialize, text: &str) -> Result<(), CliError> {
        let line = if self.json { serde_json::to_string(value)? } else { text.trim_end().to_owned() };
        let mut out = std::io::stdout().lock();
        // A reader that has gone away (`jostle ... | head`) is no failure.
        let _ = writeln!(out, "{line}");
        Ok(())
    }
}

/// A bar over `total` steps on a terminal; silent elsewhere.
pub(super) fn progress(total: u64) -> ProgressBar {
    let target = if std::io::stderr().is_terminal() {
        ProgressDrawTarget::stderr_with_hz(5)
    } else {
        ProgressDrawTarget::hidden()
    };
    let bar = ProgressBar::with_draw_target(Some(total), target);
    if let Ok(style) = ProgressStyle::with_template("{msg} {wide_bar} {pos}/{len} {elapsed}<{eta}") {
        bar.set_style(style);
    }
    bar
}

/// A flag that the first Ctrl-C or SIGTERM raises; a second one ends the process at once.
pub(super) fn interrupt_flag() -> Arc<AtomicBool> {
    let flag = Arc::new(AtomicBool::new(false));
    let raised = Arc::clone(&flag);
    let installed = ctrlc::set_handler(move || {
        if raised.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        eprintln!("\nstopping after this step; once more ends at once");
    });
    if let Err(error) = installed {
        log::warn!("Ctrl-C will not stop cleanly: {error}");
    }
    flag
}

/// Makes a run's folder; refuses one that holds a run (the `marker` file) unless it may be overwritten.
pub(super) fn run_folder(path: &Path, marker: &str, overwrite: bool) -> Result<PathBuf, CliError> {
    if !overwrite && path.join(marker).exists() {
        return Err(CliError::Occupied { path: path.to_owned() });
    }
    create_folder(path)
}

/// Makes a folder, if it is not there.
pub(super) fn create_folder(path: &Path) -> Result<PathBuf, CliError> {
    fs::create_dir_all(path).map_err(|source| CliError::Io { path: path.to_owned(), source })?;
    Ok(path.to_owned())
}

/// Writes a text file.
pub(super) fn write_text(path: &Path, text: &str) -> Result<(), CliError> {
    fs::write(path, text).map_err(|source| CliError::Io { path: path.to_owned(), source })
}

/// A trace with its standard error, where it has one.
pub(super) fn trace_text([trace, standard_error]: [f64; 2], decimals: usize) -> String {
    if !standard_error.is_finite() {
        return format!("{trace:.decimals$}");
    }
    format!("{trace:.decimals$} ± {standard_error:.decimals$}")
}

/// How many probes made a trace, and what is said of its error.
pub(super) fn error_text(estimate: &TraceEstimate) -> String {
    if !estimate.has_error() {
        return "one probe: no standard error".to_owned();
    }
    format!("{} probes, ± standard error", estimate.probes)
}

/// Bytes, human-readable.
pub(super) fn human_bytes(bytes: u64) -> String {
    let mut value = bytes as f64;
    let mut unit = "B";
    for next in ["KiB", "MiB", "GiB", "TiB"] {
        if value < 1024.0 {
            break;
        }
        value /= 1024.0;
        unit = next;
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{value:.1} {unit}") }
}
