//! `jostle plan`

use jostle::{
    graph::{Call, MatmulCall},
    kernels::AdapterClass,
    nn::Model,
    optim::OptimizerKind,
    report::Table,
    train::{Footprint, Precision},
};
use serde::Serialize;

use super::{CliError, Context, Exit, output::human_bytes};

/// Options of `jostle plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Model: mlp1, mlp2, mlp3, or widths such as mlp:784-500-10
    #[arg(long)]
    model: Model,
    /// Samples a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Optimizer, for the bytes of its state: sgd, adam or adamw
    #[arg(long, default_value_t = OptimizerKind::Sgd)]
    optimizer: OptimizerKind,
    /// Precision: f32, or f16 for activations and the weights that the network sees
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
}

#[derive(Serialize)]
struct Step {
    name: String,
    kind: &'static str,
    shape: String,
    mflop: f64,
}

#[derive(Serialize)]
struct Output<'a> {
    model: &'a str,
    batch: usize,
    parameters: usize,
    steps: Vec<Step>,
    footprint: &'a Footprint,
    adapter: Option<String>,
    does_not_fit: Option<String>,
}

/// Kind and sizes of a call.
fn describe(call: &Call, batch: usize) -> (&'static str, String) {
    match call {
        Call::Gather { .. } => ("gather", format!("batch {batch}")),
        Call::Matmul(MatmulCall { shape: [m, n, k], .. }) => ("product", format!("m {m}, n {n}, k {k}")),
        Call::Pack { shape, .. } => ("pack", format!("{} words", shape.packed_words())),
        Call::Conv(call) => ("convolution", call.shape.to_string()),
        Call::BatchNorm(call) => ("batch norm", call.shape.to_string()),
        Call::BatchNormGradient(call) => ("batch norm gradient", call.forward.shape.to_string()),
        Call::ChannelNormalise { .. } => ("normalise", format!("batch {batch}")),
        Call::GroupNormalise { .. } => ("group norm", format!("batch {batch}")),
        Call::GroupNormaliseGradient { .. } => ("group norm gradient", format!("batch {batch}")),
        Call::GroupNormaliseCurvature { .. } => ("group norm curvature", format!("batch {batch}")),
        Call::Affine(_) => ("affine", format!("batch {batch}")),
        Call::AffineGradient(_) => ("affine gradient", format!("batch {batch}")),
        Call::Pool(call) | Call::PoolSelect(call) => ("pool", format!("{:?}", call.pool)),
        Call::PoolGradient { call, .. } => ("pool gradient", format!("{:?}", call.pool)),
        Call::Flatten { shape: [batch, pixels, channels], .. } => {
            ("flatten", format!("{batch} x {pixels} x {channels}"))
        }
        Call::Dropout { probability, .. } => ("dropout", format!("p {probability}")),
        Call::Elementwise { operation, .. } => ("elementwise", format!("{operation:?}")),
        Call::ColumnSum { shape: [rows, columns, _], .. } => ("column sum", format!("{rows} x {columns}")),
        Call::Loss { .. } => ("loss", format!("batch {batch}")),
        Call::LossTangent { .. } => ("loss tangent", format!("batch {batch}")),
        Call::Metrics { .. } => ("metrics", format!("batch {batch}")),
    }
}

fn step(name: &str, call: &Call, batch: usize) -> Step {
    let (kind, shape) = describe(call, batch);
    Step { name: name.to_owned(), kind, shape, mflop: 1e-6 * call.flops() as f64 }
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let (mut footprint, schedule) = Footprint::new(&args.model, args.batch, args.optimizer, args.precision.element())?;
    // A plan needs no adapter; where there is one, it decides on the products' variants, and may not hold it all.
    let adapter = context.adapter.find().ok();
    if let Some(adapter) = &adapter {
        footprint = footprint.with_scratch(schedule.scratch_words(AdapterClass::of_adapter(adapter))?);
    }
    let mut steps: Vec<_> = schedule.steps.iter().map(|s| step(&s.name, &s.call, args.batch)).collect();
    steps.push(Step {
        name: "update and next noise".to_owned(),
        kind: "update",
        shape: format!("{} parameters", args.model.graph.layout().parameters()),
        mflop: 0.0,
    });
    let rows = steps.iter().enumerate().map(|(index, step)| {
        let mflop = if step.mflop > 0.0 { format!("{:.2}", step.mflop) } else { String::new() };
        vec![index.to_string(), step.name.clone(), step.kind.to_owned(), step.shape.clone(), mflop]
    });
    let title = format!("{}, batch {}: one training step", args.model, args.batch);
    let mut text = Table::new(&title, &["#", "step", "kernel", "shape", "MFLOP"], rows.collect()).to_text();
    let mut rows: Vec<_> = footprint
        .arenas
        .iter()
        .map(|(name, bytes)| vec![name.clone(), bytes.to_string(), human_bytes(*bytes)])
        .collect();
    rows.push(vec!["total".to_owned(), footprint.total_bytes.to_string(), human_bytes(footprint.total_bytes)]);
    text.push('\n');
    text.push_str(&Table::new("Memory", &["arena", "bytes", ""], rows).to_text());
    text.push_str(&format!(
        "\nactivations alive at once: {} (no placement can do with less)\n",
        human_bytes(footprint.activations_lower_bound_bytes)
    ));
    let does_not_fit = adapter.as_ref().and_then(|adapter| footprint.excess(adapter.limits()));
    match (&adapter, &does_not_fit) {
        (Some(adapter), None) => text.push_str(&format!("fits {}\n", adapter.name)),
        (Some(adapter), Some(excess)) => text.push_str(&format!("does not fit {}: {excess}\n", adapter.name)),
        (None, _) => text.push_str("no adapter here to hold it against\n"),
    }
    let output = Output {
        model: &args.model.description,
        batch: args.batch,
        parameters: args.model.graph.layout().parameters(),
        steps,
        footprint: &footprint,
        adapter: adapter.map(|adapter| adapter.name),
        does_not_fit,
    };
    context.print(&output, &text)?;
    Ok(Exit::Done)
}
