//! The goals, and what was measured beside each.

use serde::Serialize;

use super::{
    Report, Stage, Status,
    measured::{KernelLine, Roofline, Step, Torch},
};

/// What is aimed at. Steps are those of [`MODEL`].
#[derive(Clone, Copy, Debug)]
enum Goal {
    /// Noise of a mode costs less than so many per cent of a step.
    NoiseCost { mode: &'static str, precision: &'static str, percent: f64 },
    /// A square product in f32 is at least as fast as PyTorch's with TF32 off, which is cuBLAS'.
    ProductBesideTorch { side: usize },
    /// A step is at least as fast as PyTorch's eager one, whose precision begins with `torch`.
    StepBesideTorch { precision: &'static str, torch: &'static str },
    /// The moments and finishes of batch norm take at most so many times what their bytes, or dispatches that do nothing,
    /// would take.
    BatchNorm { precision: &'static str, times: f64 },
    /// The tests pass that repeat training runs.
    BitEqual,
    /// Losses keep within a relative tolerance of the committed trace's.
    Trace { tolerance: f64 },
}

/// The network that goals on steps are about, and its batch.
const MODEL: (&str, usize) = ("resnet18", 128);

const GOALS: [Goal; 11] = [
    Goal::NoiseCost { mode: "layer", precision: "f32", percent: 0.5 },
    Goal::NoiseCost { mode: "all", precision: "f32", percent: 1.0 },
    Goal::NoiseCost { mode: "layer", precision: "f16", percent: 0.5 },
    Goal::NoiseCost { mode: "all", precision: "f16", percent: 1.0 },
    Goal::ProductBesideTorch { side: 4096 },
    Goal::StepBesideTorch { precision: "f32", torch: "f32" },
    Goal::StepBesideTorch { precision: "f16", torch: "autocast" },
    Goal::BatchNorm { precision: "f32", times: 4.0 },
    Goal::BatchNorm { precision: "f16", times: 4.0 },
    Goal::BitEqual,
    Goal::Trace { tolerance: 1e-5 },
];

/// Whether a goal is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It is.
    Met,
    /// It is not.
    Missed,
    /// The measurement's error is as large as its distance from the bar.
    Undecided,
    /// Something that it takes was not measured.
    NotMeasured,
}

/// A goal with what was measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct GoalLine {
    /// What is measured.
    pub goal: String,
    /// What it is held against.
    pub bar: String,
    /// The figure, or why there is none.
    pub measured: String,
    /// Whether it is reached.
    pub verdict: Verdict,
}

/// A figure with its verdict, or why there is none.
type Answer = Result<(String, Verdict), String>;

/// Every goal with what the report has on it.
pub(super) fn lines(report: &Report) -> Vec<GoalLine> {
    let line = |goal: &Goal| {
        let (measured, verdict) = goal.answer(report).unwrap_or_else(|why| (why, Verdict::NotMeasured));
        GoalLine { goal: goal.name(), bar: goal.bar(), measured, verdict }
    };
    GOALS.iter().map(line).collect()
}

impl Goal {
    fn name(self) -> String {
        let (model, batch) = MODEL;
        match self {
            Self::NoiseCost { mode, precision, .. } => format!("noise {mode}, {model} batch {batch} {precision}"),
            Self::ProductBesideTorch { side } => format!("f32 product of {side}, GFLOP/s"),
            Self::StepBesideTorch { precision, .. } => format!("{model} batch {batch} {precision}, samples/s"),
            Self::BatchNorm { precision, .. } => {
                format!("batch norm's moments and finishes, {model} batch {batch} {precision}")
            }
            Self::BitEqual => "repeated runs, bit for bit".to_owned(),
            Self::Trace { .. } => "losses of 50 steps beside llvmpipe's trace".to_owned(),
        }
    }

    fn bar(self) -> String {
        match self {
            Self::NoiseCost { percent, .. } => format!("< {percent} %"),
            Self::ProductBesideTorch { .. } => ">= cuBLAS in f32".to_owned(),
            Self::StepBesideTorch { torch: "autocast", .. } => ">= PyTorch autocast".to_owned(),
            Self::StepBesideTorch { .. } => ">= PyTorch eager, TF32 off".to_owned(),
            Self::BatchNorm { times, .. } => format!("<= {times} times their bytes"),
            Self::BitEqual => "equal".to_owned(),
            Self::Trace { tolerance } => format!("<= {tolerance:e}"),
        }
    }

    fn answer(self, report: &Report) -> Answer {
        match self {
            Self::NoiseCost { mode, precision, percent } => {
                let step = step(report, precision, |step| step.noise == mode)?;
                Ok(noise_cost(step, percent))
            }
            Self::ProductBesideTorch { side } => product(report, side),
            Self::StepBesideTorch { precision, torch } => step_beside_torch(report, precision, torch),
            Self::BatchNorm { precision, times } => batch_norm(report, precision, times),
            Self::BitEqual => bit_equal(report),
            Self::Trace { tolerance } => trace(report, tolerance),
        }
    }
}

fn is_model(model: &str, batch: usize) -> bool {
    (model, batch) == MODEL
}

fn verdict(met: bool) -> Verdict {
    if met { Verdict::Met } else { Verdict::Missed }
}

fn step<'a>(report: &'a Report, precision: &str, fits: impl Fn(&Step) -> bool) -> Result<&'a Step, String> {
    let found = report.steps().find(|of| is_model(&of.model, of.batch) && of.precision == precision && fits(of));
    found.ok_or_else(|| report.why_not(Stage::Steps, &[MODEL.0, precision]))
}

fn noise_cost(of: &Step, bar: f64) -> (String, Verdict) {
    let (cost, error) = (of.noise_cost_percent, of.noise_cost_error);
    let verdict = match () {
        () if cost + error < bar => Verdict::Met,
        () if cost - error >= bar => Verdict::Missed,
        // NaN comes here too.
        () => Verdict::Undecided,
    };
    (format!("{cost:+.2} ± {error:.2} %"), verdict)
}

fn timed<'a>(report: &'a Report, what: &str, fits: impl Fn(&Torch) -> bool) -> Result<&'a Torch, String> {
    let eager = report.torch().filter(|of| of.compile.is_none() && fits(of));
    let fastest = eager.min_by(|a, b| a.median_ms.total_cmp(&b.median_ms));
    fastest.ok_or_else(|| report.why_not(Stage::Torch, &[what]))
}

fn product(report: &Report, side: usize) -> Answer {
    let name = format!("Forward m {side}, n {side}, k {side}");
    let all = report.variants().filter(|of| of.precision == "f32").flat_map(|of| &of.operations);
    let chosen = all.filter(|of| of.operation == name).find_map(|of| of.chosen());
    let ours = chosen.and_then(|of| of.gflops).ok_or_else(|| report.why_not(Stage::Variants, &["product", "f32"]))?;
    let torch = timed(report, "", |of| of.matmul == Some(side) && of.precision == "f32");
    match torch.map(|of| of.gflops) {
        Ok(Some(theirs)) => Ok((format!("{ours:.0} beside {theirs:.0}: {:.2}", ours / theirs), verdict(ours >= theirs))),
        Ok(None) => Err(format!("{ours:.0}; PyTorch's rate is no number")),
        Err(why) => Err(format!("{ours:.0}; PyTorch: {why}")),
    }
}

fn step_beside_torch(report: &Report, precision: &str, torch: &str) -> Answer {
    let of = step(report, precision, |_| true)?;
    let ours = of.batch as f64 / of.clean_median_ms * 1e3;
    let fits = |of: &Torch| is_model(&of.model, of.batch) && of.noise == "none" && of.precision.starts_with(torch);
    let theirs = timed(report, "", fits).map_err(|why| format!("{ours:.0}; PyTorch: {why}"))?;
    let theirs = theirs.batch as f64 / theirs.median_ms * 1e3;
    Ok((format!("{ours:.0} beside {theirs:.0}: {:.2}", ours / theirs), verdict(ours >= theirs)))
}

/// Whether a kernel is one of batch norm's that sum over the batch; the sweeps that normalise are not.
fn sums_batch(line: &KernelLine) -> bool {
    line.kernel.starts_with("batch_norm") && (line.kernel.contains("moments") || line.kernel.contains("finish"))
}

/// The least milliseconds of a kernel: those of its bytes, or of as many dispatches that do nothing.
fn least_ms(line: &KernelLine, of: &Roofline) -> Option<f64> {
    let by_bytes = line.percent_of_ceiling? * line.ms / 100.0;
    Some(by_bytes.max(line.dispatches as f64 * of.ceilings.dispatch_us * 1e-3))
}

fn batch_norm(report: &Report, precision: &str, times: f64) -> Answer {
    let why = || report.why_not(Stage::Roofline, &[MODEL.0, precision]);
    let of = report.rooflines().find(|of| is_model(&of.model, of.batch) && of.precision == precision).ok_or_else(why)?;
    let kernels: Vec<_> = of.kernels.iter().filter(|line| sums_batch(line)).collect();
    if kernels.is_empty() {
        return Err("the adapter times no kernel of batch norm".to_owned());
    }
    let mut worst: Option<(f64, &str)> = None;
    for line in &kernels {
        let least = least_ms(line, of).ok_or_else(|| format!("{}'s bytes are not known", line.kernel))?;
        let ratio = line.ms / least;
        if worst.is_none_or(|(most, _)| !(ratio <= most)) {
            worst = Some((ratio, &line.kernel));
        }
    }
    let ms: f64 = kernels.iter().map(|line| line.ms).sum();
    let (ratio, kernel) = worst.unwrap_or((f64::NAN, ""));
    Ok((format!("{ratio:.1} times, {kernel}; all {ms:.2} ms a step"), verdict(ratio <= times)))
}

fn bit_equal(report: &Report) -> Answer {
    let rooms: Vec<_> = report.pieces.iter().filter(|piece| piece.title.contains("repeat")).collect();
    let ran = rooms.iter().filter_map(|piece| piece.tests()).map(|tests| tests.ran()).sum::<usize>();
    if ran == 0 {
        return Err(report.why_not(Stage::Correctness, &["repeat"]));
    }
    let passed = rooms.iter().all(|piece| piece.status == Status::Passed);
    Ok((format!("{ran} tests{}", if passed { "" } else { ", not all passed" }), verdict(passed)))
}

fn trace(report: &Report, tolerance: f64) -> Answer {
    let pieces: Vec<_> = report.pieces.iter().filter(|piece| piece.stage == Stage::Trace).collect();
    let losses: Vec<f64> =
        pieces.iter().filter_map(|piece| piece.tests()).flat_map(|tests| tests.losses_within.clone()).collect();
    let Some(worst) = losses.iter().copied().reduce(|worst, of| if of <= worst { worst } else { of }) else {
        return Err(report.why_not(Stage::Trace, &[]));
    };
    let met = worst <= tolerance && pieces.iter().all(|piece| piece.status == Status::Passed);
    Ok((format!("{worst:.1e} in {} runs", losses.len()), verdict(met)))
}

#[cfg(test)]
#[path = "goals_tests.rs"]
mod tests;
