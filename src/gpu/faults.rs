//! What tests have a device claim or do wrong, as drivers have.

use super::{CooperativeMatrix, Family, Gpu};

/// Faults to imitate; none by default.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// Claims to be of this family, and so takes its variants.
    pub family: Option<Family>,
    /// Claims subgroups of these sizes, the smallest and the largest.
    pub subgroup_sizes: Option<[u32; 2]>,
    /// Claims to compute by these cooperative matrices.
    pub matrices: Option<Vec<CooperativeMatrix>>,
    /// Understands every kernel's WGSL as this makes it.
    pub misread: Option<fn(&str) -> String>,
}

impl Gpu {
    /// The same device with these faults, before anything is compiled on it.
    #[doc(hidden)]
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        if let Some(matrices) = &faults.matrices {
            self.cooperative.clone_from(matrices);
        }
        self.faults = faults;
        self
    }
}
