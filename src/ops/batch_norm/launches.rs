//! What the dispatches of batch norm launch.

use crate::{
    gpu::{GpuError, KernelSpec, Launch},
    kernels::{Activation, Constant, Target, flag},
};

use super::{
    shape::{BatchNormGeometry, BatchNormShape, BatchNormVariant, QUAD},
    specs::{
        BATCH_NORM_APPLY, BATCH_NORM_FINISH, BATCH_NORM_FINISH_APPLY, BATCH_NORM_FINISH_GRADIENT, BATCH_NORM_GRADIENT,
        BATCH_NORM_GRADIENT_FINISH, BATCH_NORM_GRADIENT_MOMENTS, BATCH_NORM_MOMENTS,
    },
};

/// Rows that an invocation of the sweeps after a finish takes: `BATCH_NORM_ROWS` in the shaders.
const SWEEP_ROWS: usize = 4;

/// Rows whose reads an invocation has under way at once, in the kernels that go forward and in those that go backward.
const FORWARD_ROWS: usize = 4;
const BACKWARD_ROWS: usize = 2;

/// Partial results likewise, of those that sweeps combine: `shaders/shared/partials.wgsl`.
const PARTIALS_AT_ONCE: usize = 2;

/// What a pass launches: a finish of its own, or a sweep that does its work.
#[derive(Clone, Debug)]
pub struct BatchNormLaunches {
    /// The first step; none where the running statistics count.
    pub moments: Option<Launch>,
    /// What combines the chunks, or makes the table by the running statistics; none where the sweep does.
    pub finish: Option<Launch>,
    /// The sweep.
    pub sweep: Launch,
}

impl BatchNormLaunches {
    /// In their order.
    #[must_use]
    pub fn into_vec(self) -> Vec<Launch> {
        self.moments.into_iter().chain(self.finish).chain([self.sweep]).collect()
    }
}

/// Which gradients add to what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormAdds {
    /// That of x.
    pub input: bool,
    /// That of the residual, if there is one.
    pub residual: Option<bool>,
    /// Those of weight and bias.
    pub params: bool,
}

/// The activation that a backward pass undoes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Undone {
    /// Which, one whose derivative takes its output.
    pub activation: Activation,
    /// Whether that is read. ReLU's derivative goes by a sign, and what it is the sign of is computed again from the input unless
    /// a residual was added to it.
    pub by_output: bool,
}

impl Undone {
    const NOTHING: Self = Self { activation: Activation::Identity, by_output: false };

    /// That of a batch norm, to whose result forward added a residual or not.
    #[must_use]
    pub fn new(activation: Activation, has_residual: bool) -> Self {
        let by_output = match activation {
            Activation::Identity => false,
            Activation::Relu => has_residual,
            _ => true,
        };
        Self { activation, by_output }
    }

    fn constants(self) -> [Constant; 2] {
        let recomputes = self.activation != Activation::Identity && !self.by_output;
        [("ACTIVATION", f64::from(self.activation.code())), flag("RECOMPUTE", recomputes)]
    }

    /// Whether a sweep that combines the chunks takes up the residual's gradient in place of the output's and of the output:
    /// where the first step has written it, and exactly, ReLU's derivative being 1 or 0.
    pub(super) fn is_in_residual(self, residual_adds: Option<bool>) -> bool {
        self.activation == Activation::Relu && residual_adds == Some(false)
    }
}

/// RESIDUAL of the kernels that make its gradient.
fn residual_constant(adds: Option<bool>) -> Constant {
    ("RESIDUAL", adds.map_or(0.0, |adds| if adds { 2.0 } else { 1.0 }))
}

/// A launch of the workgroups of `cut`.
fn cut_launch(
    target: &Target,
    spec: &'static KernelSpec,
    cut: &BatchNormGeometry,
    constants: &[Constant],
) -> Result<Launch, GpuError> {
    let grid = target.grid_1d(spec, cut.workgroups(), 1)?;
    let sizes = [("WORKGROUP_SIZE", cut.threads() as f64), ("QUAD_LANES", cut.quad_lanes as f64)];
    let mut launch = Launch::new(spec, &sizes, grid, cut.threads());
    launch.constants.extend_from_slice(constants);
    Ok(launch)
}

impl BatchNormShape {
    fn moments_launch(
        &self,
        target: &Target,
        spec: &'static KernelSpec,
        variant: BatchNormVariant,
        constants: &[Constant],
        rounds: impl Fn(usize) -> usize,
    ) -> Result<Launch, GpuError> {
        let cut = self.geometry(variant);
        Ok(cut_launch(target, spec, &cut, constants)?.chained(rounds(cut.rows_per_lane) + cut.tree_steps()))
    }

    /// What a finish of its own launches: a workgroup a quad, an invocation a channel, which take the quad's `chunks` in turn.
    fn finish_launch(
        &self,
        target: &Target,
        spec: &'static KernelSpec,
        constant: Constant,
        chunks: usize,
    ) -> Result<Launch, GpuError> {
        let grid = target.grid_1d(spec, self.quads(), 1)?;
        let chain = chunks.div_ceil(QUAD) + QUAD.ilog2() as usize;
        Ok(Launch::new(spec, &[constant], grid, QUAD).chained(chain))
    }

    /// A sweep after a finish.
    fn sweep_launch(
        &self,
        target: &Target,
        spec: &'static KernelSpec,
        constants: &[Constant],
    ) -> Result<Launch, GpuError> {
        let invocations = self.rows().div_ceil(SWEEP_ROWS) * self.quads();
        Ok(target.launch(spec, constants, invocations)?.chained(SWEEP_ROWS))
    }

    /// A sweep that combines the chunks: each invocation its share of them, the tree, what is left to all, its rows.
    fn finish_sweep_launch(
        &self,
        target: &Target,
        spec: &'static KernelSpec,
        constants: &[Constant],
        rows_at_once: usize,
    ) -> Result<Launch, GpuError> {
        let (cut, chunks) = (self.sweep_geometry(), self.geometry(BatchNormVariant::Tree).chunks);
        let combining = chunks.div_ceil(PARTIALS_AT_ONCE * cut.row_lanes) + cut.tree_steps() + 1;
        let chain = combining + cut.rows_per_lane.div_ceil(rows_at_once);
        Ok(cut_launch(target, spec, &cut, constants)?.chained(chain))
    }

    /// The forward pass: moments, their combination and the sweep where the batch's statistics count, else the table by the
    /// running ones and the sweep. Sweeps that combine chunks make the table too.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn forward_launches(
        &self,
        target: &Target,
        variant: BatchNormVariant,
        by_batch: bool,
        activation: Activation,
        has_residual: bool,
    ) -> Result<BatchNormLaunches, GpuError> {
        let combines = variant.combines_in_sweep();
        let constants = [flag("RESIDUAL", has_residual), ("ACTIVATION", f64::from(activation.code()))];
        let mut moments = None;
        if by_batch {
            let params = flag("PARAMS", combines);
            // The first row, whose distance the others are summed by, is read alone.
            let rounds = |rows: usize| 1 + (rows - 1).div_ceil(FORWARD_ROWS);
            moments = Some(self.moments_launch(target, &BATCH_NORM_MOMENTS, variant, &[params], rounds)?);
            if combines {
                let sweep = self.finish_sweep_launch(target, &BATCH_NORM_FINISH_APPLY, &constants, FORWARD_ROWS)?;
                return Ok(BatchNormLaunches { moments, finish: None, sweep });
            }
        }
        let constants = [constants[0], constants[1], flag("EVALUATE", combines)];
        let sweep = self.sweep_launch(target, &BATCH_NORM_APPLY, &constants)?;
        let mut finish = None;
        if !combines {
            let chunks = if by_batch { self.geometry(variant).chunks } else { 0 };
            let evaluates = flag("EVALUATE", !by_batch);
            finish = Some(self.finish_launch(target, &BATCH_NORM_FINISH, evaluates, chunks)?);
        }
        Ok(BatchNormLaunches { moments, finish, sweep })
    }

    /// The backward pass: sums, their combination, the sweep.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn gradient_launches(
        &self,
        target: &Target,
        variant: BatchNormVariant,
        undone: Undone,
        adds: BatchNormAdds,
    ) -> Result<BatchNormLaunches, GpuError> {
        let [activated, recomputes] = undone.constants();
        let moments = |residual: Option<bool>| {
            let constants = [activated, recomputes, residual_constant(residual)];
            let rounds = |rows: usize| rows.div_ceil(BACKWARD_ROWS);
            self.moments_launch(target, &BATCH_NORM_GRADIENT_MOMENTS, variant, &constants, rounds).map(Some)
        };
        if variant.combines_in_sweep() {
            let left = if undone.is_in_residual(adds.residual) { Undone::NOTHING } else { undone };
            let [activated, recomputes] = left.constants();
            let added = [flag("ACCUMULATE", adds.input), flag("ACCUMULATE_PARAMS", adds.params)];
            let constants = [activated, recomputes, added[0], added[1]];
            let sweep = self.finish_sweep_launch(target, &BATCH_NORM_FINISH_GRADIENT, &constants, BACKWARD_ROWS)?;
            return Ok(BatchNormLaunches { moments: moments(adds.residual)?, finish: None, sweep });
        }
        let (added, chunks) = (flag("ACCUMULATE", adds.params), self.geometry(variant).chunks);
        let finish = self.finish_launch(target, &BATCH_NORM_GRADIENT_FINISH, added, chunks)?;
        let constants = [activated, recomputes, residual_constant(adds.residual), flag("ACCUMULATE", adds.input)];
        let sweep = self.sweep_launch(target, &BATCH_NORM_GRADIENT, &constants)?;
        Ok(BatchNormLaunches { moments: moments(None)?, finish: Some(finish), sweep })
    }
}
