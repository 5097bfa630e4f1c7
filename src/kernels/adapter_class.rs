//! Adapters by the variants that they want.

use crate::gpu::{AdapterSummary, CooperativeMatrix, Family, Gpu};

use super::{CoopMatrices, software::SOFTWARE_LANES};

/// Adapters that want the same variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterClass {
    /// A GPU, with the cooperative matrices that its products run on, and software adapters that no variant is written for,
    /// where the tiles are slow and right.
    Gpu(CoopMatrices),
    /// A software adapter with subgroups of 8 lanes: llvmpipe on AVX2.
    EightLanes,
}

impl AdapterClass {
    /// The class of an open device.
    #[must_use]
    pub fn for_device(gpu: &Gpu) -> Self {
        Self::new(gpu.family() == Family::Software, gpu.subgroup_sizes(), gpu.cooperative_matrices())
    }

    /// The class of an adapter that is not open, taking for granted that it computes right by the cooperative matrices that
    /// it lists.
    #[must_use]
    pub fn for_adapter(adapter: &AdapterSummary) -> Self {
        let has_subgroups = adapter.features.contains(&"subgroups");
        let sizes = if has_subgroups { adapter.subgroup_sizes } else { [1, 1] };
        Self::new(adapter.kind == "software", sizes, &adapter.usable_matrices)
    }

    /// Software adapters have variants of their own, which are faster than by cooperative matrices.
    fn new(is_software: bool, subgroup_sizes: [u32; 2], matrices: &[CooperativeMatrix]) -> Self {
        match (is_software, subgroup_sizes) {
            (true, [SOFTWARE_LANES, SOFTWARE_LANES]) => Self::EightLanes,
            (true, _) => Self::Gpu(CoopMatrices::default()),
            (false, sizes) => Self::Gpu(CoopMatrices::preferred(matrices, sizes)),
        }
    }

    /// The same without cooperative matrices: whose variants stand in for those that the device is found to compute wrong.
    #[must_use]
    pub fn without_matrices(self) -> Self {
        if let Self::Gpu(_) = self { Self::Gpu(CoopMatrices::default()) } else { self }
    }

    /// Those that its products run on.
    pub(super) fn coop(self) -> CoopMatrices {
        if let Self::Gpu(matrices) = self { matrices } else { CoopMatrices::default() }
    }
}
