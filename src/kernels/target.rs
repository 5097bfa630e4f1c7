//! What launches go by: a device, an adapter that is not open, or one that is only described.

use crate::gpu::{AdapterSummary, CooperativeMatrix, Gpu, GpuError, Grid, KernelSpec, Launch, Limits};

use super::{AdapterClass, CoopMatrices, WORKGROUP_SIZE};

/// An adapter as far as the choice of variants and the size of grids depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Which variants.
    pub class: AdapterClass,
    /// What grids and bindings are checked against.
    pub limits: Limits,
}

impl Target {
    /// A large GPU of which nothing more is said than [`Target::MULTIPROCESSORS`], subgroups of 32 and 48 KiB of workgroup
    /// memory; without cooperative matrices, and with the grid that WebGPU grants everywhere.
    pub const GENERIC: Self = Self {
        class: AdapterClass::Gpu(CoopMatrices::NONE),
        limits: Limits {
            buffer_bytes: 1 << 34,
            binding_bytes: (1 << 32) - 4,
            workgroups: 65_535,
            workgroup_bytes: 48 << 10,
        },
    };

    /// Multiprocessors of the generic GPU.
    pub const MULTIPROCESSORS: u64 = 128;

    /// A GPU with subgroups of so many lanes, these cooperative matrices and bytes of workgroup memory and of memory, with the
    /// grid that WebGPU grants everywhere.
    #[must_use]
    pub fn described(subgroup: u32, matrices: &[CooperativeMatrix], workgroup_bytes: u32, memory: u64) -> Self {
        let class = AdapterClass::Gpu(CoopMatrices::preferred(matrices, [subgroup; 2]));
        Self { class, limits: Limits { workgroup_bytes, buffer_bytes: memory, ..Self::GENERIC.limits } }
    }

    /// The target that an open device is.
    #[must_use]
    pub fn for_device(gpu: &Gpu) -> Self {
        Self { class: AdapterClass::for_device(gpu), limits: gpu.limits() }
    }

    /// An open device taken for one of another class: what tests run every class's variants by.
    #[must_use]
    pub fn with_class(gpu: &Gpu, class: AdapterClass) -> Self {
        Self { class, limits: gpu.limits() }
    }

    /// The target that an adapter is.
    #[must_use]
    pub fn for_adapter(adapter: &AdapterSummary) -> Self {
        Self { class: AdapterClass::for_adapter(adapter), limits: adapter.limits() }
    }

    /// Workgroups of `size` for `count` elements, folded past the limit per dimension.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the whole grid.
    pub fn grid_1d(&self, spec: &KernelSpec, count: usize, size: usize) -> Result<Grid, GpuError> {
        Grid::fold(spec.entry, count, size, self.limits.workgroups)
    }

    /// An invocation for each of `count` elements, in workgroups of `size`, which the kernel knows as WORKGROUP_SIZE.
    pub(super) fn sized_launch(
        &self,
        spec: &'static KernelSpec,
        constants: &[super::Constant],
        count: usize,
        size: usize,
    ) -> Result<Launch, GpuError> {
        let grid = self.grid_1d(spec, count, size)?;
        let mut launch = Launch::new(spec, &[("WORKGROUP_SIZE", size as f64)], grid, size);
        launch.constants.extend_from_slice(constants);
        Ok(launch)
    }

    /// As [`Target::sized_launch`], in the workgroups of elementwise kernels.
    pub(crate) fn launch(
        &self,
        spec: &'static KernelSpec,
        constants: &[super::Constant],
        count: usize,
    ) -> Result<Launch, GpuError> {
        self.sized_launch(spec, constants, count, WORKGROUP_SIZE)
    }
}
