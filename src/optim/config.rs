//! What an optimizer is set to.

use serde::{Deserialize, Serialize};

use crate::{
    gpu::{Element, GpuError, Launch, WORD_BYTES, Work},
    kernels::{
        AdapterClass, ArenaLayout, MatrixUpdate, Target, UpdateAdam, UpdateFree, UpdateLion, UpdateMuon, UpdateSgd,
        UpdateVariant,
    },
    names::named,
    noise::Distribution,
};

use super::StepRate;

named!("optimizer",
    /// Which update rule.
    #[derive(Default)]
    OptimizerKind {
        /// Stochastic gradient descent with momentum.
        #[default]
        Sgd = "sgd",
        /// Adam with L2 weight decay.
        Adam = "adam",
        /// Adam with decoupled weight decay.
        AdamW = "adamw",
        /// The sign of a moving average of gradients, with decoupled weight decay (Chen et al., NeurIPS 2023).
        Lion = "lion",
        /// SGD whose weights are the mean of the iterates, gradients being taken between that and the last one, at a constant
        /// learning rate (Defazio et al., NeurIPS 2024).
        ScheduleFree = "schedule-free",
        /// Momentum made orthogonal on the matrices in a network's midst, AdamW on all else (Jordan et al., 2024).
        Muon = "muon",
    }
);

named!("adjustment of the learning rate",
    /// What Muon multiplies the learning rate by for a hidden matrix of so many rows and columns: `adjust_lr_fn` of `torch.optim.Muon`.
    #[derive(Default)]
    AdjustLr {
        /// sqrt(max(1, rows / columns))
        #[default]
        Original = "original",
        /// 0.2 sqrt(max(rows, columns)): an update as large as AdamW's, so that one learning rate suits both (Liu et al., 2025,
        /// arXiv 2502.16982).
        MatchRmsAdamw = "match-rms-adamw",
    }
);

impl AdjustLr {
    /// Whether it is the one that was there first.
    #[must_use]
    pub fn is_original(&self) -> bool {
        *self == Self::Original
    }

    /// The factor.
    fn scale(self) -> fn([usize; 2]) -> f64 {
        match self {
            Self::Original => |[rows, columns]| (rows as f64 / columns as f64).max(1.0).sqrt(),
            Self::MatchRmsAdamw => |[rows, columns]| 0.2 * (rows.max(columns) as f64).sqrt(),
        }
    }
}

impl OptimizerKind {
    /// Arenas of state, each as long as the weights.
    #[must_use]
    pub fn state_arenas(self) -> usize {
        match self {
            Self::Sgd | Self::Lion => 1,
            Self::Adam | Self::AdamW | Self::ScheduleFree | Self::Muon => 2,
        }
    }
}

named!("decay",
    /// Which tensors weight decay is on.
    #[derive(Default)]
    Decay {
        /// All of them, as in PyTorch.
        #[default]
        All = "all",
        /// Those of two dimensions or more: weights, embeddings and positions, but no biases and no norms, as language models are
        /// trained (nanoGPT's `configure_optimizers`).
        Matrices = "matrices",
    }
);

impl Decay {
    /// Whether it is on all tensors, as it was before there was a choice.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }
}

/// Settings of the update, with PyTorch's names and defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OptimizerConfig {
    /// The rule.
    pub kind: OptimizerKind,
    /// SGD and Muon: momentum; schedule-free: share of the mean in the weights that gradients are taken around.
    pub momentum: f64,
    /// SGD: dampening of the gradient in the velocity.
    pub dampening: f64,
    /// SGD and Muon: Nesterov's look-ahead.
    pub nesterov: bool,
    /// L2 in SGD, schedule-free SGD and Adam, decoupled in AdamW, Lion and Muon.
    pub weight_decay: f64,
    /// Which tensors weight decay is on.
    pub decay: Decay,
    /// Adam: decay of the first moment; Lion: share of it in what the sign is of.
    pub beta1: f64,
    /// Adam: decay of the second moment; Lion: of the first.
    pub beta2: f64,
    /// Adam: added to the denominator.
    pub eps: f64,
    /// Muon: the learning rate of its matrices.
    pub adjust_lr: AdjustLr,
    /// L2 decay is that of the weights that the network saw, not of the clean ones; of SGD only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub decay_seen: bool,
    /// IVON in the place of the kind: its weight decay is delta, its betas are these.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub posterior: Option<PosteriorConfig>,
}

/// What an update is planned for beside its settings.
#[derive(Clone, Copy, Debug)]
pub struct UpdateUse {
    /// The code of the noise's distribution.
    pub noise: u32,
    /// Gradients are multiplied by the factor of the arena's `scaling`, and a factor of 0 leaves weights and state as they are.
    pub scaled: bool,
    /// What the network sees is written by a sweep of its own after the update.
    pub separate: bool,
}

/// What a posterior of the weights is updated by beside betas and weight decay.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PosteriorConfig {
    /// Effective sample size.
    pub ess: f64,
    /// The Hessian's diagonal at the start.
    pub hess_init: f64,
    /// Draws of a step.
    pub draws: u32,
}

impl Default for PosteriorConfig {
    /// One sample, with what the published code has for the rest.
    fn default() -> Self {
        Self { ess: 1.0, hess_init: 1.0, draws: 1 }
    }
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self {
            kind: OptimizerKind::Sgd,
            momentum: 0.0,
            dampening: 0.0,
            nesterov: false,
            weight_decay: 0.0,
            decay: Decay::All,
            beta1: 0.9,
            beta2: 0.999,
            eps: 1e-8,
            adjust_lr: AdjustLr::Original,
            decay_seen: false,
            posterior: None,
        }
    }
}

impl OptimizerConfig {
    /// This learning rate with the momentum, or beta1, of these settings: for what has no schedule.
    #[must_use]
    pub fn rate(&self, learning_rate: f64) -> StepRate {
        let has_momentum = matches!(self.kind, OptimizerKind::Sgd | OptimizerKind::ScheduleFree);
        let has_momentum = has_momentum && self.posterior.is_none();
        StepRate { learning_rate, momentum: if has_momentum { self.momentum } else { self.beta1 } }
    }

    /// What an update of the weights of an arena launches, all of which get noise; the weights that the network sees are stored as
    /// `element`.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn launches(&self, target: &Target, layout: &ArenaLayout, element: Element) -> Result<Vec<Launch>, GpuError> {
        let words = layout.words();
        let scaled = element == Element::Half;
        let variant = self.variant(UpdateUse { noise: Distribution::Gaussian.code(), scaled, separate: false });
        let launches = match self.kind {
            OptimizerKind::Sgd => UpdateSgd::launches(target, words, variant)?,
            OptimizerKind::Lion => UpdateLion::launches(target, words, variant)?,
            OptimizerKind::ScheduleFree => UpdateFree::launches(target, words, variant)?,
            OptimizerKind::Muon => return UpdateMuon::launches(target, layout, variant, self.nesterov),
            OptimizerKind::Adam | OptimizerKind::AdamW => UpdateAdam::launches(target, words, variant)?,
        };
        // The parts are alike but for the last.
        let all: u64 = launches.iter().map(Launch::workgroups).sum();
        let Work { flops, bytes } = self.work(words, element);
        let share = |whole: u64, launch: &Launch| (whole as f64 * launch.workgroups() as f64 / all as f64) as u64;
        let shared = |launch: Launch| {
            let work = Work { flops: share(flops, &launch), bytes: share(bytes, &launch) };
            launch.doing(work)
        };
        Ok(launches.into_iter().map(shared).collect())
    }

    pub(super) fn variant(&self, UpdateUse { noise, scaled, separate }: UpdateUse) -> UpdateVariant {
        let (decay_matrices, decay_seen) = (self.decay == Decay::Matrices, self.decay_seen);
        UpdateVariant { noise, scaled, decay_matrices, decay_seen, orthogonal: false, separate }
    }

    pub(super) fn matrix_update(&self) -> MatrixUpdate {
        MatrixUpdate { momentum: self.momentum, nesterov: self.nesterov, scale: self.adjust_lr.scale() }
    }

    /// Words of device memory that the update of an arena takes beside its state.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for matrices past what products take.
    pub fn scratch_words(&self, class: AdapterClass, layout: &ArenaLayout) -> Result<usize, GpuError> {
        let is_muon = self.kind == OptimizerKind::Muon && self.posterior.is_none();
        if is_muon { UpdateMuon::scratch_words(class, layout) } else { Ok(0) }
    }

    /// Arenas of state, each as long as the weights.
    #[must_use]
    pub fn state_arenas(&self) -> usize {
        match self.posterior {
            Some(posterior) => 2 + usize::from(posterior.draws > 1),
            None => self.kind.state_arenas(),
        }
    }

    /// The work of an update of `words` weights: it reads gradients, state and weights and writes state, weights and the
    /// weights that the network sees, stored as `element`. Noise is not counted: its work is integers.
    #[must_use]
    pub fn work(&self, words: usize, element: Element) -> Work {
        // Operations of a weight, and f32 arenas read and written.
        let (operations, arenas) = match self.kind {
            _ if self.posterior.is_some() => (24, 7),
            // Without momentum there is no state to read.
            OptimizerKind::Sgd if self.momentum == 0.0 => (4, 3),
            OptimizerKind::Sgd => (7, 5),
            OptimizerKind::Lion => (9, 5),
            OptimizerKind::Adam | OptimizerKind::AdamW | OptimizerKind::Muon => (16, 7),
            OptimizerKind::ScheduleFree => (10, 7),
        };
        let noisy = element.words(words) as u64;
        Work { flops: words as u64 * operations, bytes: (words as u64 * arenas + noisy) * WORD_BYTES }
    }
}
