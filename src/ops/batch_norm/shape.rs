//! Sizes of batch norm and how its rows are cut: plain arithmetic that needs no device.

use crate::{
    gpu::GpuError,
    kernels::{AdapterClass, index_u32, padded_channels},
};

use super::specs::Batch;

/// Channels of a quad, each of which an invocation of the finishes takes.
pub(super) const QUAD: usize = 4;

/// Of the rows times this many are read at most as rows of partial results by the sweeps that combine them: for each of a quad's
/// rows a sweep reads 16 bytes of f32 and writes 16, a partial result has 32.
const PARTIALS_SHARE: usize = 8;

/// How the rows are cut among invocations, and in how many dispatches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchNormVariant {
    /// Two dispatches of workgroups of 256, two for each multiprocessor of a large GPU: their rows' sums, combined by a tree; and
    /// the sweep, each of whose workgroups combines the chunks of its own channels first.
    Tree,
    /// An invocation for each quad of a chunk of rows: no barriers in the first step, for software adapters, where they cost most
    /// and a few invocations are enough. The chunks are combined by a dispatch of its own.
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

    /// Whether the sweeps combine the chunks, each of their workgroups for itself.
    pub(super) fn combines_in_sweep(self) -> bool {
        self == Self::Tree
    }

    fn cut(self) -> Cut {
        match self {
            // 4 quads are 64 bytes in f32 and in f16 the 32 that a GPU reads at once; neighbouring workgroups read what lies
            // beside them. More of them would leave fewer columns and so more chunks for every sweep to combine. 264
            // workgroups are two for each multiprocessor of an H100.
            Self::Tree => {
                Cut { threads: 256, quad_lanes: 4, row_lanes: 256, workgroups: 264, fewest_rows: 2, longest_chain: 64 }
            }
            // One row of invocations has nothing to combine, and so no barrier.
            Self::Chunks => {
                Cut { threads: 16, quad_lanes: 16, row_lanes: 1, workgroups: 64, fewest_rows: 8, longest_chain: 512 }
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

/// How [rows, quads] are cut into chunks of rows and columns of quads, a workgroup each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNormGeometry {
    /// Workgroups side by side.
    pub column_tiles: usize,
    /// Workgroups one below the other; those of the first step leave a partial result each.
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

    /// Workgroups in all.
    pub(super) fn workgroups(&self) -> usize {
        self.column_tiles * self.chunks
    }

    /// Invocations of a workgroup.
    pub(super) fn threads(&self) -> usize {
        self.quad_lanes * self.row_lanes
    }

    /// Steps of the tree over a workgroup's invocations.
    pub(super) fn tree_steps(&self) -> usize {
        self.row_lanes.ilog2() as usize
    }
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

    /// Columns of the workgroups, and invocations side by side and one below the other.
    fn columns(&self, cut: &Cut) -> (usize, usize, usize) {
        let quad_lanes = self.quads().max(1).next_power_of_two().min(cut.quad_lanes);
        (self.quads().div_ceil(quad_lanes), quad_lanes, (cut.threads / quad_lanes).min(cut.row_lanes))
    }

    /// How the first step is cut.
    #[must_use]
    pub fn geometry(&self, variant: BatchNormVariant) -> BatchNormGeometry {
        let cut = variant.cut();
        let (column_tiles, quad_lanes, row_lanes) = self.columns(&cut);
        let mut chunks = cut.workgroups.div_ceil(column_tiles.max(1));
        if variant.combines_in_sweep() {
            // As many as there are workgroups of a sweep to read them, at half of the share: those may be twice as many.
            chunks = chunks.min((self.rows() / (2 * PARTIALS_SHARE)).isqrt()).max(1);
        }
        let most = cut.longest_chain - row_lanes.ilog2() as usize;
        let rows_per_lane = (self.rows() / (row_lanes * chunks)).clamp(cut.fewest_rows, most);
        let chunks = self.rows().div_ceil(row_lanes * rows_per_lane);
        BatchNormGeometry { column_tiles, chunks, quad_lanes, row_lanes, rows_per_lane }
    }

    /// How the sweeps that combine the chunks themselves are cut: into twice as many workgroups as the first step, so that four
    /// for each multiprocessor wait for each other's memory, or so few that their reads of all the chunks keep to their share.
    #[must_use]
    pub fn sweep_geometry(&self) -> BatchNormGeometry {
        let cut = BatchNormVariant::Tree.cut();
        let (column_tiles, quad_lanes, row_lanes) = self.columns(&cut);
        let share = self.rows() / (PARTIALS_SHARE * self.geometry(BatchNormVariant::Tree).chunks.max(1));
        let tiles = (2 * cut.workgroups).div_ceil(column_tiles.max(1)).min(share).max(1);
        let rows_per_lane = self.rows().div_ceil(row_lanes * tiles).max(1);
        let chunks = self.rows().div_ceil(row_lanes * rows_per_lane);
        BatchNormGeometry { column_tiles, chunks, quad_lanes, row_lanes, rows_per_lane }
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

    /// Words of the table that forward leaves: mean, 1 / standard deviation, weight and bias of each channel.
    #[must_use]
    pub fn table_words(&self) -> usize {
        4 * QUAD * self.quads()
    }

    /// Words of the coefficients within backward, of the variant that combines the chunks in a dispatch of its own.
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

    /// The immediates of every kernel, for the first `valid` samples.
    pub(super) fn values(&self, variant: BatchNormVariant, valid: u32, momentum: f32, eps: f32) -> Batch {
        let (cut, rows) = (self.geometry(variant), self.valid_rows(valid));
        Batch {
            rows: rows as u32,
            all_rows: self.rows() as u32,
            quads: self.quads() as u32,
            channels: self.channels as u32,
            rows_per_chunk: cut.rows_per_chunk() as u32,
            chunks: cut.chunks as u32,
            filled: rows.div_ceil(cut.rows_per_chunk()) as u32,
            rows_per_tile: self.sweep_geometry().rows_per_chunk() as u32,
            momentum,
            eps,
        }
    }
}
