//! `jostle hessian`

use std::path::PathBuf;

use jostle::{
    analysis::{
        Curvature, Ritz, Spectrum, SpectrumOptions, Subject, TraceEstimate, TraceOptions, hessian_trace, spectrum,
    },
    kernels::Arena,
    nn,
    noise::Scheme,
    report::{AxisScale, Figure, Panel, Series, Table},
    train::{DeviceData, Prepared, RunConfig},
};
use serde::Serialize;

use super::{
    CliError, Context, Exit,
    output::{error_text, run_folder, trace_text, write_text},
};

/// Density below which the figure draws nothing.
const LEAST_DENSITY: f64 = 1e-8;

/// Options of `jostle hessian`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The run's configuration (config.toml in its folder)
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// The weights to measure at
    #[arg(long, value_name = "FILE.safetensors")]
    weights: PathBuf,
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
    samples: usize,
    probe_seed: u64,
    tensors: Vec<&'a str>,
    /// Tensors of each group of the noise.
    groups: Vec<Vec<usize>>,
    hessian: TraceEstimate,
    gauss_newton: TraceEstimate,
    eigenvalues: Vec<Ritz>,
    spectrum: Option<Spectrum>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &context.options)?;
    let prepared = Prepared::load(&config)?;
    let normalisation = config.normalise.moments(&prepared.split.train)?;
    let gpu = context.gpu()?;
    let model = &prepared.model;
    let layout = model.graph.layout();
    let arena = Arena::new(&gpu, layout.clone(), &vec![0.0; layout.spans().len()])?;
    nn::load(&gpu, model, &arena, &args.weights)?;
    let data = if args.test_data { prepared.split.test } else { prepared.split.train };
    let samples = data.len();
    let data = DeviceData::new(&gpu, data, samples.min(512), &normalisation)?;
    let subject = Subject {
        model,
        arena: &arena,
        loss: config.loss.into(),
        label_smoothing: config.label_smoothing as f32,
        data: &data,
    };
    let seed = args.probe_seed;
    let trace = |curvature| {
        let options = TraceOptions { probes: args.probes, tolerance: args.tolerance, seed, curvature };
        hessian_trace(&gpu, &subject, options)
    };
    let (hessian, gauss_newton) = (trace(Curvature::Hessian)?, trace(Curvature::GaussNewton)?);
    let options =
        SpectrumOptions { steps: args.lanczos_steps, starts: args.starts, seed, curvature: Curvature::Hessian };
    let spectrum = (args.lanczos_steps > 0).then(|| spectrum(&gpu, &subject, options)).transpose()?;
    let eigenvalues = spectrum.as_ref().map(|spectrum| spectrum.largest(args.top)).unwrap_or_default();
    let tensors = model.graph.params().iter().map(|param| param.name.as_str()).collect();
    let scheme = Scheme::new(config.noise_config(), &layout, &model.noise_tensors(), config.seed);
    let groups = scheme.groups().to_vec();
    let output = Output {
        data: &config.data,
        samples,
        probe_seed: seed,
        tensors,
        groups,
        hessian,
        gauss_newton,
        eigenvalues,
        spectrum,
    };
    if let Some(out) = &args.out {
        let out = run_folder(out, "hessian.json", true)?;
        write_text(&out.join("hessian.json"), &serde_json::to_string_pretty(&output)?)?;
        if let Some(spectrum) = &output.spectrum {
            figure(&config.model, spectrum).save(&out.join("hessian"))?;
        }
    }
    context.print(&output, &text(&output))?;
    Ok(Exit::Done)
}

fn text(output: &Output<'_>) -> String {
    let trace = |estimate: &TraceEstimate| trace_text(estimate, 3);
    let mut rows = vec![vec!["all".to_owned(), trace(&output.hessian), trace(&output.gauss_newton)]];
    for group in &output.groups {
        let share = |estimate: &TraceEstimate| {
            format!("{:.3}", group.iter().filter_map(|tensor| estimate.tensors.get(*tensor)).sum::<f64>())
        };
        let names: Vec<&str> = group.iter().filter_map(|tensor| output.tensors.get(*tensor).copied()).collect();
        rows.push(vec![names.join(" + "), share(&output.hessian), share(&output.gauss_newton)]);
    }
    let title = format!(
        "Traces over {} samples of {} (the Hessian's by {}, the Gauss-Newton part's by {})",
        output.samples,
        output.data,
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

fn figure(model: &str, spectrum: &Spectrum) -> Figure {
    // Where there is nothing the line breaks: a logarithmic axis has no place for it.
    let place = |(x, density)| (x, if density > LEAST_DENSITY { density } else { f64::NAN });
    let density = spectrum.density(400).into_iter().map(place);
    Figure {
        title: format!("Spectrum of the Hessian: {model}"),
        caption:
            "Density of the eigenvalues by stochastic Lanczos quadrature, each value widened by a hundredth of the \
                  extent; it integrates to 1."
                .to_owned(),
        panels: vec![Panel {
            title: "Density of eigenvalues".to_owned(),
            x_label: "eigenvalue".to_owned(),
            y_label: "density".to_owned(),
            y_scale: AxisScale::Log,
            series: vec![Series::line("Hessian", density)],
            ..Panel::default()
        }],
    }
}
