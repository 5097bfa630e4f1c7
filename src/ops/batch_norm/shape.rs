//! Sizes of batch norm, and what its dispatches launch: plain arithmetic that needs no device.

use crate::{
    gpu::{GpuError, KernelSpec, Launch},
    kernels::{Activation, AdapterClass, Constant, Target, flag, index_u32, padded_channels},
};

use super::specs::{
    BATCH_NORM_APPLY, BATCH_NORM_FINISH, BATCH_NORM_GRADIENT, BATCH_NORM_GRADIENT_FINISH, BATCH_NORM_MOMENTS,
};

/// Rows that an invocation of the sweeps takes: `BATCH_NORM_ROWS` in the shaders.
const SWEEP_ROWS: usize = 4;

/// Channels of a quad, each of which an invocation of the finishes takes.
const QUAD: usize = 4;

/// How the rows are cut among invocations; both run the same kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormVariant {
    /// Workgroups of 256, two for each multiprocessor of a large GPU, their rows' sums combined by a tree.
    Tree,
    /// An invocation for each quad of a chunk of rows: no barriers in the first step, for software adapters, where they cost most
    /// and a few invocations are enough.
    Chunks,
}

/// What a variant cuts by.
struct Cut {
    /// Invocations of a workgroup of the first step at most.
    threads: usize,
    /// The most of them that lie side by side in a row.
    quad_lanes: usize,
    /// The most of them that lie one below the other.
    row_lanes: usize,
    /// Workgroups to aim at.
    workgroups: usize,
    /// Rows that an invocation takes at least, where there are so many.
    fewest_rows: usize,
    /// Steps that none takes more of.
    longest_chain: usize,
    /// Invocations that combine a quad's chunks at most: a chunk each, where there are fewer of those.
    finish_lanes: usize,
}

impl BatchNormVariant {
    /// Every variant: all adapters run all of them.
    pub const ALL: [Self; 2] = [Self::Tree, Self::Chunks];

    /// The variant for a class of adapters.
    #[must_use]
    pub fn for_class(class: AdapterClass) -> Self {
        match class {
            AdapterClass::Gpu(_) => Self::Tree,
            AdapterClass::Software(_) => Self::Chunks,
        }
    }

    fn cut(self) -> Cut {
        match self {
            // 16 quads are 256 bytes in f32 and a cache line in f16. 264 workgroups are two for each multiprocessor of an H100.
            Self::Tree => Cut {
                threads: 256,
                quad_lanes: 16,
                row_lanes: 256,
                workgroups: 264,
                fewest_rows: 2,
                longest_chain: 64,
                finish_lanes: 256,
            },
            // One row of invocations has nothing to combine, and so no barrier; a finish needs one for each channel of a quad.
            Self::Chunks => Cut {
                threads: 16,
                quad_lanes: 16,
                row_lanes: 1,
                workgroups: 64,
                fewest_rows: 8,
                longest_chain: 512,
                finish_lanes: QUAD,
            },
        }
    }
}

/// A value [samples, pixels, padded channels] as batch norm sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormShape {
    /// Samples of a batch.
    pub batch: usize,
    /// Pixels of a sample; 1 for rows of features.
    pub pixels: usize,
    /// Channels in use; the value holds [`padded_channels`] of them.
    pub channels: usize,
}

impl std::fmt::Display for BatchNormShape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} x {} pixels x {}", self.batch, self.pixels, self.channels)
    }
}

/// How the first step cuts [rows, quads] into chunks of rows and columns of quads, a workgroup each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormGeometry {
    /// Workgroups side by side.
    pub column_tiles: usize,
    /// Workgroups one below the other, each of which leaves a partial result.
    pub chunks: usize,
    /// Invocations side by side in a row, a quad each.
    pub quad_lanes: usize,
    /// Invocations one below the other, taking every so manieth row.
    pub row_lanes: usize,
    /// Rows that an invocation takes.
    pub rows_per_lane: usize,
}

impl BatchNormGeometry {
    /// Rows of a chunk; the last may have fewer.
    #[must_use]
    pub fn rows_per_chunk(&self) -> usize {
        self.row_lanes * self.rows_per_lane
    }
}

/// What a forward pass launches.
#[derive(Clone, Debug)]
pub struct ForwardLaunches {
    /// The first step; none where the running statistics count.
    pub moments: Option<Launch>,
    /// The table of each channel.
    pub finish: Launch,
    /// The sweep.
    pub apply: Launch,
}

impl ForwardLaunches {
    /// In their order.
    #[must_use]
    pub fn into_vec(self) -> Vec<Launch> {
        self.moments.into_iter().chain([self.finish, self.apply]).collect()
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

impl BatchNormShape {
    pub(super) fn rows(&self) -> usize {
        self.batch * self.pixels
    }

    /// Rows of the first `valid` samples; of no more than there are, since the kernels do not check.
    pub(super) fn valid_rows(&self, valid: u32) -> usize {
        self.batch.min(valid as usize) * self.pixels
    }

    pub(super) fn quads(&self) -> usize {
        padded_channels(self.channels) / QUAD
    }

    /// How the first step is cut.
    #[must_use]
    pub fn geometry(&self, variant: BatchNormVariant) -> BatchNormGeometry {
        let cut = variant.cut();
        let quad_lanes = self.quads().max(1).next_power_of_two().min(cut.quad_lanes);
        let row_lanes = (cut.threads / quad_lanes).min(cut.row_lanes);
        let column_tiles = self.quads().div_ceil(quad_lanes);
        let chunks = cut.workgroups.div_ceil(column_tiles.max(1));
        let most = cut.longest_chain - row_lanes.ilog2() as usize;
        let rows_per_lane = (self.rows() / (row_lanes * chunks)).clamp(cut.fewest_rows, most);
        let chunks = self.rows().div_ceil(row_lanes * rows_per_lane);
        BatchNormGeometry { column_tiles, chunks, quad_lanes, row_lanes, rows_per_lane }
    }

    /// What the first step launches; `gradient` is that of the backward pass, with the activation that it undoes.
    fn moments_launch(
        &self,
        target: &Target,
        variant: BatchNormVariant,
        gradient: Option<Activation>,
    ) -> Result<Launch, GpuError> {
        let cut = self.geometry(variant);
        let threads = cut.quad_lanes * cut.row_lanes;
        let constants = [
            ("WORKGROUP_SIZE", threads as f64),
            ("QUAD_LANES", cut.quad_lanes as f64),
            flag("GRADIENT", gradient.is_some()),
            ("ACTIVATION", f64::from(gradient.unwrap_or(Activation::Identity).code())),
        ];
        let grid = target.grid_1d(&BATCH_NORM_MOMENTS, cut.column_tiles * cut.chunks, 1)?;
        let chain = cut.rows_per_lane + cut.row_lanes.ilog2() as usize;
        Ok(Launch::new(&BATCH_NORM_MOMENTS, &constants, grid, threads).chained(chain))
    }

    /// What a finish launches: a workgroup a quad, of as many invocations as the kernel's LANES; with no `variant` there are no
    /// chunks to combine.
    fn finish_launch(
        &self,
        target: &Target,
        spec: &'static KernelSpec,
        constant: Constant,
        variant: Option<BatchNormVariant>,
    ) -> Result<Launch, GpuError> {
        let grid = target.grid_1d(spec, self.quads(), 1)?;
        let (chunks, most) = variant.map_or((1, QUAD), |v| (self.geometry(v).chunks, v.cut().finish_lanes));
        let lanes = chunks.next_power_of_two().clamp(QUAD, most);
        let chain = chunks.div_ceil(lanes) + lanes.ilog2() as usize;
        Ok(Launch::new(spec, &[("LANES", lanes as f64), constant], grid, lanes).chained(chain))
    }

    fn sweep_launch(
        &self,
        target: &Target,
        spec: &'static KernelSpec,
        constants: &[Constant],
    ) -> Result<Launch, GpuError> {
        let invocations = self.rows().div_ceil(SWEEP_ROWS) * self.quads();
        Ok(target.launch(spec, constants, invocations)?.chained(SWEEP_ROWS))
    }

    /// The forward pass: moments and their combination, or with no `variant` the table by the running statistics; the sweep.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn forward_launches(
        &self,
        target: &Target,
        variant: Option<BatchNormVariant>,
        activation: Activation,
        has_residual: bool,
    ) -> Result<ForwardLaunches, GpuError> {
        let moments = variant.map(|variant| self.moments_launch(target, variant, None)).transpose()?;
        let evaluates = flag("EVALUATE", variant.is_none());
        let finish = self.finish_launch(target, &BATCH_NORM_FINISH, evaluates, variant)?;
        let constants = [flag("RESIDUAL", has_residual), ("ACTIVATION", f64::from(activation.code()))];
        let apply = self.sweep_launch(target, &BATCH_NORM_APPLY, &constants)?;
        Ok(ForwardLaunches { moments, finish, apply })
    }

    /// The backward pass: sums, their combination, the sweep.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid.
    pub fn gradient_launches(
        &self,
        target: &Target,
        variant: BatchNormVariant,
        activation: Activation,
        adds: BatchNormAdds,
    ) -> Result<[Launch; 3], GpuError> {
        let moments = self.moments_launch(target, variant, Some(activation))?;
        let accumulates = flag("ACCUMULATE", adds.params);
        let finish = self.finish_launch(target, &BATCH_NORM_GRADIENT_FINISH, accumulates, Some(variant))?;
        let residual = adds.residual.map_or(0.0, |adds| if adds { 2.0 } else { 1.0 });
        let constants =
            [("ACTIVATION", f64::from(activation.code())), ("RESIDUAL", residual), flag("ACCUMULATE", adds.input)];
        Ok([moments, finish, self.sweep_launch(target, &BATCH_NORM_GRADIENT, &constants)?])
    }

    /// Words of the value.
    #[must_use]
    pub fn words(&self) -> usize {
        self.rows() * QUAD * self.quads()
    }

    /// Words of the chunks' partial results, in whichever variant leaves more: an adapter is chosen after the memory is planned.
    #[must_use]
    pub fn partial_words(&self) -> usize {
        let chunks = BatchNormVariant::ALL.map(|variant| self.geometry(variant).chunks);
        chunks[0].max(chunks[1]) * 2 * QUAD * self.quads()
    }

    /// Words of the table that forward leaves: mean, 1 / standard deviation, scale and shift of each channel.
    #[must_use]
    pub fn table_words(&self) -> usize {
        4 * QUAD * self.quads()
    }

    /// Words of the coefficients within backward.
    #[must_use]
    pub fn coefficient_words(&self) -> usize {
        2 * QUAD * self.quads()
    }

    pub(super) fn check(&self, kernel: &'static str) -> Result<(), GpuError> {
        if self.words() == 0 {
            let shape = format!("{} x {} x {}", self.batch, self.pixels, self.channels);
            return Err(GpuError::Shape { kernel, shape, reason: "a side is empty" });
        }
        index_u32(kernel, &[self.words()]).map(|_| ())
    }
}

/// The first step's immediates.
pub(super) fn moments_values(shape: BatchNormShape, variant: BatchNormVariant, rows: usize) -> [u32; 4] {
    let cut = shape.geometry(variant);
    [rows, shape.quads(), cut.rows_per_chunk(), cut.chunks].map(|size| size as u32)
}
