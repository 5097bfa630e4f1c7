//! A step of each rule in units of a plain step, in one process, taking turns.

use serde::Serialize;

use crate::{
    gpu::{Gpu, KernelTime},
    nn::Model,
    noise::{Mode, Scale},
    optim::OptimizerKind,
    rules::{Compiled, RuleKind},
    train::{Precision, Prepared, RunConfig, TrainError},
};

use super::{
    runner::{Runner, prepared},
    turns::{Rounds, Turns},
};

/// What to time: rules, each beside a plain step (rule noise, mode none) of the same model, batch, precision and optimizer, on
/// random samples that lie on the device. Beside a rule with an update of its own stands SGD with momentum.
///
/// Every rule has a trainer of its own, since rules differ in their arenas (mezo's has no gradients), in what their passes are
/// planned for and in their optimizer's state. Two trainers of the very same step may differ by where their memory lies, by 2 %
/// on an H200: where several rules are timed, a first line has a plain step beside another.
#[derive(Clone, Debug)]
pub struct RuleBench {
    /// The runs, a rule each and all of one model, batch and precision; their data are not used, nor the model but for the report.
    pub configs: Vec<RunConfig>,
    /// The model of the steps.
    pub model: Model,
    /// Timed steps of each kind, for each rule.
    pub steps: u32,
    /// Rounds over which a rule's steps and plain ones alternate; the shorter they are, the less a drifting clock weighs.
    pub rounds: u32,
    /// No further round of a rule begins after this long, once there are three.
    pub seconds: f64,
    /// Whether to time every kernel as well, in steps of their own.
    pub profile: bool,
}

/// What a step looks at, and its kernels.
#[derive(Clone, Debug, Serialize)]
pub struct StepWork {
    /// Gradients over all of a step's samples; one over a part of them counts as its share.
    pub gradients: f64,
    /// Losses over all of a step's samples without a gradient.
    pub losses: f64,
    /// Passes over samples, whatever their number.
    pub passes: usize,
    /// Time per kernel, if asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernels: Option<Vec<KernelTime>>,
}

/// A rule's step over another one.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct RuleAgainst {
    /// Milliseconds of the other, median over the same rounds.
    pub ms: f64,
    /// Median over paired rounds of the rule's time over the other's.
    pub ratio: f64,
    /// Standard error of that median, from the rounds' interquartile range as if they were normal.
    pub ratio_error: f64,
}

/// The step of a rule.
#[derive(Clone, Debug, Serialize)]
pub struct RuleStep {
    /// The rule; of rule noise with its mode, and `plain` where that is none.
    pub rule: String,
    /// Milliseconds from one step's end to the next's, median.
    pub ms: f64,
    /// What it does.
    #[serde(flatten)]
    pub work: StepWork,
    /// Over a plain step.
    pub plain: RuleAgainst,
    /// Of rule ivon: over a step of Adam with noise in mode all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noisy_adam: Option<RuleAgainst>,
    /// Rounds that were run.
    pub rounds: u32,
}

/// What was measured.
#[derive(Clone, Debug, Serialize)]
pub struct RuleReport {
    /// The adapter.
    pub adapter: String,
    /// The model.
    pub model: String,
    /// Samples a step.
    pub batch: usize,
    /// How activations and effective weights are stored.
    pub precision: Precision,
    /// The optimizer of the plain step, and of rules without an update of their own.
    pub optimizer: OptimizerKind,
    /// What the plain step does.
    pub plain: StepWork,
    /// The rules in the order asked for.
    pub rules: Vec<RuleStep>,
}

impl RuleBench {
    /// Measures.
    ///
    /// # Errors
    /// Those of the device; [`TrainError::Config`] for no rule at all.
    pub fn run(&self, gpu: &Gpu) -> Result<RuleReport, TrainError> {
        let Some(first) = self.configs.first() else {
            let reason = "there is none to time".to_owned();
            return Err(TrainError::Config { key: "rules".to_owned(), reason });
        };
        let plain_config = plain(first);
        let prepared = prepared(&self.model, first.batch, first.loss);
        let mut plain = Runner::by_rule(gpu, &plain_config, &prepared)?;
        let control = Some(&plain_config).filter(|_| self.configs.len() > 1);
        let rule = |config: &RunConfig| self.rule(gpu, &mut plain, config, &prepared);
        let rules = control.into_iter().chain(&self.configs).map(rule).collect::<Result<_, _>>()?;
        Ok(RuleReport {
            adapter: gpu.adapter_name().to_owned(),
            model: first.model.clone(),
            batch: first.batch,
            precision: first.precision,
            optimizer: plain_config.optimizer,
            plain: self.work(&mut plain)?,
            rules,
        })
    }

    fn rule<'g>(
        &self,
        gpu: &'g Gpu,
        plain: &mut Runner<'g>,
        config: &RunConfig,
        prepared: &Prepared,
    ) -> Result<RuleStep, TrainError> {
        let start = |config: &RunConfig| Runner::by_rule(gpu, config, prepared);
        let mut rule = start(config)?;
        let mut adam = (config.rule == RuleKind::Ivon).then(|| start(&noisy_adam(config))).transpose()?;
        let each = self.steps.div_ceil(self.rounds.max(1)).max(1).next_multiple_of(rule.cycle(config.noise));
        let mut steps: Vec<&mut Runner<'g>> =
            [Some(&mut *plain), Some(&mut rule), adam.as_mut()].into_iter().flatten().collect();
        steps.iter_mut().try_for_each(|step| step.warm_up())?;
        let rounds = Rounds { most: self.rounds, seconds: self.seconds };
        let turns = Turns::take(steps.len(), rounds, |number| steps[number].time(each))?;
        let against = |base: usize| {
            let (ratio, ratio_error) = turns.ratio(RULE, base);
            RuleAgainst { ms: turns.median(base), ratio, ratio_error }
        };
        Ok(RuleStep {
            rule: name(config),
            ms: turns.median(RULE),
            work: self.work(&mut rule)?,
            plain: against(PLAIN),
            noisy_adam: adam.is_some().then(|| against(ADAM)),
            rounds: turns.rounds(),
        })
    }

    fn work(&self, runner: &mut Runner<'_>) -> Result<StepWork, TrainError> {
        let compiled: &Compiled = runner.trainer.rule();
        let (gradients, losses, passes) = (compiled.gradients(), compiled.losses(), compiled.phases().len());
        let kernels = self.profile.then(|| runner.kernels(self.steps)).transpose()?;
        Ok(StepWork { gradients, losses, passes, kernels })
    }
}

/// The contenders of a rule, in order.
const PLAIN: usize = 0;
const RULE: usize = 1;
const ADAM: usize = 2;

fn name(config: &RunConfig) -> String {
    match (config.rule, config.noise) {
        (RuleKind::Noise, Mode::None) => "plain".to_owned(),
        (rule, Mode::None) => rule.to_string(),
        (rule, mode) => format!("{rule} {mode}"),
    }
}

/// The plain step of a rule's run. What the numbers of an optimizer are makes no difference, but for whether they are 0.
fn plain(config: &RunConfig) -> RunConfig {
    let RunConfig { momentum, weight_decay, decay, .. } = match config.rule.updates() {
        true => RunConfig::default(),
        false => config.clone(),
    };
    RunConfig {
        rule: RuleKind::Noise,
        noise: Mode::None,
        // In units of filter norms noise, though none, has a sweep of its own.
        noise_scale: Scale::Absolute,
        momentum,
        weight_decay,
        decay,
        ..config.clone()
    }
}

/// What rule ivon is measured by: as many moments and as many draws.
fn noisy_adam(config: &RunConfig) -> RunConfig {
    RunConfig { optimizer: OptimizerKind::Adam, noise: Mode::All, ..plain(config) }
}
