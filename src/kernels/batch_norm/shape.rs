//! Sizes of batch norm, and what its dispatches launch: plain arithmetic that needs no device.

use crate::gpu::GpuError;

use super::{
    super::{WORKGROUP_SIZE, index_u32, padded_channels},
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
    /// An invocation for each quad of a chunk of about the root of the rows: no more barriers than have to be, for software
    /// adapters, where they cost most and a few invocations are enough.
    Chunks,
}

/// What a variant cuts by.
struct Cut {
    /// Invocations of a workgroup of the first step.
    threads: usize,
    /// The most of them that lie side by side in a row.
    quad_lanes: usize,
    /// Workgroups to aim at.
    workgroups: usize,
    /// Rows that an invocation takes at least, where there are so many.
    fewest_rows: usize,
    /// Steps that none takes more of.
    longest_chain: usize,
    /// Invocations that combine a quad's chunks.
    finish_lanes: usize,
}

impl BatchNormVariant {
    /// Every variant: all adapters run all of them.
    pub const ALL: [Self; 2] = [Self::Tree, Self::Chunks];

    fn cut(self) -> Cut {
        match self {
            // 16 quads are 256 bytes in f32 and a cache line in f16. 264 workgroups are two for each multiprocessor of an H100.
            Self::Tree => Cut {
                threads: 256,
                quad_lanes: 16,
                workgroups: 264,
                fewest_rows: 2,
                longest_chain: 64,
                finish_lanes: 64,
            },
            Self::Chunks => {
                Cut { threads: 64, quad_lanes: 16, workgroups: 64, fewest_rows: 8, longest_chain: 512, finish_lanes: 8 }
            }
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

/// What a dispatch launches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormLaunch {
    /// Entry point.
    pub kernel: &'static str,
    /// Workgroups, before they are folded over the dimensions of a grid.
    pub workgroups: usize,
    /// Invocations of a workgroup.
    pub threads: usize,
    /// Rounds of an invocation's longest loop, and the steps of its workgroup's tree: what follows one upon the other.
    pub chain: usize,
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
        let row_lanes = cut.threads / quad_lanes;
        let column_tiles = self.quads().div_ceil(quad_lanes);
        let chunks = cut.workgroups.div_ceil(column_tiles.max(1));
        let most = cut.longest_chain - row_lanes.ilog2() as usize;
        let rows_per_lane = (self.rows() / (row_lanes * chunks)).clamp(cut.fewest_rows, most);
        let chunks = self.rows().div_ceil(row_lanes * rows_per_lane);
        BatchNormGeometry { column_tiles, chunks, quad_lanes, row_lanes, rows_per_lane }
    }

    fn moments_launch(&self, variant: BatchNormVariant) -> BatchNormLaunch {
        let of = self.geometry(variant);
        BatchNormLaunch {
            kernel: BATCH_NORM_MOMENTS.entry,
            workgroups: of.column_tiles * of.chunks,
            threads: of.quad_lanes * of.row_lanes,
            chain: of.rows_per_lane + of.row_lanes.ilog2() as usize,
        }
    }

    fn finish_launch(&self, variant: BatchNormVariant, kernel: &'static str) -> BatchNormLaunch {
        let (workgroups, threads) = (self.quads(), variant.cut().finish_lanes);
        let chain = self.geometry(variant).chunks.div_ceil(threads) + threads.ilog2() as usize;
        BatchNormLaunch { kernel, workgroups, threads, chain }
    }

    fn sweep_launch(&self, kernel: &'static str) -> BatchNormLaunch {
        let invocations = self.rows().div_ceil(SWEEP_ROWS) * self.quads();
        let workgroups = invocations.div_ceil(WORKGROUP_SIZE);
        BatchNormLaunch { kernel, workgroups, threads: WORKGROUP_SIZE, chain: SWEEP_ROWS }
    }

    /// The forward pass' dispatches by the batch's statistics: moments, their combination, the sweep.
    #[must_use]
    pub fn forward_launches(&self, variant: BatchNormVariant) -> [BatchNormLaunch; 3] {
        let finish = self.finish_launch(variant, BATCH_NORM_FINISH.entry);
        [self.moments_launch(variant), finish, self.sweep_launch(BATCH_NORM_APPLY.entry)]
    }

    /// The forward pass' dispatches by the running statistics: the table from those, the sweep.
    #[must_use]
    pub fn evaluation_launches(&self) -> [BatchNormLaunch; 2] {
        let finish =
            BatchNormLaunch { kernel: BATCH_NORM_FINISH.entry, workgroups: self.quads(), threads: QUAD, chain: 1 };
        [finish, self.sweep_launch(BATCH_NORM_APPLY.entry)]
    }

    /// The backward pass' dispatches: sums, their combination, the sweep.
    #[must_use]
    pub fn gradient_launches(&self, variant: BatchNormVariant) -> [BatchNormLaunch; 3] {
        let finish = self.finish_launch(variant, BATCH_NORM_GRADIENT_FINISH.entry);
        [self.moments_launch(variant), finish, self.sweep_launch(BATCH_NORM_GRADIENT.entry)]
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
