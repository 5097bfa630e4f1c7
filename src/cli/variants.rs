//! `jostle bench --variants`

use jostle::{
    bench::{Operation, VariantReport, bench_variants},
    gpu::Gpu,
    graph::{PlanMode, Schedule},
    nn::Model,
    ops::Loss,
    report::Table,
    train::Precision,
};

use super::{CliError, Context, Exit};

/// m, n and k of a product: three numbers, or one for all.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sides(pub(super) [usize; 3]);

impl std::str::FromStr for Sides {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let sides: Result<Vec<usize>, _> = text.split(',').map(|side| side.trim().parse()).collect();
        match sides.as_deref() {
            Ok([side]) => Ok(Self([*side; 3])),
            Ok([m, n, k]) => Ok(Self([*m, *n, *k])),
            _ => Err(format!("expected a side or m,n,k, found {text:?}")),
        }
    }
}

impl std::fmt::Display for Sides {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [m, n, k] = self.0;
        if m == n && n == k { write!(f, "{m}^3") } else { write!(f, "{m} x {n} x {k}") }
    }
}

/// How long variants are timed, and in which precision.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing {
    pub(super) precision: Precision,
    pub(super) rounds: u32,
    pub(super) seconds: f64,
}

impl Timing {
    fn run(self, context: &Context, gpu: &Gpu, operations: &[Operation]) -> Result<Exit, CliError> {
        print(context, &bench_variants(gpu, operations, self.precision, self.rounds, self.seconds)?)
    }
}

/// Every variant of a product in its three layouts.
pub(super) fn product(context: &Context, gpu: &Gpu, sides: Sides, timing: Timing) -> Result<Exit, CliError> {
    timing.run(context, gpu, &Operation::layouts(sides.0)?)
}

/// Every variant of every product of a model's training step.
pub(super) fn model(
    context: &Context,
    gpu: &Gpu,
    (model, batch): (&Model, usize),
    timing: Timing,
) -> Result<Exit, CliError> {
    let schedule = Schedule::new(&model.graph, batch, PlanMode::Train, Loss::Nll)?;
    timing.run(context, gpu, &Operation::from_schedule(&schedule)?)
}

fn print(context: &Context, report: &VariantReport) -> Result<Exit, CliError> {
    let rows = report.operations.iter().flat_map(|timed| {
        let fastest = timed.variants.iter().map(|variant| variant.median_ms).fold(f64::INFINITY, f64::min);
        timed.variants.iter().enumerate().map(move |(index, variant)| {
            vec![
                if index == 0 { timed.operation.clone() } else { String::new() },
                variant.variant.clone(),
                format!("{:.3}", variant.median_ms),
                format!("{:.3}", variant.min_ms),
                format!("{:.1}", variant.gflops),
                format!("{:.2}", variant.median_ms / fastest),
                if variant.chosen { "chosen" } else { "" }.to_owned(),
            ]
        })
    });
    let columns = ["operation", "variant", "median ms", "min ms", "GFLOP/s", "of fastest", ""];
    let title = format!("Variants in {} on {}", report.precision, report.adapter);
    context.print(report, &Table::new(&title, &columns, rows.collect()).to_text())?;
    Ok(Exit::Done)
}
