//! Arms side by side: the table, the differences and the page of `jostle compare`.

use std::{fs, path::Path};

use serde_json::json;

use crate::{
    report::{Block, Figure, HtmlReport, MeanSd, Section, Table},
    train::{ArmRuns, EpochRecord, RunConfig, StepCost, TrainError},
};

use super::{
    Bar, Claim, Evidence, ExperimentError, RuleComparison, Verdict, arm_figure,
    comparisons::{Comparison, judge_family},
    statistics::paired_differences,
};

/// Of a run's last evaluation, where it was measured.
type Quantity = fn(&EpochRecord) -> Option<f64>;

/// What a comparison found.
#[derive(Debug)]
pub struct ComparisonReport<'a> {
    /// What the arms have in common.
    pub config: &'a RunConfig,
    /// What measured them.
    pub adapter: String,
    /// The arms' runs.
    pub results: &'a [ArmRuns],
    /// How arms of rules were made comparable; `None` where they are noise modes, sigmas and learning rates.
    pub rules: Option<&'a RuleComparison>,
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
const SCORES: [Column; 7] = [
    column("validation accuracy %", 2, |end| Some(100.0 * end.scores.validation_accuracy?)),
    column("validation loss", 4, |end| end.scores.validation_loss),
    TEST_ACCURACY,
    TEST_LOSS,
    column("test Brier", 4, |end| Some(end.quality?.brier)),
    column("test ECE", 4, |end| Some(end.quality?.ece)),
    column("train loss", 4, |end| end.scores.train_loss),
];

/// What a step costs, beside what it is worth.
const COST: [&str; 3] = ["ms a step", "passes", "gradient evaluations a sample"];

fn cost(arm: &ArmRuns) -> [String; 3] {
    let StepCost { passes, gradient_evaluations, .. } = arm.cost;
    let milliseconds = arm.step_milliseconds().map_or("-".to_owned(), |time| format!("{time:.2}"));
    [milliseconds, passes.to_string(), format!("{gradient_evaluations:.2}")]
}

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

impl ComparisonReport<'_> {
    /// What every arm ended with.
    #[must_use]
    pub fn table(&self) -> Table {
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
            row.extend(cost(arm));
            row.extend([hessian, gauss_newton, cell(&l2_norm), diverged(arm).to_string()]);
            row
        };
        let mut headers = vec!["arm", "seeds"];
        headers.extend(scores.iter().map(|column| column.name));
        headers.extend(COST);
        headers.extend(["Hessian trace", "Gauss-Newton trace", l2_norm.name, "diverged"]);
        let title = "At the end, clean weights: mean ± sd over the seeds that did not diverge";
        Table::new(title, &headers, self.results.iter().map(row).collect())
    }

    /// Every other arm less the first in accuracy and test loss: one family of comparisons.
    #[must_use]
    pub fn differences(&self) -> Table {
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

    /// Everything, for programs.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
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
                json!({
                    "label": arm.arm.label, "data": arm.data, "config": arm.arm.config, "runs": runs, "cost": arm.cost,
                    "step_milliseconds": arm.step_milliseconds(),
                })
            })
            .collect();
        let rules = self.rules.map(RuleComparison::json);
        json!({ "adapter": self.adapter, "table": self.table(), "arms": arms, "rules": rules })
    }

    /// The curves, mean over seeds.
    #[must_use]
    pub fn figure(&self) -> Figure {
        arm_figure(&self.title(), self.results)
    }

    fn title(&self) -> String {
        let data = self.results.first().map_or(self.config.data.as_str(), |arm| arm.data.as_str());
        let arms = if self.rules.is_some() { "Rules" } else { "Noise modes" };
        format!("{arms}: {} on {data}", self.config.model)
    }

    /// Writes figure, table, page, configuration and everything for programs into a folder.
    ///
    /// # Errors
    /// [`ExperimentError`] naming figure or file.
    pub fn write(&self, out: &Path) -> Result<(), ExperimentError> {
        let write = |name: &str, text: &str| {
            let path = out.join(name);
            fs::write(&path, text).map_err(|source| ExperimentError::Io { path, source })
        };
        self.figure().save(&out.join("compare"))?;
        write("compare.json", &format!("{:#}", self.json()))?;
        write("table.md", &self.table().to_markdown())?;
        let resolved = toml::to_string(self.config)
            .map_err(|error| TrainError::Config { key: "configuration".to_owned(), reason: error.to_string() })?;
        write("config.toml", &resolved)?;
        Ok(self.page(&resolved).save(&out.join("report.html"))?)
    }

    /// Tables, curves and configuration, which is given as text, on a page.
    fn page(&self, resolved: &str) -> HtmlReport {
        let mut settings = vec![("adapter".to_owned(), self.adapter.clone())];
        // Arms differ in their steps only, so that they have their data in common.
        settings.extend(self.results.first().map(|arm| ("training data".to_owned(), arm.data.clone())));
        let section = |heading: &str, blocks| Section { heading: heading.to_owned(), blocks };
        let mut sections = vec![section("Result", vec![Block::Table(self.table()), Block::Table(self.differences())])];
        sections.extend(self.rules.map(|rules| section("Lengths and choices", choices(rules, self.results))));
        sections.extend([
            section("Curves", vec![Block::Figure(self.figure())]),
            section("How to read this", reading()),
            section("Configuration", vec![Block::KeyValues(settings), Block::Code(resolved.to_owned())]),
        ]);
        HtmlReport { title: self.title(), lead: vec![self.lead().to_owned()], sections }
    }

    fn lead(&self) -> &'static str {
        match self.rules {
            Some(_) => {
                "An arm is a rule: what a training step does with weights, noise and gradients. Each takes its gradients \
                 somewhere else, at noisy weights, at weights that were moved uphill, or at the clean ones, and then moves the clean \
                 weights. What a rule does not say is the same in all arms."
            }
            None => {
                "Before every gradient, noise is added to the weights: to none, to all groups (sigma / sqrt(M)), or \
                 to one group a step (layer); the step then moves the clean weights. All three add the same \
                 expected penalty or none; they differ in variance."
            }
        }
    }
}

/// How long arms were, and what of them was chosen.
fn choices(rules: &RuleComparison, results: &[ArmRuns]) -> Vec<Block> {
    let mut blocks = vec![Block::Table(rules.lengths(results))];
    blocks.extend(rules.grid().map(Block::Table));
    let left_out = rules.left_out().join(", ");
    if !left_out.is_empty() {
        blocks.push(Block::Paragraph(format!("Left out, as every run to choose by diverged: {left_out}.")));
    }
    blocks
}

fn reading() -> Vec<Block> {
    [
        "Accuracy and losses are measured at the clean weights after the last epoch; the spread is the sample standard \
         deviation over seeds, each with its own initialisation, noise and order of batches, on the same data.",
        "Brier is the mean squared distance of the predicted probabilities from the label, summed over classes; ECE the expected \
         calibration error over 15 bins of the largest probability. Both are of the test data.",
        "The traces are those of the training loss' Hessian and of its Gauss-Newton part: Hutchinson's estimator with \
         Rademacher probes and exact products. The noise penalises the trace of the Hessian, so a noisy arm should end \
         with less of it; a smaller trace does not by itself promise a better test accuracy.",
        "Milliseconds a step are the median over the evaluations of all runs, each of the time since the one before. Of gradient \
         evaluations a forward and a backward pass over all samples of a step are 1, a forward pass alone is 1/3.",
        "Differences are those of runs of the same seed. Those between several arms are read together: the more there are, the \
         clearer each has to be.",
    ]
    .map(|text| Block::Paragraph(text.to_owned()))
    .into()
}
