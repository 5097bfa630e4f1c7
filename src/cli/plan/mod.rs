//! `jostle plan`

mod lines;
mod summary;

use jostle::{
    data::DataSource,
    estimate::{GpuDescription, StepEstimate},
    gpu::AdapterSummary,
    graph::{Schedule, ValueShape},
    kernels::Target,
    nn::Model,
    report::Table,
    rules::{Command, Compiled, Program, UpdateFusion},
    train::{Footprint, RunConfig, TrainError, model_for, signature_of_source},
};
use serde::Serialize;

use super::{CliError, Context, Exit, keys, output::human_bytes};
use lines::Line;
use summary::Summary;

/// Options of `jostle plan`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Plan for a GPU that is only described instead of the adapter at hand, and estimate its times: h100, h200, a100, rtx4090,
    /// rx7900xtx, m2-max, arc-a770, a FILE.toml; or generic, a large GPU without estimates
    #[arg(long, value_name = "NAME|FILE.toml")]
    gpu: Option<String>,
}

/// The name of the GPU of which nothing is known but [`Target::GENERIC`].
const GENERIC: &str = "generic";

#[derive(Serialize)]
struct Output<'a> {
    model: &'a str,
    batch: usize,
    parameters: usize,
    target: &'a str,
    dispatches: Vec<Line>,
    #[serde(skip_serializing_if = "Option::is_none")]
    estimate: Option<Summary>,
    footprint: &'a Footprint,
    does_not_fit: Option<String>,
}

/// What the plan is for: the described GPU, else the adapter at hand, else a generic one.
struct Device {
    name: String,
    target: Target,
    adapter: Option<AdapterSummary>,
    description: Option<GpuDescription>,
}

impl Device {
    fn new(context: &Context, described: Option<&str>) -> Result<Self, CliError> {
        if let Some(name) = described.filter(|name| *name != GENERIC) {
            let gpu = GpuDescription::named(name)?;
            return Ok(Self { name: gpu.name.clone(), target: gpu.target(), adapter: None, description: Some(gpu) });
        }
        let adapter = if described.is_none() { context.adapter.find().ok() } else { None };
        Ok(match adapter {
            Some(adapter) => {
                let target = Target::for_adapter(&adapter);
                Self { name: adapter.name.clone(), target, adapter: Some(adapter), description: None }
            }
            None => {
                let name = "a generic GPU".to_owned();
                Self { name, target: Target::GENERIC, adapter: None, description: None }
            }
        })
    }

    /// Which dispatches leave multiprocessors of the generic GPU idle.
    fn idle(&self, lines: &[Line]) -> Option<String> {
        let generic = self.adapter.is_none() && self.description.is_none();
        let idle = lines.iter().filter(|line| line.workgroups() < Target::MULTIPROCESSORS).count();
        let all = Target::MULTIPROCESSORS;
        generic
            .then(|| format!("{idle} of {} dispatches have fewer workgroups than {all} multiprocessors\n", lines.len()))
    }

    /// The lines with their estimates, and what they add up to, where the GPU is described.
    fn estimated(&self, lines: Vec<Line>) -> (Vec<Line>, Option<Summary>) {
        let Some(gpu) = &self.description else { return (lines, None) };
        let dispatches: Vec<_> = lines.iter().map(|line| line.dispatch).collect();
        let step = StepEstimate::new(gpu, &dispatches);
        let summary = Summary::new(gpu, &lines, &step);
        let lines = lines.into_iter().zip(&step.dispatches).map(|(line, estimate)| line.estimated(estimate));
        (lines.collect(), Some(summary))
    }
}

/// The model, built for the data set that is named, and channels, rows and columns of a sample.
fn model_and_sample(config: &RunConfig, data: Option<&DataSource>) -> Result<(Model, [usize; 3]), TrainError> {
    let model = model_for(config, data)?;
    let sample = match (data, model.graph.shape(model.graph.input())) {
        // A text's windows are as long as the model's.
        (_, input @ ValueShape::Tokens { .. }) | (None, input) => input,
        (Some(data), _) => signature_of_source(data, config.block)?.input,
    };
    Ok((model, sample.sample_sides()))
}

/// Every dispatch of a training step, the update of the rule last.
fn lines(
    config: &RunConfig,
    model: &Model,
    schedule: &Schedule,
    device: &Device,
    sample: [usize; 3],
) -> Result<Vec<Line>, TrainError> {
    let mut lines = Vec::new();
    for planned in schedule.launches(&device.target, sample)? {
        let step = &schedule.steps[planned.step];
        let kernel = &step.call.kernel;
        lines.push(Line::new([step.name.clone(), kernel.sizes()], kernel.kind(), &planned.launch));
    }
    let optimizer = config.optimizer_config();
    let layout = model.graph.layout();
    for launch in optimizer.launches(&device.target, &layout, config.precision.element())? {
        let shape = format!("{} parameters", layout.parameters());
        lines.push(Line::new([update_text(&rule()), shape], "update", &launch));
    }
    Ok(lines)
}

/// The rule of a step, as it is recorded.
fn rule() -> Compiled {
    Compiled::new(&Program::noise(), UpdateFusion::Fused)
}

/// What the sweep of a rule's update does.
fn update_text(rule: &Compiled) -> String {
    let update =
        rule.phases().iter().flat_map(|phase| &phase.after).find(|command| matches!(command, Command::Update(_)));
    update.map(Command::to_string).unwrap_or_default()
}

fn memory(footprint: &Footprint) -> String {
    let mut rows: Vec<_> = footprint
        .arenas
        .iter()
        .map(|(name, bytes)| vec![name.clone(), bytes.to_string(), human_bytes(*bytes)])
        .collect();
    rows.push(vec!["total".to_owned(), footprint.total_bytes.to_string(), human_bytes(footprint.total_bytes)]);
    let table = Table::new("Memory", &["arena", "bytes", ""], rows).to_text();
    let alive = human_bytes(footprint.activations_lower_bound_bytes);
    format!("\n{table}\nactivations alive at once: {alive} (no placement can do with less)\n")
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let device = Device::new(context, args.gpu.as_deref())?;
    let config = RunConfig::default().with(&context.options)?;
    let batch = keys::expect_batch(&config, "plan")?;
    let (model, sample) = model_and_sample(&config, keys::named_data(context, &config)?.as_ref())?;
    let (footprint, schedule) =
        Footprint::new(&model, batch, config.optimizer, config.precision.element(), &device.target)?;
    let footprint = footprint.with_scratch(schedule.scratch_words(device.target.class)?);
    let (dispatches, estimate) = device.estimated(lines(&config, &model, &schedule, &device, sample)?);
    let title = format!("{model}, batch {batch}: the dispatches of one training step on {}", device.name);
    let mut headers = Line::HEADERS.to_vec();
    if estimate.is_some() {
        headers.extend(Line::ESTIMATE_HEADERS);
    }
    let rows = dispatches.iter().enumerate().map(|(number, line)| line.row(number)).collect();
    let mut text = Table::new(&title, &headers, rows).to_text();
    text.push_str("threads: of a workgroup; chain: rounds that one invocation does one after the other\n");
    text.push_str(&device.idle(&dispatches).unwrap_or_default());
    if let Some(summary) = &estimate {
        text.push_str(&format!("\n{}", summary.to_text()));
    }
    text.push_str(&format!("\n{}\n", rule()));
    text.push_str(&memory(&footprint));
    let does_not_fit = device.adapter.as_ref().and_then(|adapter| footprint.excess(adapter.limits()));
    text.push_str(&match (&device.adapter, &does_not_fit) {
        (Some(adapter), None) => format!("fits {}\n", adapter.name),
        (Some(adapter), Some(excess)) => format!("does not fit {}: {excess}\n", adapter.name),
        (None, _) => "no adapter to check it against\n".to_owned(),
    });
    let output = Output {
        model: &model.description,
        batch,
        parameters: model.graph.layout().parameters(),
        target: &device.name,
        dispatches,
        estimate,
        footprint: &footprint,
        does_not_fit,
    };
    context.print(&output, &text)?;
    Ok(Exit::Done)
}
