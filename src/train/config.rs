//! The configuration of a run: one flat set of keys, the same on the command line, in a TOML file and in the library.
//!
//! A key is written down once, as a field of [`RunConfig`]: its name in the library, in files and on the command line, its
//! type, its default and its help. Which commands take it as an option is said in `cli::keys`.

use std::{path::PathBuf, sync::LazyLock};

use clap::{Arg, ArgAction::Set, Args as _, Command, FromArgMatches as _};
use serde::{Deserialize, Serialize};

use crate::{
    data::BatchOrder,
    nn::WeightsFormat,
    noise::{Distribution, GroupOrder, Grouping, Mode, Scale, SigmaSchedule},
    ops::Loss,
    optim::{AdjustLr, Decay, LearningRateSchedule, OptimizerKind},
    rules::{RuleKind, StatisticsPass},
    schedule::ScheduleUnit,
};

use super::{EvalEvery, Normalise, OnNan, Precision, TrainEval, Validation, batch, normalise, topic};

/// A resolved configuration: what was run, as saved in the run's folder.
///
/// Noise: `none` w; `all` w + sigma/sqrt(M) N(0, 1) on every group; `layer` w + sigma N(0, 1) on one group a step;
/// `model` w + sigma N(0, 1) on everything. M is the number of groups.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, clap::Args)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct RunConfig {
    /// Data: digits or plays (bundled), mnist, fashion-mnist, cifar10, cifar100, idx:DIR, cifar:DIR, folder:DIR or
    /// folder:DIR@HxW; texts: text:FILE, text:FILE@bytes, tokens:FILE or tokens:FILE@VOCABULARY
    #[arg(long, help_heading = topic::DATA, value_name = "DATA", default_value = "digits")]
    pub data: String,
    /// Model: mlp1-3, cnn1-3, resnet18/34/20/56, vgg11-bn, vgg16-bn, gpt-mini, gpt-shakespeare, gpt2, vit-tiny,
    /// vit-small, sizes such as mlp:784-500-10, gpt:4x4x128@64 (layers, heads, channels, block) or vit:6x8x512/4 (patch),
    /// or a file MODEL.toml
    #[arg(long, help_heading = topic::MODEL, value_name = "MODEL", default_value = "mlp:64-256-256-10")]
    pub model: String,
    /// Chance of a zero in a transformer's dropouts (embedding, attention, what each half of a block adds); by default
    /// that of its preset, else 0
    #[arg(long, help_heading = topic::MODEL, value_name = "P")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dropout: Option<f32>,
    /// Precision: f32, or f16 for activations and the weights that the network sees, with sums and master weights in
    /// f32
    #[arg(long, help_heading = topic::MODEL, value_name = "PRECISION", default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Loss: nll or mse
    #[arg(long, help_heading = topic::MODEL, value_name = "LOSS", default_value_t = Loss::Nll)]
    pub loss: Loss,
    /// Rule: noise (the modes of --noise), sam, asam, m-sam, msam, nso, lpf, arwp, m-rwp, ivon, mezo, fresh-labels or swag;
    /// each brings its published defaults, also of sigma, betas and decay where they are not given
    #[arg(long, help_heading = topic::RULE, value_name = "RULE", default_value_t = RuleKind::Noise)]
    #[serde(skip_serializing_if = "RuleKind::is_noise")]
    pub rule: RuleKind,
    /// sam, m-sam (0.05), asam (0.5), msam (3): distance from the weights at which the gradient is taken
    #[arg(long, help_heading = topic::RULE, value_name = "DISTANCE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rho: Option<f64>,
    /// asam: added to the weights' magnitudes, the units of its distance (0.01)
    #[arg(long, help_heading = topic::RULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta: Option<f64>,
    /// m-sam: parts of a step's samples, each with an ascent of its own (8)
    #[arg(long, help_heading = topic::RULE, value_name = "PARTS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sam_parts: Option<u32>,
    /// nso: pairs of draws, each with both signs (1)
    #[arg(long, help_heading = topic::RULE, value_name = "K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pairs: Option<u32>,
    /// nso: share of the gradient at the clean weights (0)
    #[arg(long, help_heading = topic::RULE, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nso_lambda: Option<f64>,
    /// lpf: parts of a step's samples, each with a draw of its own (8)
    #[arg(long, help_heading = topic::RULE, value_name = "M")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_batches: Option<u32>,
    /// arwp: how much past gradients shrink the noise of their filter (0.1)
    #[arg(long, help_heading = topic::RULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arwp_eta: Option<f64>,
    /// arwp: decay of past gradients (0.99)
    #[arg(long, help_heading = topic::RULE)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub arwp_beta: Option<f64>,
    /// m-rwp: share of the gradient at the clean weights, over half of the step's samples (0.5)
    #[arg(long, help_heading = topic::RULE, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rwp_lambda: Option<f64>,
    /// ivon: effective sample size, by default the training samples
    #[arg(long, help_heading = topic::RULE, value_name = "SAMPLES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ess: Option<f64>,
    /// ivon: the diagonal of the Hessian at the start (1)
    #[arg(long, help_heading = topic::RULE, value_name = "H")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hess_init: Option<f64>,
    /// ivon: draws of weights a step (1)
    #[arg(long, help_heading = topic::RULE, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mc_samples: Option<u32>,
    /// mezo: half of the distance between the two losses of a step, in units of a normal draw (0.001)
    #[arg(long, help_heading = topic::RULE, value_name = "EPS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mezo_eps: Option<f64>,
    /// fresh-labels: share of a step's labels that are replaced by ones drawn at random from all classes, anew each epoch
    #[arg(long, help_heading = topic::RULE, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh_label_noise: Option<f64>,
    /// swag: share of the run after which weights are collected (0.537: 161 of 300 epochs)
    #[arg(long, help_heading = topic::RULE, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swag_start: Option<f64>,
    /// swag: epochs from one collected to the next (1)
    #[arg(long, help_heading = topic::RULE, value_name = "EPOCHS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swag_every: Option<u64>,
    /// swag: deviations that are kept (20)
    #[arg(long, help_heading = topic::RULE, value_name = "K")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub swag_rank: Option<u32>,
    /// Which of a step's passes move running statistics of batch norms: first, last, all or none; as published where not
    /// given
    #[arg(long, help_heading = topic::RULE, value_name = "PASSES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule_stats: Option<StatisticsPass>,
    /// Noise mode: none, all, layer or model
    #[arg(long, help_heading = topic::NOISE, value_name = "MODE", default_value_t = Mode::None)]
    pub noise: Mode,
    /// Standard deviation of the noise
    #[arg(long, help_heading = topic::NOISE, default_value_t = 0.05)]
    pub sigma: f64,
    /// Order of groups in mode layer: cyclic or random
    #[arg(long, help_heading = topic::NOISE, value_name = "ORDER", default_value_t = GroupOrder::Cyclic)]
    pub noise_order: GroupOrder,
    /// Unit of sigma: absolute, or filter for the norm of each filter
    #[arg(long, help_heading = topic::NOISE, value_name = "SCALE", default_value_t = Scale::Absolute)]
    pub noise_scale: Scale,
    /// Distribution: gaussian, rademacher or uniform, all of unit variance
    #[arg(long, help_heading = topic::NOISE, value_name = "NAME", default_value_t = Distribution::Gaussian)]
    pub noise_distribution: Distribution,
    /// Sigma over the run: constant, linear, cosine, cosine-up, step or multistep, in the unit of --schedule-unit
    #[arg(long, help_heading = topic::SIGMA_SCHEDULE, value_name = "SCHEDULE")]
    #[arg(default_value_t = SigmaSchedule::Constant)]
    pub noise_schedule: SigmaSchedule,
    /// Epochs or steps between the drops of noise schedule step
    #[arg(long, help_heading = topic::SIGMA_SCHEDULE, value_name = "N", default_value_t = 30)]
    pub noise_milestones_every: u64,
    /// Epochs or steps at which noise schedule multistep drops, a list such as 30,60
    #[arg(long, help_heading = topic::SIGMA_SCHEDULE, value_name = "A,B,C", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub noise_milestones: Vec<u64>,
    /// Factor of each drop of noise schedules step and multistep
    #[arg(long, help_heading = topic::SIGMA_SCHEDULE, value_name = "FACTOR", default_value_t = 0.1)]
    pub noise_gamma: f64,
    /// How far noise schedule cosine-up rises, in units of sigma: 10 where not given
    #[arg(long, help_heading = topic::SIGMA_SCHEDULE, value_name = "FACTOR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_growth: Option<f64>,
    /// No noise from this epoch on, counted from 0
    #[arg(long, help_heading = topic::SIGMA_SCHEDULE, value_name = "EPOCH", conflicts_with = "noise_off_step")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_off_epoch: Option<u64>,
    /// No noise from this step on, counted from 0
    #[arg(long, help_heading = topic::SIGMA_SCHEDULE, value_name = "STEP")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_off_step: Option<u64>,
    /// What a group is: tensor, module (its weight and bias), weights (biases stay clean), projection (a tensor, but q, k
    /// and v apart) or block (of a transformer)
    #[arg(long, help_heading = topic::NOISE, value_name = "GROUPS", default_value_t = Grouping::Tensor)]
    pub groups: Grouping,
    /// Optimizer: sgd, adam, adamw, lion, schedule-free or muon (on hidden matrices, with adamw on the rest)
    #[arg(long, help_heading = topic::OPTIMIZER, value_name = "NAME", default_value_t = OptimizerKind::Sgd)]
    pub optimizer: OptimizerKind,
    /// Learning rate
    #[arg(long, help_heading = topic::LEARNING_RATE, default_value_t = 0.01)]
    pub lr: f64,
    /// Learning rate over the run: constant, cosine, linear, step, multistep or one-cycle, with PyTorch's values, or
    /// warmup-cosine with nanoGPT's, by the step; one-cycle moves momentum or beta1 too
    #[arg(long, help_heading = topic::LEARNING_RATE, value_name = "SCHEDULE")]
    #[arg(default_value_t = LearningRateSchedule::Constant)]
    pub schedule: LearningRateSchedule,
    /// What schedules cosine, linear and warmup-cosine end at, 0 where not given
    #[arg(long, help_heading = topic::LEARNING_RATE, value_name = "LR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub min_lr: Option<f64>,
    /// What the schedules of learning rate and sigma count: epoch or step
    #[arg(long, help_heading = topic::LEARNING_RATE, value_name = "UNIT", default_value_t = ScheduleUnit::Epoch)]
    pub schedule_unit: ScheduleUnit,
    /// Epochs or steps between the drops of schedule step
    #[arg(long, help_heading = topic::LEARNING_RATE, alias = "step-epochs", value_name = "N", default_value_t = 30)]
    #[serde(alias = "step-epochs")]
    pub milestones_every: u64,
    /// Epochs or steps at which schedule multistep drops, a list such as 30,60,80
    #[arg(long, help_heading = topic::LEARNING_RATE, value_name = "A,B,C", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub milestones: Vec<u64>,
    /// Factor of each drop of schedules step and multistep
    #[arg(long, help_heading = topic::LEARNING_RATE, default_value_t = 0.1)]
    pub gamma: f64,
    /// SGD: momentum; muon: the same, 0.95 where neither file nor command line says otherwise; schedule-free: the mean's share in the weights that gradients are taken around; schedule one-cycle has its
    /// own
    #[arg(long, help_heading = topic::OPTIMIZER, default_value_t = 0.9)]
    pub momentum: f64,
    /// SGD: dampening
    #[arg(long, help_heading = topic::OPTIMIZER, default_value_t = 0.0)]
    pub dampening: f64,
    /// SGD: Nesterov momentum; muon has it where neither file nor command line says otherwise
    #[arg(long, help_heading = topic::OPTIMIZER, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[arg(default_value_t = false, action = Set)]
    pub nesterov: bool,
    /// Weight decay: L2 in sgd, schedule-free and adam, decoupled in adamw, lion and muon (0.1 where neither file nor command
    /// line says otherwise)
    #[arg(long, help_heading = topic::OPTIMIZER, default_value = "5e-4")]
    pub weight_decay: f64,
    /// Tensors that weight decay is on: all, or matrices for those of two dimensions or more (no biases, no norms)
    #[arg(long, help_heading = topic::OPTIMIZER, value_name = "TENSORS", default_value_t = Decay::All)]
    #[serde(skip_serializing_if = "Decay::is_all")]
    pub decay: Decay,
    /// Muon: factor of a matrix's learning rate, original for sqrt(max(1, rows / columns)) or match-rms-adamw for 0.2
    /// sqrt(max(rows, columns))
    #[arg(long, help_heading = topic::OPTIMIZER, value_name = "HOW", default_value_t = AdjustLr::Original)]
    #[serde(skip_serializing_if = "AdjustLr::is_original")]
    pub adjust_lr: AdjustLr,
    /// Adam: decay of the first moment; lion: its share in what the sign is of; schedule one-cycle has its own
    #[arg(long, help_heading = topic::OPTIMIZER, default_value_t = 0.9)]
    pub beta1: f64,
    /// Adam: decay of the second moment; lion: of the first, 0.99 where neither file nor command line says otherwise
    #[arg(long, help_heading = topic::OPTIMIZER, default_value_t = 0.999)]
    pub beta2: f64,
    /// Adam: added to the denominator
    #[arg(long, help_heading = topic::OPTIMIZER, default_value = "1e-8")]
    pub eps: f64,
    /// Epochs; overrides steps of the file
    #[arg(long, help_heading = topic::RUN, conflicts_with = "steps", default_value_t = 10)]
    pub epochs: u64,
    /// Stop after this many steps, whatever the epochs, also those of the file
    #[arg(long, help_heading = topic::RUN)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Samples a batch, or auto for the largest that fits
    #[arg(long, help_heading = topic::RUN, value_parser = batch::parse, default_value = "128")]
    #[serde(with = "batch")]
    pub batch: usize,
    /// Seed of initialisation, noise and shuffling
    #[arg(long, help_heading = topic::RUN, default_value_t = 0)]
    pub seed: u64,
    /// Take a random subset of this many training samples, chosen by --subset-seed
    #[arg(long, help_heading = topic::DATA, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subset: Option<usize>,
    /// Seed of the subset, apart from --seed so that runs share their data
    #[arg(long, help_heading = topic::DATA, value_name = "SEED", default_value_t = 0)]
    pub subset_seed: u64,
    /// Keep the proportions of the classes in the subset
    #[arg(long, help_heading = topic::DATA, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    #[arg(default_value_t = false, action = Set)]
    pub stratified: bool,
    /// Take a subset of this many test samples, with the proportions of their classes, chosen by --subset-seed
    #[arg(long, help_heading = topic::DATA, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_subset: Option<usize>,
    /// Replace the labels of this share of the training samples by ones drawn at random from all classes
    #[arg(long, help_heading = topic::DATA, value_name = "SHARE", default_value_t = 0.0)]
    pub label_noise: f64,
    /// Seed of the replaced labels; that of --subset-seed where not given
    #[arg(long, help_heading = topic::DATA, value_name = "SEED")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise_seed: Option<u64>,
    /// Normalise the inputs' channels: none for [0, 1], data for the training data's mean and deviation, published for
    /// the literature's, auto for published where there are some (CIFAR) and else none
    #[arg(long, help_heading = topic::DATA, num_args = 0..=1, default_missing_value = "data", value_name = "HOW")]
    #[arg(default_value_t = Normalise::Auto)]
    #[serde(deserialize_with = "normalise::deserialize")]
    pub normalise: Normalise,
    /// Training images are cropped at random from ones with so many pixels of padding around them
    #[arg(long, help_heading = topic::AUGMENTATION, value_name = "PIXELS", default_value_t = 0)]
    pub crop_padding: usize,
    /// The padding mirrors the image instead of being black
    #[arg(long, help_heading = topic::AUGMENTATION, value_name = "BOOL", num_args = 0..=1)]
    #[arg(default_missing_value = "true", default_value_t = false, action = Set)]
    pub crop_reflect: bool,
    /// Mirror half of the training images left to right
    #[arg(long, help_heading = topic::AUGMENTATION, value_name = "BOOL", num_args = 0..=1)]
    #[arg(default_missing_value = "true", default_value_t = false, action = Set)]
    pub flip: bool,
    /// Side of a square of each training image that is set to the mean
    #[arg(long, help_heading = topic::AUGMENTATION, value_name = "PIXELS", default_value_t = 0)]
    pub cutout: usize,
    /// Share of each target that is spread over all classes, in loss nll
    #[arg(long, help_heading = topic::MODEL, value_name = "SHARE", default_value_t = 0.0)]
    pub label_smoothing: f64,
    /// Scale gradients down to this norm over all parameters
    #[arg(long, help_heading = topic::OPTIMIZER, value_name = "NORM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Where the loss is NaN or infinite: stop; skip, which leaves out updates whose gradients are not finite; or
    /// halve-sigma, which goes back to the last checkpoint with half the noise
    #[arg(long, help_heading = topic::RUN, value_name = "WHAT", default_value_t = OnNan::Stop)]
    pub on_nan: OnNan,
    /// Batches whose gradients make one step; more than an epoch has make it full-batch
    #[arg(long, help_heading = topic::RUN, value_name = "BATCHES", default_value_t = 1)]
    pub accumulate: usize,
    /// Steps over which the learning rate rises linearly from 0, whatever the schedule and its unit; with warmup-cosine
    /// from 1/(STEPS + 1), before the fall
    #[arg(long, help_heading = topic::LEARNING_RATE, value_name = "STEPS", default_value_t = 0)]
    pub warmup_steps: u64,
    /// Keep an exponential moving average of the weights with this decay, evaluate and save it
    #[arg(long, help_heading = topic::OPTIMIZER, value_name = "DECAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Evaluate at noisy weights too, the mean of so many draws as training makes them
    #[arg(long, help_heading = topic::EVALUATION, value_name = "DRAWS", default_value_t = 0)]
    pub eval_noisy: u32,
    /// Before each evaluation, re-estimate the running statistics of batch norms at the clean weights
    #[arg(long, help_heading = topic::EVALUATION, value_name = "BOOL", num_args = 0..=1)]
    #[arg(default_missing_value = "true", default_value_t = false, action = Set)]
    pub bn_recalibrate: bool,
    /// Start from these weights
    #[arg(long, help_heading = topic::RUN, value_name = "FILE.safetensors")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init: Option<PathBuf>,
    /// Whose names and layouts the file of --init has: jostle, nanogpt, huggingface or timm
    #[arg(long, help_heading = topic::RUN, value_name = "FORMAT", default_value_t = WeightsFormat::Jostle)]
    #[serde(skip_serializing_if = "WeightsFormat::is_jostle")]
    pub weights_format: WeightsFormat,
    /// Order of batches: shuffled or sequential
    #[arg(long, help_heading = topic::RUN, value_name = "ORDER", default_value_t = BatchOrder::Shuffled)]
    pub batch_order: BatchOrder,
    /// Log every N-th step to metrics.jsonl, 0 for none
    #[arg(long, help_heading = topic::RUN, value_name = "N", default_value_t = 10)]
    pub log_every: u64,
    /// Keep this share of the training data, or so many samples, apart to choose by: of the subset if there is one,
    /// each class in proportion, by --subset-seed
    #[arg(long, help_heading = topic::DATA, value_name = "SHARE|N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// End after so many evaluations in a row without a lower validation loss
    #[arg(long, help_heading = topic::EVALUATION, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Evaluate every N epochs, or every N steps (500steps), and at the end
    #[arg(long, help_heading = topic::EVALUATION, value_name = "N|Nsteps", default_value_t = EvalEvery::default())]
    #[serde(skip_serializing_if = "EvalEvery::is_default")]
    pub eval_every: EvalEvery,
    /// Training samples that an evaluation scores: all, none, or so many, always the same, by class
    #[arg(long, help_heading = topic::EVALUATION, value_name = "N", default_value_t = TrainEval::All)]
    #[serde(skip_serializing_if = "TrainEval::is_default")]
    pub train_eval: TrainEval,
    /// Score the test data at every N-th evaluation, and at the end; where not given at each, with --validation only at
    /// the end
    #[arg(long, help_heading = topic::EVALUATION, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_every: Option<u64>,
    /// Write TensorBoard's events beside metrics.jsonl: the configuration, metrics, histograms of the weights after each
    /// epoch, and the curves at the end
    #[arg(long, help_heading = topic::RUN, value_name = "BOOL", num_args = 0..=1)]
    #[arg(default_missing_value = "true", default_value_t = false, action = Set)]
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub tensorboard: bool,
    /// Tokens of a window of a text, where the model has no length of its own; 64 where not given
    #[arg(long, help_heading = topic::DATA, value_name = "TOKENS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub block: Option<usize>,
    /// Windows of a text that an evaluation scores, random ones but always the same, by --subset-seed; 2400 where not
    /// given (200 batches of 12, as nanoGPT), and all of a part, one after the other, that has no more
    #[arg(long, help_heading = topic::DATA, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_windows: Option<usize>,
}

impl Default for RunConfig {
    /// What a command line gives that says nothing.
    fn default() -> Self {
        static DEFAULT: LazyLock<RunConfig> = LazyLock::new(|| {
            let command = RunConfig::augment_args(Command::new("defaults").no_binary_name(true));
            let read = command.try_get_matches_from([""; 0]).and_then(|matches| RunConfig::from_arg_matches(&matches));
            #[expect(clippy::expect_used, reason = "the defaults are constants, which every test reads")]
            read.expect("defaults are values of their keys")
        });
        DEFAULT.clone()
    }
}

impl RunConfig {
    /// Every key as an option of the command line, with its default and its help under the heading of its [`topic`].
    #[must_use]
    pub fn arguments() -> Vec<Arg> {
        Self::augment_args(Command::new("keys")).get_arguments().cloned().collect()
    }
}
