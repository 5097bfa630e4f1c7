//! Every kernel of a training step against what the adapter can do at most.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    gpu::{Gpu, Profile, Span, Work},
    graph::{PlanMode, PlanStep, Schedule},
    kernels::AdapterClass,
    nn::Model,
    noise::Mode,
    train::{Precision, RunConfig, TrainError},
};

use super::{
    Bound, Ceilings, quantile,
    runner::{Runner, prepared},
    sorted,
};

/// What to measure: the step of `config` on random samples that lie on the device, one batch a step.
#[derive(Clone, Debug)]
pub struct RooflineBench {
    /// The run; its data are not used, nor its model but for the report.
    pub config: RunConfig,
    /// The model of the step.
    pub model: Model,
    /// Most steps that are timed kernel by kernel, and most that are timed as a whole.
    pub steps: u32,
    /// About how long the steps may take; three of each kind are taken anyway.
    pub seconds: f64,
}

/// A kernel's part of a step; of products a line each for a layer's three and for a convolution's windows.
#[derive(Clone, Debug, Serialize)]
pub struct KernelLine {
    /// Entry point; those of a step that takes several for one result are joined by `+`.
    pub kernel: String,
    /// Which product, and the window of a convolution.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub product: Option<String>,
    /// Dispatches a step.
    pub dispatches: u64,
    /// Milliseconds a step: the sum of its dispatches' medians over the steps.
    pub ms: f64,
    /// Of the time of all kernels.
    pub share: f64,
    /// What it has to do at least; unknown for what lies beside the plan.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub against: Option<Against>,
}

/// Work, and how near its time comes to the least.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Against {
    /// Operations and bytes a step.
    #[serde(flatten)]
    pub work: Work,
    /// 10^9 operations a second.
    pub gflops: f64,
    /// 10^9 bytes a second.
    pub gigabytes_per_second: f64,
    /// Operations a byte.
    pub intensity: f64,
    /// What most of the least time goes to.
    pub bound: Bound,
    /// The least time by the ceilings over the time it took, in per cent. More than 100 says that the operands lay in a
    /// nearer cache than the ceiling's, that a variant saves operations, or that the machine was busier while the ceiling
    /// was measured. None for products by cooperative matrices: the ceilings are those of ordinary multiply-adds.
    pub percent_of_ceiling: Option<f64>,
}

/// A step of the plan.
#[derive(Clone, Debug, Serialize)]
pub struct StepLine {
    /// Such as `fc1 forward`.
    pub step: String,
    /// Entry points of its dispatches.
    pub kernels: Vec<&'static str>,
    /// Milliseconds.
    pub ms: f64,
    /// Operations and bytes.
    #[serde(flatten)]
    pub work: Work,
    /// As of a [`KernelLine`].
    pub percent_of_ceiling: Option<f64>,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct RooflineReport {
    /// The adapter.
    pub adapter: String,
    /// Its driver.
    pub driver: String,
    /// The model.
    pub model: String,
    /// Samples a step.
    pub batch: usize,
    /// How activations and effective weights are stored.
    pub precision: Precision,
    /// The noise mode.
    pub noise: Mode,
    /// The adapter's ceilings, the better of a measurement before the steps and one after.
    pub ceilings: Ceilings,
    /// Milliseconds from one step's end to the next's, median, nothing timed within.
    pub step_ms: f64,
    /// Recording and submitting a step on the host, median, with the device idle before each.
    pub host_ms: f64,
    /// All kernels' milliseconds, each dispatch in a pass of its own.
    pub kernels_ms: f64,
    /// Steps timed kernel by kernel.
    pub profiled_steps: usize,
    /// Operations of the products of a step.
    pub product_flops: u64,
    /// The kernels, slowest first; empty where the adapter has no timestamps.
    pub kernels: Vec<KernelLine>,
    /// The plan's steps in their order.
    pub steps: Vec<StepLine>,
}

impl RooflineBench {
    /// Measures.
    ///
    /// # Errors
    /// Those of the device.
    pub fn run(&self, gpu: &Gpu) -> Result<RooflineReport, TrainError> {
        let config = RunConfig { accumulate: 1, ..self.config.clone() };
        let model = &self.model;
        let (class, element) = (AdapterClass::for_device(gpu), config.precision.element());
        let schedule = Schedule::suited(&model.graph, config.batch, PlanMode::Train, config.loss, element, gpu)?;
        let schedule = schedule.with_deferred_sums(class)?;
        let before = Ceilings::measure(gpu)?;
        let (mut runner, _) = Runner::start(gpu, &config, &prepared(model, config.batch, config.loss))?;
        runner.warm_up()?;
        let most = self.steps as usize;
        let step_ms = quantile(&sorted(runner.repeat(most, self.seconds / 4.0, |runner| runner.time(1))?), 0.5);
        let host_ms = runner.host_ms(self.seconds / 10.0)?;
        let times = if gpu.has_timestamps() { self.profile(gpu, &mut runner)? } else { Times::default() };
        let ceilings = before.best(&Ceilings::measure(gpu)?);
        let update = config.optimizer_config().work(model.graph.layout().words(), config.precision.element());
        let (kernels, steps) = lines(&schedule, class, update, &times, &ceilings);
        Ok(RooflineReport {
            adapter: gpu.adapter_name().to_owned(),
            driver: gpu.driver(),
            model: config.model,
            batch: config.batch,
            precision: config.precision,
            noise: config.noise,
            ceilings,
            step_ms,
            host_ms,
            kernels_ms: kernels.iter().map(|line| line.ms).sum(),
            profiled_steps: times.steps,
            product_flops: schedule.flops(),
            kernels,
            steps,
        })
    }

    fn profile(&self, gpu: &Gpu, runner: &mut Runner<'_>) -> Result<Times, TrainError> {
        let mut profile = Profile::new(gpu)?;
        runner.warm_up()?;
        let steps = runner.repeat(self.steps as usize, self.seconds / 2.0, |runner| {
            runner.timed_step(&mut profile)?;
            Ok(profile.last().to_vec())
        })?;
        let mut times = Times::default();
        steps.iter().for_each(|spans| times.add(spans));
        Ok(times)
    }
}

/// Where a dispatch stands in a step: number of the plan's step and of the dispatch within it. What lies beside the plan
/// has the number of no step; all of one kernel goes together, as its dispatches change from step to step.
type Place = (Option<usize>, usize, &'static str);

/// Times of dispatches over the steps that were profiled.
#[derive(Default)]
struct Times {
    steps: usize,
    by_place: BTreeMap<Place, PlaceTimes>,
}

/// What was timed at one place.
#[derive(Default)]
struct PlaceTimes {
    /// In each step.
    ms: Vec<f64>,
    /// In a step at most: more than one only beside the plan.
    dispatches: u64,
}

/// The dispatches of a kernel at one place.
struct Dispatches {
    kernel: &'static str,
    count: u64,
    median_ms: f64,
}

impl Times {
    fn add(&mut self, spans: &[Span]) {
        self.steps += 1;
        let mut step: BTreeMap<Place, (f64, u64)> = BTreeMap::new();
        let mut previous = (None, 0);
        for span in spans {
            let number = if span.step.is_some() && span.step == previous.0 { previous.1 + 1 } else { 0 };
            previous = (span.step, number);
            let entry = step.entry((span.step, number, span.kernel)).or_default();
            *entry = (entry.0 + span.ms, entry.1 + 1);
        }
        for (place, (ms, count)) in step {
            let times = self.by_place.entry(place).or_default();
            times.ms.push(ms);
            times.dispatches = times.dispatches.max(count);
        }
    }

    /// Those of a step of the plan, or of what lies beside it.
    fn dispatches(&self, step: Option<usize>) -> Vec<Dispatches> {
        let places = self.by_place.range((step, 0, "")..).take_while(|((number, ..), _)| *number == step);
        let dispatches = |((.., kernel), times): (&Place, &PlaceTimes)| Dispatches {
            kernel,
            count: times.dispatches,
            median_ms: quantile(&sorted(times.ms.clone()), 0.5),
        };
        places.map(dispatches).collect()
    }
}

/// Dispatches with what they have to do, where that is known.
#[derive(Clone, Copy)]
struct Part {
    dispatches: u64,
    ms: f64,
    work: Option<Work>,
    /// Whether cooperative matrices do it.
    on_matrices: bool,
}

/// What a line adds up.
#[derive(Default)]
struct Sum {
    dispatches: u64,
    ms: f64,
    work: Option<Work>,
    /// The least milliseconds, by what bounds them.
    least_ms: BTreeMap<Bound, f64>,
    on_matrices: bool,
}

impl Sum {
    fn add(&mut self, part: Part, ceilings: &Ceilings) {
        self.dispatches += part.dispatches;
        self.ms += part.ms;
        self.on_matrices |= part.on_matrices;
        if let Some(work) = part.work {
            self.work = Some([self.work.unwrap_or_default(), work].into_iter().sum());
            *self.least_ms.entry(ceilings.bound(work)).or_default() += ceilings.least_ms(work);
        }
    }

    fn against(&self) -> Option<Against> {
        let work = self.work?;
        let (bound, _) = self.least_ms.iter().max_by(|a, b| a.1.total_cmp(b.1))?;
        let per_second = |amount: u64| amount as f64 / self.ms * 1e-6;
        Some(Against {
            work,
            gflops: per_second(work.flops),
            gigabytes_per_second: per_second(work.bytes),
            intensity: work.flops as f64 / work.bytes as f64,
            bound: if self.on_matrices { Bound::Matrices } else { *bound },
            percent_of_ceiling: (!self.on_matrices).then(|| 100.0 * self.least_ms.values().sum::<f64>() / self.ms),
        })
    }
}

/// A step's kernels as they add up.
struct Ledger<'a> {
    ceilings: &'a Ceilings,
    sums: BTreeMap<(String, Option<String>), Sum>,
}

impl Ledger<'_> {
    fn enter(&mut self, kernel: String, product: Option<String>, part: Part) {
        self.sums.entry((kernel, product)).or_default().add(part, self.ceilings);
    }

    /// Enters a step of the plan; `None` if none of its dispatches was timed.
    fn step(&mut self, step: &PlanStep, works: Vec<Work>, dispatches: &[Dispatches]) -> Option<StepLine> {
        let kernels: Vec<_> = dispatches.iter().map(|timed| timed.kernel).collect();
        let part = |timed: &Dispatches| Part {
            dispatches: timed.count,
            ms: timed.median_ms,
            work: None,
            on_matrices: timed.kernel.ends_with("_coop"),
        };
        let mut parts: Vec<_> = dispatches.iter().map(part).collect();
        let mut names: Vec<_> = kernels.iter().map(|kernel| (*kernel).to_owned()).collect();
        if works.len() == parts.len() {
            parts.iter_mut().zip(works).for_each(|(part, work)| part.work = Some(work));
        } else {
            // One result by several dispatches: the work is known for all of them together.
            let (dispatches, ms) = parts.iter().fold((0, 0.0), |(n, ms), part| (n + part.dispatches, ms + part.ms));
            let on_matrices = parts.iter().any(|part| part.on_matrices);
            parts = vec![Part { dispatches, ms, work: Some(works.into_iter().sum()), on_matrices }];
            names = vec![kernels.join(" + ")];
        }
        let mut whole = Sum::default();
        for (name, part) in names.into_iter().zip(parts) {
            whole.add(part, self.ceilings);
            self.enter(name, step.call.product(), part);
        }
        let Against { work, percent_of_ceiling, .. } = whole.against()?;
        Some(StepLine { step: step.name.clone(), kernels, ms: whole.ms, work, percent_of_ceiling })
    }

    /// Slowest first.
    fn lines(self) -> Vec<KernelLine> {
        let total: f64 = self.sums.values().map(|sum| sum.ms).sum();
        let line = |((kernel, product), sum): ((String, Option<String>), Sum)| KernelLine {
            kernel,
            product,
            dispatches: sum.dispatches,
            ms: sum.ms,
            share: sum.ms / total,
            against: sum.against(),
        };
        let mut kernels: Vec<_> = self.sums.into_iter().map(line).collect();
        kernels.sort_by(|a, b| b.ms.total_cmp(&a.ms));
        kernels
    }
}

/// The kernels, slowest first, and the plan's steps; `update` is the work of the optimizer's.
fn lines(
    schedule: &Schedule,
    class: AdapterClass,
    update: Work,
    times: &Times,
    ceilings: &Ceilings,
) -> (Vec<KernelLine>, Vec<StepLine>) {
    let mut ledger = Ledger { ceilings, sums: BTreeMap::new() };
    let mut steps = Vec::new();
    for (number, step) in schedule.steps.iter().enumerate() {
        let dispatches = times.dispatches(Some(number));
        if !dispatches.is_empty() {
            steps.extend(ledger.step(step, schedule.work(step, class), &dispatches));
        }
    }
    for Dispatches { kernel, count, median_ms } in times.dispatches(None) {
        let work = kernel.starts_with("update_").then_some(update);
        ledger.enter(kernel.to_owned(), None, Part { dispatches: count, ms: median_ms, work, on_matrices: false });
    }
    (ledger.lines(), steps)
}
