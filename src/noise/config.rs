//! The choices a user has, with the names of the command line and of configuration files.

use serde::{Deserialize, Serialize};

use crate::{
    names::named,
    schedule::{Drops, Moment, ScheduleUnit},
};

named!("noise mode",
    /// Which groups are noisy at a step. M is the number of groups.
    Mode {
        /// Plain gradient descent.
        None = "none",
        /// Every group, sigma / sqrt(M).
        All = "all",
        /// One group a step, sigma.
        Layer = "layer",
        /// Every group, plain sigma: the mode of the closed forms.
        Model = "model",
    }
);

named!("group order",
    /// Which group mode `layer` takes at a step.
    GroupOrder {
        /// Step mod M, as in the published code.
        Cyclic = "cyclic",
        /// Uniform at random, as in the paper's analysis.
        Random = "random",
    }
);

named!("noise scale",
    /// The unit of sigma.
    Scale {
        /// Absolute.
        Absolute = "absolute",
        /// The L2 norm of each filter (a row of a weight; the whole of a bias).
        Filter = "filter",
    }
);

named!("noise distribution",
    /// The distribution of unit noise: zero mean, unit variance.
    Distribution {
        /// Standard normal.
        Gaussian = "gaussian",
        /// -1 or 1.
        Rademacher = "rademacher",
        /// Uniform in [-sqrt 3, sqrt 3].
        Uniform = "uniform",
    }
);

named!("grouping",
    /// What a group is.
    Grouping {
        /// One parameter tensor, as in the published code.
        Tensor = "tensor",
        /// A module's weight and bias together.
        Module = "module",
        /// One weight tensor; biases and normalisation stay clean.
        Weights = "weights",
        /// One parameter tensor, or one of the projections that it packs: q, k and v of attention apart, each with the noise that
        /// it has as part of its tensor.
        Projection = "projection",
        /// A transformer block's tensors, or those of another part that is repeated, together; outside of blocks a module's.
        Block = "block",
    }
);

named!("sigma schedule",
    /// Sigma over the run, `t` being the share of its epochs or steps that is done.
    SigmaSchedule {
        /// sigma
        Constant = "constant",
        /// sigma (1 - t)
        Linear = "linear",
        /// sigma (1 + cos(pi t)) / 2
        Cosine = "cosine",
        /// sigma (1 + growth (1 - cos(pi t)) / 2): from sigma up
        CosineUp = "cosine-up",
        /// sigma gamma^floor(done / every)
        Step = "step",
        /// sigma gamma^(milestones reached)
        MultiStep = "multistep",
    }
);

impl Distribution {
    /// The override's value in the shaders.
    #[must_use]
    pub fn code(self) -> u32 {
        match self {
            Self::Gaussian => 1,
            Self::Rademacher => 2,
            Self::Uniform => 3,
        }
    }
}

/// Everything about the noise of a run but its seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NoiseConfig {
    /// Which groups are noisy.
    pub mode: Mode,
    /// Standard deviation, in the unit of `scale`.
    pub sigma: f64,
    /// Order of mode `layer`.
    pub order: GroupOrder,
    /// Unit of sigma.
    pub scale: Scale,
    /// Distribution of unit noise.
    pub distribution: Distribution,
    /// What a group is.
    pub groups: Grouping,
    /// Sigma over the run.
    pub schedule: SigmaSchedule,
    /// What the schedule counts.
    pub schedule_unit: ScheduleUnit,
    /// The drops of [`SigmaSchedule::Step`] and [`SigmaSchedule::MultiStep`].
    pub drops: Drops,
    /// How far [`SigmaSchedule::CosineUp`] rises, in units of sigma.
    #[serde(skip_serializing_if = "is_zero")]
    pub growth: f64,
    /// No noise from this epoch on (counted from 0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_from_epoch: Option<u64>,
    /// No noise from this step on (counted from 0).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub off_from_step: Option<u64>,
}

fn is_zero(growth: &f64) -> bool {
    *growth == 0.0
}

impl Default for NoiseConfig {
    fn default() -> Self {
        Self {
            mode: Mode::None,
            sigma: 0.0,
            order: GroupOrder::Cyclic,
            scale: Scale::Absolute,
            distribution: Distribution::Gaussian,
            groups: Grouping::Tensor,
            schedule: SigmaSchedule::Constant,
            schedule_unit: ScheduleUnit::Epoch,
            drops: Drops::default(),
            growth: 0.0,
            off_from_epoch: None,
            off_from_step: None,
        }
    }
}

impl NoiseConfig {
    /// Sigma as scheduled, before any division by sqrt(M).
    #[must_use]
    pub fn sigma_at(&self, when: Moment) -> f64 {
        let off = |from: Option<u64>, now: u64| from.is_some_and(|from| now >= from);
        if self.mode == Mode::None || off(self.off_from_epoch, when.epoch) || off(self.off_from_step, when.step) {
            return 0.0;
        }
        let progress = when.in_unit(self.schedule_unit);
        match self.schedule {
            SigmaSchedule::Constant => self.sigma,
            SigmaSchedule::Linear => self.sigma * (1.0 - progress.share()),
            // In this order of operations, or sigmas of earlier versions would change in their last bit.
            SigmaSchedule::Cosine => self.sigma * 0.5 * (1.0 + (std::f64::consts::PI * progress.share()).cos()),
            SigmaSchedule::CosineUp => {
                self.sigma * (1.0 + 0.5 * self.growth * (1.0 - (std::f64::consts::PI * progress.share()).cos()))
            }
            SigmaSchedule::Step => self.sigma * self.drops.regular(progress.done),
            SigmaSchedule::MultiStep => self.sigma * self.drops.at_milestones(progress.done),
        }
    }
}
