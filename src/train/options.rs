//! Options as the command line and a TOML file give them.

use std::path::PathBuf;

use serde::Serialize;

use crate::{
    noise::{Distribution, GroupOrder, Grouping, Mode, Scale, SigmaSchedule},
    ops::Loss,
    optim::{LearningRateSchedule, OptimizerKind},
    schedule::ScheduleUnit,
};

use super::{EvalEvery, Normalise, OnNan, Precision, TrainEval, Validation, batch};

/// Options as given: absent ones keep the value of the file or the default.
///
/// Noise: `none` w; `all` w + sigma/sqrt(M) N(0, 1) on every group; `layer` w + sigma N(0, 1) on one group a step;
/// `model` w + sigma N(0, 1) on everything. M is the number of groups.
#[derive(Clone, Debug, Default, Serialize, clap::Args)]
#[allow(rustdoc::broken_intra_doc_links, reason = "defaults are in brackets, as --help shows them")]
#[serde(rename_all = "kebab-case")]
pub struct Options {
    /// Data: digits (bundled), mnist, fashion-mnist, cifar10, cifar100, idx:DIR, cifar:DIR, folder:DIR or
    /// folder:DIR@HxW [digits]
    #[arg(long, value_name = "DATA")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// Model: mlp1-3, cnn1-3, resnet18/34/20/56, vgg11-bn, vgg16-bn, widths such as mlp:784-500-10, or a file
    /// MODEL.toml [mlp:64-256-256-10]
    #[arg(long, value_name = "MODEL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Precision: f32, or f16 for activations and the weights that the network sees, with sums and master weights in f32
    /// [f32]
    #[arg(long, value_name = "PRECISION")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<Precision>,
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
    /// Sigma over the run: constant, linear, cosine, step or multistep, in the unit of --schedule-unit [constant]
    #[arg(long, value_name = "SCHEDULE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_schedule: Option<SigmaSchedule>,
    /// Epochs or steps between the drops of noise schedule step [30]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_milestones_every: Option<u64>,
    /// Epochs or steps at which noise schedule multistep drops, a list such as 30,60
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_milestones: Option<Vec<u64>>,
    /// Factor of each drop of noise schedules step and multistep [0.1]
    #[arg(long, value_name = "FACTOR")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_gamma: Option<f64>,
    /// No noise from this epoch on, counted from 0
    #[arg(long, value_name = "EPOCH", conflicts_with = "noise_off_step")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_off_epoch: Option<u64>,
    /// No noise from this step on, counted from 0
    #[arg(long, value_name = "STEP")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub noise_off_step: Option<u64>,
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
    /// Learning rate over the run: constant, cosine, linear, step, multistep or one-cycle, with PyTorch's values; one-cycle
    /// moves momentum or beta1 too [constant]
    #[arg(long, value_name = "SCHEDULE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule: Option<LearningRateSchedule>,
    /// What the schedules of learning rate and sigma count: epoch or step [epoch]
    #[arg(long, value_name = "UNIT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub schedule_unit: Option<ScheduleUnit>,
    /// Epochs or steps between the drops of schedule step [30]
    #[arg(long, alias = "step-epochs", value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milestones_every: Option<u64>,
    /// Epochs or steps at which schedule multistep drops, a list such as 30,60,80
    #[arg(long, value_name = "A,B,C", value_delimiter = ',')]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub milestones: Option<Vec<u64>>,
    /// Factor of each drop of schedules step and multistep [0.1]
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gamma: Option<f64>,
    /// SGD: momentum; schedule one-cycle has its own [0.9]
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
    /// Adam: decay of the first moment; schedule one-cycle has its own [0.9]
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
    /// Epochs; overrides steps of the file [10]
    #[arg(long, conflicts_with = "steps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Stop after this many steps, whatever the epochs, also those of the file
    #[arg(long)]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<u64>,
    /// Samples a batch, or auto for the largest that fits [128]
    #[arg(long, value_parser = batch::parse)]
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "batch::serialize_option")]
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
    /// Keep the proportions of the classes in the subset
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stratified: Option<bool>,
    /// Evaluate on a subset of this many test samples, with the proportions of their classes, chosen by --subset-seed
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_subset: Option<usize>,
    /// Replace the labels of this share of the training samples by ones drawn at random from all classes [0]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise: Option<f64>,
    /// Seed of the replaced labels [--subset-seed]
    #[arg(long, value_name = "SEED")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_noise_seed: Option<u64>,
    /// Normalise the inputs' channels: none for [0, 1], data for the training data's mean and deviation, published for
    /// the literature's, auto for published where there are some (CIFAR) and else none [auto]
    #[arg(long, num_args = 0..=1, default_missing_value = "data", value_name = "HOW")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub normalise: Option<Normalise>,
    /// Training images are cropped at random from ones with so many pixels of padding around them [0]
    #[arg(long, value_name = "PIXELS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_padding: Option<usize>,
    /// The padding mirrors the image instead of being black
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crop_reflect: Option<bool>,
    /// Mirror half of the training images left to right
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flip: Option<bool>,
    /// Side of a square of each training image that is set to the mean [0]
    #[arg(long, value_name = "PIXELS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cutout: Option<usize>,
    /// Share of each target that is spread over all classes, in loss nll [0]
    #[arg(long, value_name = "SHARE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_smoothing: Option<f64>,
    /// Scale gradients down to this norm over all parameters
    #[arg(long, value_name = "NORM")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Where the loss is NaN or infinite: stop; skip, which leaves out updates whose gradients are not finite; or
    /// halve-sigma, which goes back to the last checkpoint with half the noise [stop]
    #[arg(long, value_name = "WHAT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_nan: Option<OnNan>,
    /// Batches whose gradients make one step; more than an epoch has make it full-batch [1]
    #[arg(long, value_name = "BATCHES")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub accumulate: Option<usize>,
    /// Steps over which the learning rate rises linearly from 0, whatever the schedule and its unit [0]
    #[arg(long, value_name = "STEPS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup_steps: Option<u64>,
    /// Keep an exponential moving average of the weights with this decay, evaluate and save it
    #[arg(long, value_name = "DECAY")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ema: Option<f64>,
    /// Evaluate at noisy weights too, the mean of so many draws as training makes them [0]
    #[arg(long, value_name = "DRAWS")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_noisy: Option<u32>,
    /// Before each evaluation, re-estimate the running statistics of batch norms at the clean weights
    #[arg(long, num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bn_recalibrate: Option<bool>,
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
    /// Keep this share of the training data, or so many samples, apart to choose by: of the subset if there is one, each
    /// class in proportion, by --subset-seed
    #[arg(long, value_name = "SHARE|N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub validation: Option<Validation>,
    /// End after so many evaluations in a row without a lower validation loss
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patience: Option<u64>,
    /// Evaluate every N epochs, or every N steps (500steps), and at the end [1]
    #[arg(long, value_name = "N|Nsteps")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eval_every: Option<EvalEvery>,
    /// Training samples that an evaluation scores: all, none, or so many, always the same, by class [all]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub train_eval: Option<TrainEval>,
    /// Score the test data at every N-th evaluation, and at the end [1, with --validation only at the end]
    #[arg(long, value_name = "N")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub test_every: Option<u64>,
}
