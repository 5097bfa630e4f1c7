//! `jostle compare`

use std::{path::PathBuf, sync::atomic::Ordering};

use jostle::{
    experiments::{
        Bar, Claim, Evidence, Verdict, arm_figure,
        comparisons::{Comparison, judge_family},
        statistics::paired_differences,
    },
    noise::Mode,
    report::{Block, HtmlReport, MeanSd, Section, Table},
    train::{Arm, ArmRuns, Control, EpochRecord, Event, MetricsFiles, RunConfig, compare},
};
use serde_json::json;

use super::{
    CliError, Context, Exit,
    output::{interrupt_flag, progress, run_folder, write_text},
};

/// Options of `jostle compare`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// A TOML file with the keys of `jostle train`
    #[arg(long, value_name = "FILE.toml")]
    config: Option<PathBuf>,
    /// Noise modes, a list such as none,all,layer
    #[arg(long, value_delimiter = ',', default_value = "none,all,layer")]
    modes: Vec<Mode>,
    /// Sigmas of the noisy modes; the configuration's where not given
    #[arg(long, value_delimiter = ',')]
    sigmas: Vec<f64>,
    /// Learning rates; the configuration's where not given
    #[arg(long, value_delimiter = ',')]
    lrs: Vec<f64>,
    /// Seeds per arm: the configuration's seed and those after it
    #[arg(long, default_value_t = 3)]
    seeds: u64,
    /// Estimate the Hessian trace of each trained network with this many probes, 0 for none
    #[arg(long, value_name = "PROBES", default_value_t = 0)]
    hessian: u32,
    /// Folder for the report, the figure, the table and the metrics
    #[arg(long, value_name = "DIR", default_value = "runs/compare")]
    out: PathBuf,
    /// Write into a folder that holds a comparison already
    #[arg(long)]
    overwrite: bool,
}

/// Every combination; mode `none` has no sigma to vary.
fn arms(config: &RunConfig, args: &Args) -> Vec<Arm> {
    let sigmas = if args.sigmas.is_empty() { vec![config.sigma] } else { args.sigmas.clone() };
    let lrs = if args.lrs.is_empty() { vec![config.lr] } else { args.lrs.clone() };
    let mut arms = Vec::new();
    for noise in &args.modes {
        let sigmas_of_mode = if *noise == Mode::None { &[0.0][..] } else { &sigmas };
        for sigma in sigmas_of_mode {
            for lr in &lrs {
                let mut label = noise.to_string();
                if sigmas.len() > 1 && *noise != Mode::None {
                    label.push_str(&format!(" σ {sigma}"));
                }
                if lrs.len() > 1 {
                    label.push_str(&format!(" lr {lr}"));
                }
                let config = RunConfig { noise: *noise, sigma: *sigma, lr: *lr, ..config.clone() };
                arms.push(Arm { label, config });
            }
        }
    }
    arms
}

pub(super) fn run(context: &Context, args: &Args) -> Result<Exit, CliError> {
    let config = RunConfig::resolve(args.config.as_deref(), &context.options)?;
    if args.seeds == 0 {
        return Err(CliError::Usage("--seeds: at least 1".to_owned()));
    }
    let out = run_folder(&args.out, "compare.json", args.overwrite)?;
    let gpu = context.gpu()?;
    let arms = arms(&config, args);
    let seeds: Vec<u64> = (config.seed..config.seed + args.seeds).collect();
    let runs = arms.len() as u64 * args.seeds;
    eprintln!("{} arms x {} seeds on {}", arms.len(), args.seeds, gpu.adapter_name());
    let interrupt = interrupt_flag();
    let bar = progress(0);
    let mut metrics = MetricsFiles::new(&out);
    let mut finish = |trainer: &jostle::train::Trainer<'_>| {
        (args.hessian > 0).then(|| trainer.traces(None, args.hessian)).transpose()
    };
    let results = compare(&gpu, arms, &seeds, &mut finish, &mut |arm, seed, event| {
        let name = format!("{}-seed{seed}", arm.label.replace(' ', "-").replace('σ', "sigma"));
        let file = metrics.file(&name)?;
        match event {
            Event::Progress { step, total } => {
                bar.set_length(runs * total);
                bar.set_position(metrics.finished() * total + step);
                bar.set_message(name);
            }
            Event::Step(record) => file.step(&record)?,
            Event::Epoch(record) => file.epoch(&record)?,
        }
        Ok(if interrupt.load(Ordering::SeqCst) { Control::Stop } else { Control::Continue })
    })?;
    bar.finish_and_clear();
    let interrupted = interrupt.load(Ordering::SeqCst);
    let summary = Summary { config: &config, adapter: gpu.adapter_name().to_owned(), results: &results };
    let table = summary.write(&out)?;
    let text = format!("{}\n{}\nwritten to {}", table.to_text(), summary.differences().to_text(), out.display());
    context.print(&summary.json(), &text)?;
    Ok(if interrupted { Exit::Interrupted } else { Exit::Done })
}

/// Of a run's last evaluation, where it was measured.
type Quantity = fn(&EpochRecord) -> Option<f64>;

/// What a comparison found.
struct Summary<'a> {
    config: &'a RunConfig,
    adapter: String,
    results: &'a [ArmRuns],
}

/// A column of what was measured at the end of each run.
struct Column {
    name: &'static str,
    decimals: usize,
    value: Quantity,
}

const fn column(name: &'static str, decimals: usize, value: Quantity) -> Column {
    Column { name, decimals, value }
}

const TEST_ACCURACY: Column = column("test accuracy %", 2, |end| Some(100.0 * end.scores.test_accuracy?));
const TEST_LOSS: Column = column("test loss", 4, |end| end.scores.test_loss);
const SCORES: [Column; 5] = [
    column("validation accuracy %", 2, |end| Some(100.0 * end.scores.validation_accuracy?)),
    column("validation loss", 4, |end| end.scores.validation_loss),
    TEST_ACCURACY,
    TEST_LOSS,
    column("train loss", 4, |end| end.scores.train_loss),
];

impl Column {
    /// At the end of each run of an arm; NaN where it diverged or that was not measured.
    fn values(&self, arm: &ArmRuns) -> Vec<f64> {
        arm.runs.iter().map(|run| run.end().and_then(self.value).unwrap_or(f64::NAN)).collect()
    }

    /// Of the runs that have one.
    fn measured(&self, arm: &ArmRuns) -> Vec<f64> {
        arm.runs.iter().filter_map(|run| (self.value)(run.end()?)).collect()
    }
}

impl Summary<'_> {
    fn table(&self) -> Table {
        let diverged = |arm: &ArmRuns| arm.runs.iter().filter(|run| run.diverged()).count();
        let l2_norm = column("l2 norm", 2, |end| Some(end.l2_norm));
        let measured = |column: &&Column| self.results.iter().any(|arm| !column.measured(arm).is_empty());
        let scores: Vec<&Column> = SCORES.iter().filter(measured).collect();
        let row = |arm: &ArmRuns| {
            let cell = |column: &Column| MeanSd::new(column.measured(arm)).text(column.decimals);
            let hessian = MeanSd::new(arm.traces.iter().map(|traces| traces.hessian.trace)).text(1);
            let gauss_newton = MeanSd::new(arm.traces.iter().map(|traces| traces.gauss_newton.trace)).text(1);
            let mut row = vec![arm.arm.label.clone(), arm.runs.len().to_string()];
            row.extend(scores.iter().map(|column| cell(column)));
            row.extend([hessian, gauss_newton, cell(&l2_norm), diverged(arm).to_string()]);
            row
        };
        let mut headers = vec!["arm", "seeds"];
        headers.extend(scores.iter().map(|column| column.name));
        headers.extend(["Hessian trace", "Gauss-Newton trace", l2_norm.name, "diverged"]);
        let title = "At the end, clean weights: mean ± sd over the seeds that did not diverge";
        Table::new(title, &headers, self.results.iter().map(row).collect())
    }

    /// Every other arm less the first in accuracy and test loss: one family of comparisons.
    fn differences(&self) -> Table {
        let mut family = Vec::new();
        if let [first, others @ ..] = self.results {
            for (arm, column) in others.iter().flat_map(|arm| [TEST_ACCURACY, TEST_LOSS].map(|column| (arm, column))) {
                let differences = paired_differences(&column.values(arm), &column.values(first));
                let statement = format!("{} less {}: {}", arm.arm.label, first.arm.label, column.name);
                family.push(Comparison { id: String::new(), statement, differences, bar: Bar::AtLeast(0.0) });
            }
        }
        let words = |claim: &Claim| match (&claim.measured.evidence, claim.verdict()) {
            (Evidence::Nothing { reason }, _) => format!("not told from 0: {reason}"),
            (_, Verdict::Holds) => "higher".to_owned(),
            (_, Verdict::Fails) => "lower".to_owned(),
            _ => "not told from 0".to_owned(),
        };
        let row = |claim: &Claim| vec![claim.statement.clone(), claim.measured.text(), words(claim)];
        let title = "Differences, paired over seeds: intervals after Bonferroni, p after Holm, at 5 % together";
        Table::new(title, &["arm", "difference", ""], judge_family(&family).iter().map(row).collect())
    }

    fn json(&self) -> serde_json::Value {
        let arms: Vec<_> = self
            .results
            .iter()
            .map(|arm| {
                let runs: Vec<_> = arm
                    .runs
                    .iter()
                    .enumerate()
                    .map(|(i, run)| {
                        json!({
                            "seed": arm.seeds[i], "status": format!("{:?}", run.status), "epochs": run.epochs,
                            "best": run.best, "traces": arm.traces.get(i),
                        })
                    })
                    .collect();
                json!({ "label": arm.arm.label, "data": arm.data, "config": arm.arm.config, "runs": runs })
            })
            .collect();
        json!({ "adapter": self.adapter, "table": self.table(), "arms": arms })
    }

    fn write(&self, out: &std::path::Path) -> Result<Table, CliError> {
        let table = self.table();
        let data = self.results.first().map_or(self.config.data.as_str(), |arm| arm.data.as_str());
        let title = format!("Noise modes: {} on {data}", self.config.model);
        let figure = arm_figure(&title, self.results);
        figure.save(&out.join("compare"))?;
        write_text(&out.join("compare.json"), &serde_json::to_string_pretty(&self.json())?)?;
        write_text(&out.join("table.md"), &table.to_markdown())?;
        let resolved = toml::to_string(self.config).map_err(|error| CliError::Usage(error.to_string()))?;
        write_text(&out.join("config.toml"), &resolved)?;
        let mut settings = vec![("adapter".to_owned(), self.adapter.clone())];
        // Arms differ in noise and learning rate only, so that they have their data in common.
        settings.extend(self.results.first().map(|arm| ("training data".to_owned(), arm.data.clone())));
        let section = |heading: &str, blocks| Section { heading: heading.to_owned(), blocks };
        let report = HtmlReport {
            title,
            lead: vec![
                "Before every gradient, noise is added to the weights: to none, to all groups (sigma / sqrt(M)), or \
                 to one group a step (layer); the step then moves the clean weights. All three add the same \
                 expected penalty or none; they differ in variance."
                    .to_owned(),
            ],
            sections: vec![
                section("Result", vec![Block::Table(table.clone()), Block::Table(self.differences())]),
                section("Curves", vec![Block::Figure(figure)]),
                section("How to read this", reading()),
                section("Configuration", vec![Block::KeyValues(settings), Block::Code(resolved)]),
            ],
        };
        report.save(&out.join("report.html"))?;
        Ok(table)
    }
}

fn reading() -> Vec<Block> {
    [
        "Accuracy and losses are measured at the clean weights after the last epoch; the spread is the sample standard \
         deviation over seeds, each with its own initialisation, noise and order of batches, on the same data.",
        "The traces are those of the training loss' Hessian and of its Gauss-Newton part: Hutchinson's estimator with \
         Rademacher probes and exact products. The noise penalises the trace of the Hessian, so a noisy arm should end \
         with less of it; a smaller trace does not by itself promise a better test accuracy.",
        "Differences are those of runs of the same seed. Those between several arms are read together: the more there are, the \
         clearer each has to be.",
    ]
    .map(|text| Block::Paragraph(text.to_owned()))
    .into()
}
