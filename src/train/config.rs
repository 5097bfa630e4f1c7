//! The configuration of a run: one flat set of keys, the same on the command line, in a TOML file and in the library.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    data::BatchOrder,
    input,
    kernels::Augmentation,
    noise::{Distribution, GroupOrder, Grouping, Mode, Scale, SigmaSchedule},
    ops::Loss,
    optim::{LearningRateSchedule, OptimizerConfig, OptimizerKind},
    schedule::ScheduleUnit,
};

use super::{AUTO_BATCH, EvalEvery, Normalise, OnNan, Options, Precision, TrainError, TrainEval, Validation, batch};

/// The largest configuration file.
const MAX_BYTES: u64 = 1 << 16;

/// Names that keys had in earlier versions, with today's: files keep them for ever.
const RENAMED: [(&str, &str); 1] = [("step-epochs", "milestones-every")];

/// An option of the first name overrules what a file says under the second: either says how long a run or its noise is.
const OVERRULES: [(&str, &str); 3] =
    [("epochs", "steps"), ("noise-off-epoch", "noise-off-step"), ("noise-off-step", "noise-off-epoch")];

/// A resolved configuration: what was run, as saved in the run's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the keys are those of `Options`, which documents them")]
pub struct RunConfig {
    pub data: String,
    pub model: String,
    pub precision: Precision,
    pub loss: Loss,
    pub noise: Mode,
    pub sigma: f64,
    pub noise_order: GroupOrder,
    pub noise_scale: Scale,
    pub noise_distribution: Distribution,
    pub noise_schedule: SigmaSchedule,
    pub noise_milestones_every: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub noise_milestones: Vec<u64>,
    pub noise_gamma: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_off_epoch: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_off_step: Option<u64>,
    pub groups: Grouping,
    pub optimizer: OptimizerKind,
    pub lr: f64,
    pub schedule: LearningRateSchedule,
    pub schedule_unit: ScheduleUnit,
    #[serde(alias = "step-epochs")]
    pub milestones_every: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub milestones: Vec<u64>,
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
    #[serde(with = "batch")]
    pub batch: usize,
    pub seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<usize>,
    pub subset_seed: u64,
    pub stratified: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_subset: Option<usize>,
    pub label_noise: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise_seed: Option<u64>,
    pub normalise: Normalise,
    pub crop_padding: usize,
    pub crop_reflect: bool,
    pub flip: bool,
    pub cutout: usize,
    pub label_smoothing: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    pub on_nan: OnNan,
    pub accumulate: usize,
    pub warmup_steps: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    pub eval_noisy: u32,
    pub bn_recalibrate: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    pub batch_order: String,
    pub log_every: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    #[serde(skip_serializing_if = "EvalEvery::is_default")]
    pub eval_every: EvalEvery,
    #[serde(skip_serializing_if = "TrainEval::is_default")]
    pub train_eval: TrainEval,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_every: Option<u64>,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self {
            data: "digits".to_owned(),
            model: "mlp:64-256-256-10".to_owned(),
            precision: Precision::F32,
            loss: Loss::Nll,
            noise: Mode::None,
            sigma: 0.05,
            noise_order: GroupOrder::Cyclic,
            noise_scale: Scale::Absolute,
            noise_distribution: Distribution::Gaussian,
            noise_schedule: SigmaSchedule::Constant,
            noise_milestones_every: 30,
            noise_milestones: Vec::new(),
            noise_gamma: 0.1,
            noise_off_epoch: None,
            noise_off_step: None,
            groups: Grouping::Tensor,
            optimizer: OptimizerKind::Sgd,
            lr: 0.01,
            schedule: LearningRateSchedule::Constant,
            schedule_unit: ScheduleUnit::Epoch,
            milestones_every: 30,
            milestones: Vec::new(),
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
            stratified: false,
            test_subset: None,
            label_noise: 0.0,
            label_noise_seed: None,
            normalise: Normalise::Auto,
            crop_padding: 0,
            crop_reflect: false,
            flip: false,
            cutout: 0,
            label_smoothing: 0.0,
            clip_norm: None,
            on_nan: OnNan::Stop,
            accumulate: 1,
            warmup_steps: 0,
            ema: None,
            eval_noisy: 0,
            bn_recalibrate: false,
            init: None,
            batch_order: "shuffled".to_owned(),
            log_every: 10,
            validation: None,
            patience: None,
            eval_every: EvalEvery::default(),
            train_eval: TrainEval::All,
            test_every: None,
        }
    }
}

impl RunConfig {
    /// Defaults, then a TOML file, then options; checked.
    ///
    /// # Errors
    /// [`TrainError::Io`] or [`TrainError::Config`] naming file or key.
    pub fn resolve(file: Option<&Path>, options: &Options) -> Result<Self, TrainError> {
        let Some(path) = file else { return Self::resolve_text(None, options) };
        let text = input::text(path, MAX_BYTES).map_err(|source| TrainError::Io { path: path.to_owned(), source })?;
        Self::resolve_text(Some((path, &text)), options)
    }

    /// As [`RunConfig::resolve`], of the text of the file named.
    pub(crate) fn resolve_text(file: Option<(&Path, &str)>, options: &Options) -> Result<Self, TrainError> {
        let table = match file {
            None => toml::Table::new(),
            Some((path, text)) => {
                // Parsed as a whole configuration first, so that a message points at the file's own line.
                let key = path.display().to_string();
                toml::from_str::<Self>(text).map_err(|error| broken(key.clone())(&error))?;
                text.parse().map_err(|error| broken(key)(&error))?
            }
        };
        Self::overlaid(table, options)
    }

    /// This one, but for the options that are given; checked.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the key.
    pub fn with(&self, options: &Options) -> Result<Self, TrainError> {
        let table = toml::Table::try_from(self).map_err(|error| broken("configuration".to_owned())(&error))?;
        Self::overlaid(table, options)
    }

    fn overlaid(mut table: toml::Table, options: &Options) -> Result<Self, TrainError> {
        let given = toml::Table::try_from(options).map_err(|error| broken("options".to_owned())(&error))?;
        for (old, new) in RENAMED {
            if let Some(value) = table.remove(old) {
                table.insert(new.to_owned(), value);
            }
        }
        for (option, overruled) in OVERRULES {
            if given.contains_key(option) {
                table.remove(overruled);
            }
        }
        table.extend(given);
        let config: Self = table.try_into().map_err(|error| broken("configuration".to_owned())(&error))?;
        config.check()?;
        Ok(config)
    }

    /// Whether the values make sense.
    ///
    /// # Errors
    /// [`TrainError::Config`] naming the key.
    pub fn check(&self) -> Result<(), TrainError> {
        let wrong =
            |key: &str, reason: &str| Err(TrainError::Config { key: key.to_owned(), reason: reason.to_owned() });
        self.check_counts()?;
        self.check_schedules()?;
        let positive = |value: f64| value.is_finite() && value > 0.0;
        let unit = |value: f64| (0.0..1.0).contains(&value);
        if !positive(self.lr) {
            return wrong("lr", "has to be positive");
        }
        if !self.sigma.is_finite() || self.sigma < 0.0 {
            return wrong("sigma", "has to be 0 or more");
        }
        if self.batch == 0 || self.accumulate == 0 {
            return wrong("batch, accumulate", "have to be at least 1");
        }
        if ![self.gamma, self.dampening, self.eps].iter().all(|value| value.is_finite()) {
            return wrong("gamma, dampening, eps", "have to be finite");
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
        if !unit(self.label_smoothing) || (self.label_smoothing > 0.0 && self.loss != Loss::Nll) {
            return wrong("label-smoothing", "has to be in [0, 1), and 0 with any loss but nll");
        }
        if self.clip_norm.is_some_and(|norm| !positive(norm)) {
            return wrong("clip-norm", "has to be positive");
        }
        if !unit(self.label_noise) {
            return wrong("label-noise", &format!("has to be in [0, 1), found {}", self.label_noise));
        }
        if self.ema.is_some_and(|decay| !unit(decay)) {
            return wrong("ema", "has to be in [0, 1)");
        }
        if self.patience.is_some() && self.validation.is_none() {
            return wrong("patience", "needs a part of the training data to choose by: validation");
        }
        if self.patience == Some(0) || self.test_every == Some(0) {
            return wrong("patience, test-every", "have to be at least 1");
        }
        self.batch_order().map(|_| ())
    }

    /// Whether an evaluation that is not the last of the run, counted from 1, scores the test data too.
    #[must_use]
    pub fn tests_at(&self, evaluation: u64) -> bool {
        match self.test_every {
            Some(every) => evaluation.is_multiple_of(every),
            // The data that a run is chosen by are looked at as it goes, those that it is judged by once.
            None => self.validation.is_none(),
        }
    }

    /// Whether counts are within what products of two, and the kernels' 32 bits, take.
    fn check_counts(&self) -> Result<(), TrainError> {
        const MOST: u64 = u32::MAX as u64;
        /// Rows or columns: the kernels add them to those of an image.
        const MOST_PIXELS: u64 = (1 << 15) - 1;
        let counts = [
            ("batch", if self.batch == AUTO_BATCH { 1 } else { self.batch as u64 }, MOST),
            ("accumulate", self.accumulate as u64, MOST),
            ("epochs", self.epochs, MOST),
            ("steps", self.steps.unwrap_or(0), MOST),
            ("crop-padding", self.crop_padding as u64, MOST_PIXELS),
            ("cutout", self.cutout as u64, MOST_PIXELS),
        ];
        match counts.into_iter().find(|(_, found, most)| found > most) {
            None => Ok(()),
            Some((key, found, most)) => {
                let reason = format!("has to be at most {most}, found {found}");
                Err(TrainError::Config { key: key.to_owned(), reason })
            }
        }
    }

    /// Random changes to the training images.
    #[must_use]
    pub fn augmentation(&self) -> Augmentation {
        Augmentation {
            crop_padding: self.crop_padding,
            reflect: self.crop_reflect,
            flip: self.flip,
            cutout: self.cutout,
            seed: self.seed,
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

/// An error of a TOML reader as one of the configuration.
fn broken(key: String) -> impl FnOnce(&dyn std::fmt::Display) -> TrainError {
    move |error| TrainError::Config { key, reason: error.to_string().trim().to_owned() }
}
