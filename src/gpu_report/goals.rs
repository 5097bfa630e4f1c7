//! The goals, and what was measured beside each.

use super::{
    GoalLine, GoalVerdict, PieceStatus, Report, Stage,
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

/// A figure with its verdict, or why there is none.
type Answer = Result<(String, GoalVerdict), String>;

/// Every goal with what the report has on it.
pub(super) fn lines(report: &Report) -> Vec<GoalLine> {
    let line = |goal: &Goal| {
        let (measured, verdict) = goal.answer(report).unwrap_or_else(|why| (why, GoalVerdict::NotMeasured));
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

fn verdict(met: bool) -> GoalVerdict {
    if met { GoalVerdict::Met } else { GoalVerdict::Missed }
}

fn step<'a>(report: &'a Report, precision: &str, fits: impl Fn(&Step) -> bool) -> Result<&'a Step, String> {
    let found = report
        .steps()
        .find(|record| is_model(&record.model, record.batch) && record.precision == precision && fits(record));
    found.ok_or_else(|| report.why_not(Stage::Steps, &[MODEL.0, precision]))
}

fn noise_cost(record: &Step, bar: f64) -> (String, GoalVerdict) {
    let (cost, error) = (record.noise_cost_percent, record.noise_cost_error);
    let verdict = match () {
        () if cost + error < bar => GoalVerdict::Met,
        () if cost - error >= bar => GoalVerdict::Missed,
        // NaN comes here too.
        () => GoalVerdict::Undecided,
    };
    (format!("{cost:+.2} ± {error:.2} %"), verdict)
}

fn timed<'a>(report: &'a Report, what: &str, fits: impl Fn(&Torch) -> bool) -> Result<&'a Torch, String> {
    let eager = report.torch().filter(|record| record.compile.is_none() && fits(record));
    let fastest = eager.min_by(|a, b| a.median_ms.total_cmp(&b.median_ms));
    fastest.ok_or_else(|| report.why_not(Stage::Torch, &[what]))
}

fn product(report: &Report, side: usize) -> Answer {
    let name = format!("Forward m {side}, n {side}, k {side}");
    let all = report.variants().filter(|record| record.precision == "f32").flat_map(|record| &record.operations);
    let chosen = all.filter(|record| record.operation == name).find_map(|record| record.chosen());
    let ours =
        chosen.and_then(|record| record.gflops).ok_or_else(|| report.why_not(Stage::Variants, &["product", "f32"]))?;
    let torch = timed(report, "", |record| record.matmul == Some(side) && record.precision == "f32");
    match torch.map(|record| record.gflops) {
        Ok(Some(theirs)) => {
            Ok((format!("{ours:.0} beside {theirs:.0}: {:.2}", ours / theirs), verdict(ours >= theirs)))
        }
        Ok(None) => Err(format!("{ours:.0}; PyTorch's rate is not a number")),
        Err(why) => Err(format!("{ours:.0}; PyTorch: {why}")),
    }
}

fn step_beside_torch(report: &Report, precision: &str, torch: &str) -> Answer {
    let record = step(report, precision, |_| true)?;
    let ours = record.batch as f64 / record.clean_median_ms * 1e3;
    let fits = |record: &Torch| {
        is_model(&record.model, record.batch) && record.noise == "none" && record.precision.starts_with(torch)
    };
    let theirs = timed(report, "", fits).map_err(|why| format!("{ours:.0}; PyTorch: {why}"))?;
    let theirs = theirs.batch as f64 / theirs.median_ms * 1e3;
    Ok((format!("{ours:.0} beside {theirs:.0}: {:.2}", ours / theirs), verdict(ours >= theirs)))
}

/// Whether a kernel is one of batch norm's that sum over the batch; the sweeps that only normalise are not.
fn sums_batch(line: &KernelLine) -> bool {
    line.kernel.starts_with("batch_norm") && (line.kernel.contains("moments") || line.kernel.contains("finish"))
}

/// The least milliseconds of a kernel: those of its bytes, or of as many dispatches that do nothing.
fn least_ms(line: &KernelLine, record: &Roofline) -> Option<f64> {
    let by_bytes = line.percent_of_ceiling? * line.ms / 100.0;
    Some(by_bytes.max(line.dispatches as f64 * record.ceilings.dispatch_us * 1e-3))
}

fn batch_norm(report: &Report, precision: &str, times: f64) -> Answer {
    let why = || report.why_not(Stage::Roofline, &[MODEL.0, precision]);
    let record = report
        .rooflines()
        .find(|record| is_model(&record.model, record.batch) && record.precision == precision)
        .ok_or_else(why)?;
    let kernels: Vec<_> = record.kernels.iter().filter(|line| sums_batch(line)).collect();
    if kernels.is_empty() {
        return Err("the adapter times no kernel of batch norm".to_owned());
    }
    let mut ratios = Vec::new();
    for line in &kernels {
        let least = least_ms(line, record).ok_or_else(|| format!("{}'s bytes are not known", line.kernel))?;
        ratios.push((line.ms / least, line.kernel.as_str()));
    }
    let ms: f64 = kernels.iter().map(|line| line.ms).sum();
    // In this order NaN is the largest.
    let (ratio, kernel) = ratios.into_iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((f64::NAN, ""));
    Ok((format!("{ratio:.1} times, {kernel}; all {ms:.2} ms a step"), verdict(ratio <= times)))
}

fn bit_equal(report: &Report) -> Answer {
    let rooms: Vec<_> = report.pieces.iter().filter(|piece| piece.title.contains("repeat")).collect();
    let count = rooms.iter().filter_map(|piece| piece.tests()).map(|tests| tests.finished()).sum::<usize>();
    if count == 0 {
        return Err(report.why_not(Stage::Correctness, &["repeat"]));
    }
    let passed = rooms.iter().all(|piece| piece.status == PieceStatus::Passed);
    Ok((format!("{count} tests{}", if passed { "" } else { ", not all passed" }), verdict(passed)))
}

fn trace(report: &Report, tolerance: f64) -> Answer {
    let pieces: Vec<_> = report.pieces.iter().filter(|piece| piece.stage == Stage::Trace).collect();
    let losses: Vec<f64> =
        pieces.iter().filter_map(|piece| piece.tests()).flat_map(|tests| tests.losses_within.clone()).collect();
    let Some(worst) = losses.iter().copied().reduce(|worst, record| if record <= worst { worst } else { record })
    else {
        return Err(report.why_not(Stage::Trace, &[]));
    };
    let met = worst <= tolerance && pieces.iter().all(|piece| piece.status == PieceStatus::Passed);
    Ok((format!("{worst:.1e} in {} runs", losses.len()), verdict(met)))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// A report of these lines of a ledger, each with what its output was.
    fn report(lines: &[(&str, &str)]) -> Report {
        let folder = tempfile::tempdir().unwrap();
        let mut ledger = String::new();
        for (index, (line, output)) in lines.iter().enumerate() {
            // The last field of what was skipped is its reason.
            let last = if line.contains("skipped") { "no PyTorch".to_owned() } else { index.to_string() };
            ledger.push_str(&format!("{line}\t{last}\n"));
            std::fs::write(folder.path().join(format!("{index}.out")), output).unwrap();
        }
        std::fs::write(folder.path().join("ledger.tsv"), ledger).unwrap();
        Report::read(folder.path()).unwrap()
    }

    fn step(noise: &str, clean_ms: f64, cost: f64) -> String {
        format!(
            r#"{{"adapter": "GPU", "model": "resnet18", "batch": 128, "precision": "f32", "noise": "{noise}", "median_ms": 20.0,
            "clean_median_ms": {clean_ms}, "noise_cost_percent": {cost}, "noise_cost_error": 0.1, "rounds": 9, "host_ms": 1.0,
            "first_step_ms": 100.0}}"#
        )
    }

    fn torch(precision: &str, noise: &str, ms: f64) -> String {
        format!(
            r#"{{"version": "2", "adapter": "GPU", "precision": "{precision}", "model": "resnet18", "batch": 128, "noise": "{noise}", "median_ms": {ms}, "first_step_ms": 1.0}}"#
        )
    }

    fn find<'a>(report: &'a Report, goal: &str) -> &'a GoalLine {
        report.goals.iter().find(|line| line.goal.starts_with(goal)).unwrap()
    }

    #[test]
    fn nothing_measured_meets_nothing() {
        let report = report(&[]);
        assert_eq!(report.goals.len(), GOALS.len());
        for line in &report.goals {
            assert_eq!(line.verdict, GoalVerdict::NotMeasured, "{line:?}");
            assert!(line.measured.contains("not reached"), "{line:?}");
        }
        assert!(!report.correct() && !report.complete());
    }

    #[test]
    fn noise_is_held_against_its_bar_with_its_error() {
        for (cost, verdict) in [(0.3, GoalVerdict::Met), (0.45, GoalVerdict::Undecided), (0.7, GoalVerdict::Missed)] {
            let report = report(&[("e\tstep\tresnet18 f32 layer\t0\t1", &step("layer", 19.0, cost))]);
            assert_eq!(find(&report, "noise layer, resnet18 batch 128 f32").verdict, verdict, "{cost}");
            assert_eq!(find(&report, "noise all, resnet18 batch 128 f32").verdict, GoalVerdict::NotMeasured);
        }
    }

    #[test]
    fn a_step_is_held_against_the_fastest_eager_one_of_its_precision() {
        let compiled = torch("f32", "none", 1.0).replacen('{', r#"{"compile": "default", "#, 1);
        let lines = [torch("f32", "none", 25.0), torch("f32", "all", 1.0), torch("tf32", "none", 1.0), compiled];
        let ours = ("e\tstep\tresnet18 f32 layer\t0\t1", step("layer", 20.0, 0.3));
        let with = report(&[(ours.0, &ours.1), ("f\ttorch\tsteps\t0\t1", &lines.join("\n"))]);
        let goal = find(&with, "resnet18 batch 128 f32");
        assert_eq!((goal.measured.as_str(), goal.verdict), ("6400 beside 5120: 1.25", GoalVerdict::Met));
        let without = report(&[(ours.0, &ours.1), ("f\ttorch\tsteps\tskipped\t0", "")]);
        let goal = find(&without, "resnet18 batch 128 f32");
        assert_eq!(goal.verdict, GoalVerdict::NotMeasured);
        assert!(goal.measured.starts_with("6400; PyTorch: not measured: steps: no PyTorch"), "{}", goal.measured);
    }

    #[test]
    fn products_are_held_against_the_variant_that_is_taken() {
        let variants = r#"{"precision": "f32", "operations": [{"operation": "Forward m 4096, n 4096, k 4096", "variants": [
            {"variant": "Block64", "chosen": true, "median_ms": 4.0, "gflops": 34000.0},
            {"variant": "Block128", "chosen": false, "median_ms": 3.0, "gflops": 46000.0}]}]}"#;
        let cublas = r#"{"version": "2", "adapter": "GPU", "precision": "f32", "matmul": 4096, "median_ms": 3.0, "gflops": 45000.0, "first_step_ms": 1.0}"#;
        let report = report(&[("d\tvariants\tproduct f32\t0\t1", variants), ("f\ttorch\tall\t0\t1", cublas)]);
        let goal = find(&report, "f32 product");
        assert_eq!((goal.measured.as_str(), goal.verdict), ("34000 beside 45000: 0.76", GoalVerdict::Missed));
    }

    #[test]
    fn batch_norm_is_held_against_its_bytes_and_dispatches() {
        let roofline = |ms: f64| {
            format!(
                r#"{{"adapter": "GPU", "driver": "1", "model": "resnet18", "batch": 128, "precision": "f32", "step_ms": 20.0,
                "host_ms": 1.0, "kernels_ms": 19.0, "ceilings": {{"f32_gflops": 6e4, "f16_gflops": null, "dispatch_us": 2.0,
                "submit_us": 9.0, "bandwidth": []}}, "kernels": [
                {{"kernel": "batch_norm_apply", "dispatches": 20, "ms": 90.0, "percent_of_ceiling": 1.0, "bytes": 1}},
                {{"kernel": "batch_norm_moments", "dispatches": 20, "ms": 0.4, "percent_of_ceiling": 50.0, "bytes": 1}},
                {{"kernel": "batch_norm_finish", "dispatches": 20, "ms": {ms}, "percent_of_ceiling": 0.1, "bytes": 1}}]}}"#
            )
        };
        // 20 dispatches take 0.04 ms.
        for (ms, verdict) in [(0.12, GoalVerdict::Met), (0.2, GoalVerdict::Missed)] {
            let report = report(&[("c\troofline\tresnet18 f32\t0\t1", &roofline(ms))]);
            assert_eq!(find(&report, "batch norm").verdict, verdict, "{}", find(&report, "batch norm").measured);
        }
    }

    #[test]
    fn repeats_and_the_trace_have_to_pass() {
        let rooms = |exit: i32, result: &str| {
            let (room, trace) = (format!("b\ttests\ttrain::repeat\t{exit}\t1"), format!("g\ttests\ttrace\t{exit}\t1"));
            let text =
                format!("test train::repeat::a ... {result}\nmlp1: losses within 2e-6\ncnn1: losses within 1e-7\n");
            report(&[(&room, &text), (&trace, &text)])
        };
        let good = rooms(0, "ok");
        assert_eq!(find(&good, "repeated").verdict, GoalVerdict::Met);
        assert_eq!(find(&good, "losses").measured, "2.0e-6 in 2 runs");
        assert_eq!(find(&good, "losses").verdict, GoalVerdict::Met);
        assert!(good.correct());
        let bad = rooms(101, "FAILED");
        assert_eq!(find(&bad, "repeated").verdict, GoalVerdict::Missed);
        assert_eq!(find(&bad, "losses").verdict, GoalVerdict::Missed);
        assert!(!bad.correct());
    }
}
