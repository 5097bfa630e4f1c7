//! What `jostle bench --rule` and `--rules` measure and print.

use std::str::FromStr;

use jostle::{
    bench::{RuleAgainst, RuleReport, RuleStep, StepWork},
    report::Table,
    rules::RuleKind,
    train::RunConfig,
};

use super::{CliError, Context, keys, train::kernel_times};

/// Rules by name, in the order given.
#[derive(Clone, Debug)]
pub(super) struct Rules(Vec<RuleKind>);

impl FromStr for Rules {
    type Err = <RuleKind as FromStr>::Err;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "all" => Ok(Self(RuleKind::ALL.into())),
            _ => text.split(',').map(str::parse).collect::<Result<_, _>>().map(Self),
        }
    }
}

impl Rules {
    /// A run by each, with the published defaults of its rule under what the command line gives.
    pub(super) fn configs(&self, context: &Context) -> Result<Vec<RunConfig>, CliError> {
        if context.options.gives("rule") {
            return Err(CliError::Usage("rules: give them or a single rule, found both".to_owned()));
        }
        let config = |rule: &RuleKind| keys::bench_config(context, RunConfig::published(*rule));
        self.0.iter().map(config).collect()
    }
}

pub(super) fn text(report: &RuleReport) -> String {
    let RuleReport { model, batch, precision, optimizer, adapter, .. } = report;
    let title = format!("{model}, batch {batch}, {precision}, {optimizer}, on {adapter}");
    let header = ["rule", "ms", "plain ms", "ratio to plain", "gradients", "losses", "passes", "rounds"];
    let mut text = Table::new(&title, &header, report.rules.iter().map(row).collect()).to_text();
    for step in &report.rules {
        if let Some(adam) = &step.noisy_adam {
            let (rule, ratio, ms) = (&step.rule, ratio(adam, step.rounds), adam.ms);
            text.push_str(&format!("{rule} over adam with noise all: {ratio} ({:.3} and {ms:.3} ms)\n", step.ms));
        }
    }
    let steps = report.rules.iter().map(|step| (step.rule.as_str(), &step.work));
    for (name, work) in [("plain", &report.plain)].into_iter().chain(steps) {
        if let Some(kernels) = &work.kernels {
            text.push_str(&format!("\n{name}\n{}", kernel_times(kernels)));
        }
    }
    text
}

fn row(step: &RuleStep) -> Vec<String> {
    let ms = |ms: f64| format!("{ms:.3}");
    let StepWork { gradients, losses, passes, .. } = &step.work;
    let counts = [format!("{gradients:.1}"), format!("{losses:.1}"), passes.to_string(), step.rounds.to_string()];
    let times = [step.rule.clone(), ms(step.ms), ms(step.plain.ms), ratio(&step.plain, step.rounds)];
    times.into_iter().chain(counts).collect()
}

fn ratio(against: &RuleAgainst, rounds: u32) -> String {
    match rounds {
        0 | 1 => format!("{:.3} (one round: no standard error)", against.ratio),
        _ => format!("{:.3} ± {:.3}", against.ratio, against.ratio_error),
    }
}
