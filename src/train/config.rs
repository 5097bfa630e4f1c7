//! The configuration of a run: one flat set of keys, the same on the command line, in a TOML file and in the library.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    data::BatchOrder,
    graph::Loss,
    noise::{Distribution, GroupOrder, Grouping, Mode, NoiseConfig, Scale, SigmaSchedule},
    optim::{LearningRate, LearningRateSchedule, OptimizerConfig, OptimizerKind},
};

use super::TrainError;

/// Options as given: absent ones keep the value of the file or the default.
///
/// Noise: `none` w; `all` w + sigma/sqrt(M) N(0, 1) on every group; `layer` w + sigma N(0, 1) on one group a step;
/// `model` w + sigma N(0, 1) on everything. M is the number of groups.
#[derive(Clone, Debug, Default, Serialize, clap::Args)]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    /// Data: digits (bundled), idx:DIR, mnist or fashion-mnist [digits]
    #[arg(long, value_name = "DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Model: mlp1, mlp2, mlp3, or widths such as mlp:784-500-10 [mlp:64-256-256-10]
    #[arg(long, value_name = "MODEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Loss: nll or mse [nll]
    #[arg(long, value_name = "LOSS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub loss: Option<Loss>,
    /// Noise mode: none, all, layer or model [none]
    #[arg(long, value_name = "MODE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise: Option<Mode>,
    /// Standard deviation of the noise [0.05]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    /// Order of groups in mode layer: cyclic or random [cyclic]
    #[arg(long, value_name = "ORDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_order: Option<GroupOrder>,
    /// Unit of sigma: absolute, or filter for the norm of each filter [absolute]
    #[arg(long, value_name = "SCALE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_scale: Option<Scale>,
    /// Distribution: gaussian, rademacher or uniform, all of unit variance [gaussian]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_distribution: Option<Distribution>,
    /// Sigma over the epochs: constant, linear or cosine [constant]
    #[arg(long, value_name = "SCHEDULE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_schedule: Option<SigmaSchedule>,
    /// No noise from this epoch on, counted from 0
    #[arg(long, value_name = "EPOCH")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_off_epoch: Option<u64>,
    /// A group is a tensor, a module (its weight and bias), or only weights [tensor]
    #[arg(long, value_name = "GROUPS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Grouping>,
    /// Optimizer: sgd, adam or adamw [sgd]
    #[arg(long, value_name = "NAME")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub optimizer: Option<OptimizerKind>,
    /// Learning rate [0.01]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lr: Option<f64>,
    /// Learning rate over the epochs: constant, cosine or step [constant]
    #[arg(long, value_name = "SCHEDULE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<LearningRateSchedule>,
    /// Epochs between the drops of schedule step [30]
    #[arg(long, value_name = "EPOCHS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step_epochs: Option<u64>,
    /// Factor of each drop of schedule step [0.1]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// SGD: momentum [0.9]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// SGD: dampening [0]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dampening: Option<f64>,
    /// SGD: Nesterov momentum
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// Weight decay: L2 in sgd and adam, decoupled in adamw [5e-4]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// Adam: decay of the first moment [0.9]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta1: Option<f64>,
    /// Adam: decay of the second moment [0.999]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub beta2: Option<f64>,
    /// Adam: added to the denominator [1e-8]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// Epochs [10]
    #[arg(long, conflicts_with = "steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Stop after this many steps, whatever the epochs
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Samples a step [128]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<usize>,
    /// Seed of initialisation, noise and shuffling [0]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Train on a random subset of this many samples, chosen by --subset-seed
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<usize>,
    /// Seed of the subset, apart from --seed so that runs share their data [0]
    #[arg(long, value_name = "SEED")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset_seed: Option<u64>,
    /// Normalise inputs to zero mean and unit variance of the training data, instead of [0, 1]
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise: Option<bool>,
    /// Start from these weights
    #[arg(long, value_name = "FILE.safetensors")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Order of batches: shuffled or sequential [shuffled]
    #[arg(long, value_name = "ORDER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_order: Option<String>,
    /// Log every N-th step to metrics.jsonl, 0 for none [10]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub log_every: Option<u64>,
}

/// A resolved configuration: what was run, as saved in the run's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the keys are those of `Options`, which documents them")]
pub struct RunConfig {
    pub data: String,
    pub model: String,
    pub loss: Loss,
    pub noise: Mode,
    pub sigma: f64,
    pub noise_order: GroupOrder,
    pub noise_scale: Scale,
    pub noise_distribution: Distribution,
    pub noise_schedule: SigmaSchedule,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_off_epoch: Option<u64>,
    pub groups: Grouping,
    pub optimizer: OptimizerKind,
    pub lr: f64,
    pub schedule: LearningRateSchedule,
    pub step_epochs: u64,
    pub gamma: f64,
    pub momentum: f64,
    pub dampening: f64,
    pub nesterov: bool,
    pub weight_decay: f64,
    pub beta1: f64,
    pub beta2: f64,
    pub eps: f64,
    pub epochs: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    pub batch: usize,
    pub seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<usize>,
    pub subset_seed: u64,
    pub normalise: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    pub batch_order: String,
    pub log_every: u64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            data: "digits".to_owned(),
            model: "mlp:64-256-256-10".to_owned(),
            loss: Loss::Nll,
            noise: Mode::None,
            sigma: 0.05,
            noise_order: GroupOrder::Cyclic,
            noise_scale: Scale::Absolute,
            noise_distribution: Distribution::Gaussian,
            noise_schedule: SigmaSchedule::Constant,
            noise_off_epoch: None,
            groups: Grouping::Tensor,
            optimizer: OptimizerKind::Sgd,
            lr: 0.01,
            schedule: LearningRateSchedule::Constant,
            step_epochs: 30,
            gamma: 0.1,
            momentum: 0.9,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 5e-4,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            epochs: 10,
            steps: None,
            batch: 128,
            seed: 0,
            subset: None,
            subset_seed: 0,
            normalise: false,
            init: None,
            batch_order: "shuffled".to_owned(),
            log_every: 10,
        }
    }
}

impl RunConfig {
    /// Defaults, then a TOML file, then options; checked.
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Config`] naming file or key.
    pub fn resolve(file: Option<&Path>, options: &Options) -> Result<Self, TrainError> {
        let broken = |key: String| {
            move |error: &dyn std::fmt::Display| TrainError::Config { key, reason: error.to_string().trim().to_owned() }
        };
        let mut table = match file {
            None => toml::Table::new(),
            Some(path) => {
                let text =
                    std::fs::read_to_string(path).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
                // Parsed as a whole configuration first, so that a message points at the file's own line.
                let key = path.display().to_string();
                toml::from_str::<Self>(&text).map_err(|error| broken(key.clone())(&error))?;
                text.parse().map_err(|error| broken(key)(&error))?
            }
        };
        let given = toml::Table::try_from(options).map_err(|error| broken("options".to_owned())(&error))?;
        table.extend(given);
        let config: Self = table.try_into().map_err(|error| broken("configuration".to_owned())(&error))?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), TrainError> {
        let wrong =
            |key: &str, reason: &str| Err(TrainError::Config { key: key.to_owned(), reason: reason.to_owned() });
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let unit = |value: f64| (0.0..1.0).contains(&value);
        if !positive(self.lr) {
            return wrong("lr", "has to be positive");
        }
        if !self.sigma.is_finite() || self.sigma < 0.0 {
            return wrong("sigma", "has to be 0 or more");
        }
        if self.batch == 0 {
            return wrong("batch", "has to be at least 1");
        }
        if !unit(self.momentum) || !unit(self.beta1) || !unit(self.beta2) {
            return wrong("momentum, beta1, beta2", "have to be in [0, 1)");
        }
        if !self.weight_decay.is_finite() || self.weight_decay < 0.0 {
            return wrong("weight-decay", "has to be 0 or more");
        }
        if self.nesterov && (self.momentum == 0.0 || self.dampening != 0.0) {
            return wrong("nesterov", "needs momentum and no dampening, as in PyTorch");
        }
        self.batch_order().map(|_| ())
    }

    /// The noise.
    #[must_use]
    pub fn noise_config(&self) -> NoiseConfig {
        NoiseConfig {
            mode: self.noise,
            sigma: self.sigma,
            order: self.noise_order,
            scale: self.noise_scale,
            distribution: self.noise_distribution,
            groups: self.groups,
            schedule: self.noise_schedule,
            off_from_epoch: self.noise_off_epoch,
        }
    }

    /// The optimizer.
    #[must_use]
    pub fn optimizer_config(&self) -> OptimizerConfig {
        OptimizerConfig {
            kind: self.optimizer,
            momentum: self.momentum,
            dampening: self.dampening,
            nesterov: self.nesterov,
            weight_decay: self.weight_decay,
            beta1: self.beta1,
            beta2: self.beta2,
            eps: self.eps,
        }
    }

    /// The learning rate.
    #[must_use]
    pub fn learning_rate(&self) -> LearningRate {
        LearningRate {
            initial: self.lr,
            schedule: self.schedule,
            epochs: self.epochs,
            step_epochs: self.step_epochs,
            gamma: self.gamma,
        }
    }

    /// The order of batches.
    ///
    /// # Errors
    /// [`TrainError::Config`] for an unknown name.
    pub fn batch_order(&self) -> Result<BatchOrder, TrainError> {
        self.batch_order
            .parse()
            .map_err(|error| TrainError::Config { key: "batch-order".to_owned(), reason: format!("{error}") })
    }
}
