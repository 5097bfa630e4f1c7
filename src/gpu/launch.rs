//! Grids and launches: a dispatch before any device is involved.

use super::{GpuError, KernelSpec};

/// Workgroups in x, y, z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid(pub [u32; 3]);

impl Grid {
    /// Workgroups in all.
    #[must_use]
    pub fn workgroups(self) -> u64 {
        self.0.iter().map(|side| u64::from(*side)).product()
    }

    /// `ceil(count / size)` workgroups folded over x and y: the kernel indexes by `index_1d`.
    ///
    /// At most `rows - 1` workgroups are spare, so a kernel has to check its index against its count.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past `limit * limit` workgroups, where `limit` is the adapter's per dimension.
    pub fn fold(kernel: &'static str, count: usize, size: usize, limit: u32) -> Result<Self, GpuError> {
        let groups = count.div_ceil(size).max(1) as u64;
        let rows = groups.div_ceil(u64::from(limit));
        if rows > u64::from(limit) {
            return Err(GpuError::Grid { kernel, groups, limit: u64::from(limit).pow(2) });
        }
        Ok(Self([groups.div_ceil(rows) as u32, rows as u32, 1]))
    }
}

/// What a dispatch has to do at least: operations and bytes.
///
/// Products count two operations a multiply-add; other kernels those of the formula in their header, a function such as the
/// exponential as one. Bytes are those of each operand once, of a result that is added to twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Work {
    /// Floating-point operations.
    pub flops: u64,
    /// Bytes read and written.
    pub bytes: u64,
}

impl std::iter::Sum for Work {
    fn sum<I: Iterator<Item = Self>>(all: I) -> Self {
        all.fold(Self::default(), |sum, work| Self { flops: sum.flops + work.flops, bytes: sum.bytes + work.bytes })
    }
}

/// How a workgroup computes its tile of a product, as far as its time depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProductTile {
    /// Rows and columns.
    pub sides: [u32; 2],
    /// Lines of both operands that are brought for each term: rows and columns, or fewer where columns share theirs.
    pub staged: u32,
    /// Rows and columns that an invocation sums, or a subgroup by cooperative matrices.
    pub share: [u32; 2],
    /// Terms of each sum that a round takes.
    pub depth: u32,
    /// Bytes of an operand's element in workgroup memory.
    pub element_bytes: u32,
    /// Whether sums are by cooperative matrices.
    pub by_matrices: bool,
}

/// A dispatch before any device is involved: which pipeline, and how much of it. [`Gpu::bind`](super::Gpu::bind) makes it one that runs.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The kernel.
    pub spec: &'static KernelSpec,
    /// Its overrides.
    pub constants: Vec<(&'static str, f64)>,
    /// Workgroups.
    pub grid: Grid,
    /// Invocations of a workgroup.
    pub threads: u32,
    /// Rounds of one invocation's longest loop and of what the workgroup does after it, each waiting for the one before:
    /// what no number of multiprocessors makes shorter.
    pub chain: usize,
    /// Of products, the tile of which each workgroup does `chain` rounds.
    pub tile: Option<ProductTile>,
    /// Operations and bytes, where the kernel says; zero where whoever planned the call knows.
    pub work: Work,
}

impl Launch {
    /// A launch of `grid` workgroups of `threads` invocations without a loop.
    #[must_use]
    pub fn new(spec: &'static KernelSpec, constants: &[(&'static str, f64)], grid: Grid, threads: usize) -> Self {
        let (constants, threads) = (constants.to_vec(), threads as u32);
        Self { spec, constants, grid, threads, chain: 1, tile: None, work: Work::default() }
    }

    /// The same with a chain of `rounds`.
    #[must_use]
    pub fn chained(self, rounds: usize) -> Self {
        Self { chain: rounds.max(1), ..self }
    }

    /// The same with a tile of a product for each workgroup.
    #[must_use]
    pub fn tiled(self, tile: ProductTile) -> Self {
        Self { tile: Some(tile), ..self }
    }

    /// The same with what it has to do.
    #[must_use]
    pub fn doing(self, work: Work) -> Self {
        Self { work, ..self }
    }

    /// Workgroups in all.
    #[must_use]
    pub fn workgroups(&self) -> u64 {
        self.grid.workgroups()
    }
}
