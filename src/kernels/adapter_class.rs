//! Adapters by the variants that they want.

use std::fmt;

use crate::gpu::{AdapterSummary, CooperativeMatrix, Family, Gpu};

use super::{CoopMatrices, Lanes};

/// Adapters that want the same variants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdapterClass {
    /// A GPU, with the cooperative matrices that its products run on.
    Gpu(CoopMatrices),
    /// A software adapter, with the lanes that share the tiles of its products; where they are not known, these are a GPU's,
    /// slow and right.
    Software(Lanes),
}

impl fmt::Display for AdapterClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gpu(_) => f.write_str("GPU"),
            Self::Software(Lanes::Unknown) => f.write_str("software"),
            Self::Software(lanes) => write!(f, "software, {} lanes", lanes.count()),
        }
    }
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
        if is_software {
            Self::Software(Lanes::of_subgroups(subgroup_sizes))
        } else {
            Self::Gpu(CoopMatrices::preferred(matrices, subgroup_sizes))
        }
    }

    /// Whether it is a processor that passes for a GPU, whose driver takes longer to compile a kernel than to run it.
    #[must_use]
    pub fn is_software(self) -> bool {
        matches!(self, Self::Software(_))
    }

    /// The lanes that share a tile of the kernels for software adapters.
    pub(super) fn lanes(self) -> Lanes {
        if let Self::Software(lanes) = self { lanes } else { Lanes::Unknown }
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
