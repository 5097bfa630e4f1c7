//! `jostle bench`

use std::path::PathBuf;

use jostle::{
    bench::{HessianBench, MatmulBench, RooflineBench, RuleBench, StepBench, StepReport, bench_matmul},
    gpu::Gpu,
    nn::Model,
    report::Table,
    train::{Precision, RunConfig, model_for},
};

use super::{
    CliError, Context, Exit, hessian_bench, keys,
    output::{run_folder, write_text},
    roofline,
    rule_bench::{self, Rules},
    train::kernel_times,
    variants::{self, Sides, Timing},
};

/// Options of `jostle bench`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Steps timed of each kind, in alternating rounds
    #[arg(long, default_value_t = 128)]
    timed_steps: u32,
    /// Rounds over which steps with and without noise alternate, or those of a rule and plain ones
    #[arg(long, default_value_t = 16)]
    rounds: u32,
    /// Seconds after which no further round begins, of each rule, once there are three
    #[arg(long, default_value_t = 60.0)]
    seconds: f64,
    /// Time a product in --precision instead of a step: a side, or m,n,k
    #[arg(long, value_name = "SIDES")]
    matmul: Option<Sides>,
    /// Time every variant of that product, or of every product of the model's step, and mark those that are chosen
    #[arg(long)]
    variants: bool,
    /// Time every kernel too
    #[arg(long)]
    profile: bool,
    /// Measure the adapter's ceilings, then every kernel of a step against them
    #[arg(long, conflicts_with_all = ["matmul", "variants", "profile"])]
    roofline: bool,
    /// Time products with the Hessian and its Gauss-Newton part beside a gradient of the same batch
    #[arg(long, conflicts_with_all = ["matmul", "variants", "roofline"])]
    hessian: bool,
    /// Time a step of each of these rules beside a plain one: names, or all; --rule R for one with its parameters
    #[arg(long, value_name = "A,B,C", conflicts_with_all = ["matmul", "variants", "roofline", "hessian"])]
    rules: Option<Rules>,
    /// Folder for roofline.json and the figure as roofline.png and .svg
    #[arg(long, value_name = "DIR", requires = "roofline")]
    out: Option<PathBuf>,
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let gpu = context.gpu()?;
    let timing =
        |config: &RunConfig| Timing { precision: config.precision, rounds: args.rounds, seconds: args.seconds };
    if let Some(rules) = &args.rules {
        return by_rules(context, &gpu, args, rules.configs(context)?);
    }
    if !config(context)?.rule.is_noise() {
        return rule(context, &gpu, args);
    }
    match args.matmul {
        Some(sides) if args.variants => variants::product(context, &gpu, sides, timing(&config(context)?)),
        Some(sides) => matmul(context, &gpu, sides, timing(&config(context)?)),
        None if args.variants => {
            let config = config(context)?;
            let model = step_model(context, &config)?;
            variants::model(context, &gpu, (&model, config.batch), timing(&config))
        }
        None if args.roofline => roofline(context, &gpu, args),
        None if args.hessian => hessian(context, &gpu, args),
        None => step(context, &gpu, args),
    }
}

/// The step of a rule beside a plain one.
fn rule(context: &Context, gpu: &Gpu, args: &Args) -> Result<Exit, CliError> {
    let others = [("matmul", args.matmul.is_some()), ("variants", args.variants)];
    let others = others.into_iter().chain([("roofline", args.roofline), ("hessian", args.hessian)]);
    if let Some((other, _)) = others.into_iter().find(|(_, asked)| *asked) {
        return Err(CliError::Usage(format!("rule: {other} measures none, expected noise")));
    }
    by_rules(context, gpu, args, vec![config(context)?])
}

fn by_rules(context: &Context, gpu: &Gpu, args: &Args, configs: Vec<RunConfig>) -> Result<Exit, CliError> {
    let model = configs.first().map(|config| step_model(context, config)).transpose()?;
    let model = model.ok_or_else(|| CliError::Usage("rules: found none".to_owned()))?;
    let Args { timed_steps: steps, rounds, seconds, profile, .. } = *args;
    let report = RuleBench { configs, model, steps, rounds, seconds, profile }.run(gpu)?;
    context.print(&report, &rule_bench::text(&report))?;
    Ok(Exit::Done)
}

fn matmul(context: &Context, gpu: &Gpu, sides: Sides, timing: Timing) -> Result<Exit, CliError> {
    let Timing { precision, rounds, .. } = timing;
    let report = bench_matmul(gpu, &MatmulBench { shape: sides.0, precision, rounds })?;
    let rows = report
        .layouts
        .iter()
        .map(|layout| {
            let ms = |value: f64| format!("{value:.2}");
            vec![
                layout.layout.clone(),
                layout.variant.clone(),
                ms(layout.median_ms),
                ms(layout.min_ms),
                format!("{:.1}", layout.gflops),
            ]
        })
        .collect();
    let title = format!("{sides}, {precision}, on {}", gpu.adapter_name());
    let table = Table::new(&title, &["layout", "variant", "median ms", "min ms", "GFLOP/s"], rows);
    context.print(&report, &table.to_text())?;
    Ok(Exit::Done)
}

/// The step to measure.
fn config(context: &Context) -> Result<RunConfig, CliError> {
    keys::bench_config(context, RunConfig::default())
}

/// The model of that step, for the data set that is named; without one for the model's own.
fn step_model(context: &Context, config: &RunConfig) -> Result<Model, CliError> {
    Ok(model_for(config, keys::named_data(context, config)?.as_ref())?)
}

fn roofline(context: &Context, gpu: &Gpu, args: &Args) -> Result<Exit, CliError> {
    let config = config(context)?;
    let model = step_model(context, &config)?;
    let bench = RooflineBench { config, model, steps: args.timed_steps, seconds: args.seconds };
    let report = bench.run(gpu)?;
    let mut text = roofline::text(&report);
    if let Some(out) = &args.out {
        let out = run_folder(out, "roofline.json", true)?;
        write_text(&out.join("roofline.json"), &serde_json::to_string_pretty(&report)?)?;
        roofline::figure(&report).save(&out.join("roofline"))?;
        text.push_str(&format!("written to {}\n", out.display()));
    }
    context.print(&report, &text)?;
    Ok(Exit::Done)
}

fn hessian(context: &Context, gpu: &Gpu, args: &Args) -> Result<Exit, CliError> {
    let config = config(context)?;
    if config.precision != Precision::F32 {
        let message = format!("precision: found {}, products with the Hessian are in f32", config.precision);
        return Err(CliError::Usage(message));
    }
    let bench = HessianBench {
        model: step_model(context, &config)?,
        config,
        passes: args.timed_steps,
        rounds: args.rounds,
        seconds: args.seconds,
        profile: args.profile,
    };
    let report = bench.run(gpu)?;
    context.print(&report, &hessian_bench::text(&report))?;
    Ok(Exit::Done)
}

fn step(context: &Context, gpu: &Gpu, args: &Args) -> Result<Exit, CliError> {
    let config = config(context)?;
    let bench = StepBench {
        model: step_model(context, &config)?,
        config,
        steps: args.timed_steps,
        rounds: args.rounds,
        seconds: args.seconds,
        profile: args.profile,
        process_start: context.started,
    };
    let report = bench.run(gpu)?;
    let mut text = table(&report).to_text();
    if let Some(kernels) = &report.kernels {
        text.push('\n');
        text.push_str(&kernel_times(kernels));
    }
    context.print(&report, &text)?;
    Ok(Exit::Done)
}

fn table(report: &StepReport) -> Table {
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let cost = match report.rounds {
        0 | 1 => format!("{:+.2} (one round: no standard error)", report.noise_cost_percent),
        _ => format!("{:+.2} ± {:.2}", report.noise_cost_percent, report.noise_cost_error),
    };
    let rows = vec![
        row("ms per step, median", format!("{:.3}", report.median_ms)),
        row("ms per step, 10 to 90 %", format!("{:.3} to {:.3}", report.p10_ms, report.p90_ms)),
        row("samples/s", format!("{:.0}", report.samples_per_second)),
        row("GFLOP/s of the products", format!("{:.1}", report.gflops)),
        row("GB/s, each tensor once", format!("{:.1}", report.gigabytes_per_second)),
        row("ms per step without noise", format!("{:.3}", report.clean_median_ms)),
        row("cost of noise, %", cost),
        row("host ms per step", format!("{:.3}", report.host_ms)),
        row("first step, ms", format!("{:.0}", report.first_step_ms)),
        row("first step, from the start of the process, ms", format!("{:.0}", report.first_step_after_start_ms)),
    ];
    let title = format!(
        "{}, batch {}, {}, noise {}, on {}",
        report.model, report.batch, report.precision, report.noise, report.adapter
    );
    Table::new(&title, &["", "measured"], rows)
}
