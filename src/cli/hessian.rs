//! `jostle hessian`

use std::path::PathBuf;

use jostle::{
    analysis::{GroupTrace, Ritz, TraceEstimate, TraceOptions},
    experiments::spectrum_figure,
    nn::WeightsFormat,
    report::Table,
    train::{CurvatureOptions, CurvatureReport, Network, Prepared, RunConfig},
};
use serde::Serialize;

use super::{
    CliError, Context, Exit,
    output::{error_text, run_folder, trace_text, write_text},
};

/// Options of `jostle hessian`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run's configuration (config.toml in its folder)
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The weights to measure at
    #[arg(long, value_name = "FILE.safetensors")]
    weights: PathBuf,
    /// Whose names and layouts they have: jostle, nanogpt, huggingface or timm
    #[arg(long, value_name = "FORMAT", default_value_t = WeightsFormat::Jostle)]
    weights_format: WeightsFormat,
    /// Take the loss over the test data instead of the training data
    #[arg(long)]
    test_data: bool,
    /// Most probes for each trace
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    probes: u32,
    /// Seed of the probes and of the Lanczos starts, which are independent of a run's noise whatever its seed
    #[arg(long, value_name = "SEED", default_value_t = TraceOptions::default().seed)]
    probe_seed: u64,
    /// Stop probing once the standard error is below this share of the trace
    #[arg(long, default_value_t = 0.02)]
    tolerance: f64,
    /// Eigenvalues to list, the largest in size
    #[arg(long, default_value_t = 5)]
    top: usize,
    /// Lanczos steps for the eigenvalues and the density, each a product over all samples; 0 for neither
    #[arg(long, default_value_t = 40)]
    lanczos_steps: usize,
    /// Random starts over which the density is averaged
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..))]
    starts: u32,
    /// Folder for hessian.json and the density as hessian.png and .svg
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Output<'a> {
    data: &'a str,
    #[serde(flatten)]
    found: CurvatureReport,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &context.options)?;
    let prepared = Prepared::load(&config)?;
    let gpu = context.gpu()?;
    let network = Network::new(&gpu, &config, &prepared)?;
    network.load_as(&args.weights, args.weights_format)?;
    let data = if args.test_data { prepared.split.test } else { prepared.split.train };
    let options = CurvatureOptions {
        probes: args.probes,
        seed: args.probe_seed,
        tolerance: args.tolerance,
        lanczos_steps: args.lanczos_steps,
        starts: args.starts,
        top: args.top,
    };
    let output = Output { data: &config.data, found: network.curvature(data, options)? };
    if let Some(out) = &args.out {
        let out = run_folder(out, "hessian.json", true)?;
        write_text(&out.join("hessian.json"), &serde_json::to_string_pretty(&output)?)?;
        if let Some(spectrum) = &output.found.spectrum {
            spectrum_figure(&config.model, spectrum).save(&out.join("hessian"))?;
        }
    }
    context.print(&output, &text(output.data, &output.found))?;
    Ok(Exit::Done)
}

fn text(data: &str, output: &CurvatureReport) -> String {
    let trace = |estimate: &TraceEstimate| trace_text([estimate.trace, estimate.standard_error], 3);
    let share = |group: &GroupTrace| trace_text([group.trace, group.standard_error], 3);
    let mut rows = vec![vec!["all".to_owned(), trace(&output.hessian), trace(&output.gauss_newton)]];
    rows.extend(
        output.groups.iter().map(|group| vec![group.name.clone(), share(&group.hessian), share(&group.gauss_newton)]),
    );
    let title = format!(
        "Traces over {} samples of {} (the Hessian's by {}, the Gauss-Newton part's by {})",
        output.samples,
        data,
        error_text(&output.hessian),
        error_text(&output.gauss_newton)
    );
    let mut text = Table::new(&title, &["group", "Hessian", "Gauss-Newton"], rows).to_text();
    if !output.eigenvalues.is_empty() {
        let row = |ritz: &Ritz| vec![format!("{:.4}", ritz.value), format!("{:.1e}", ritz.residual)];
        let rows = output.eigenvalues.iter().map(row).collect();
        text.push('\n');
        text.push_str(&Table::new("Largest eigenvalues of the Hessian", &["value", "residual"], rows).to_text());
    }
    text
}
