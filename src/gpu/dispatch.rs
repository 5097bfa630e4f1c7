//! Grids and planned dispatches.

use super::{GpuError, Kernel};

/// Workgroups in x, y, z.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Grid(pub [u32; 3]);

impl Grid {
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

/// A kernel bound to its views: made once per plan, recorded every step.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub(super) kernel: Kernel,
    pub(super) bind_group: wgpu::BindGroup,
    pub(super) grid: Grid,
    pub(super) immediates: Vec<u8>,
}

impl Dispatch {
    /// Entry point of the kernel.
    #[must_use]
    pub fn kernel_name(&self) -> &str {
        &self.kernel.0.label
    }

    /// Workgroups that a run launches.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }
}
