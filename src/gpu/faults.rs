//! What tests have a device claim or do wrong, as drivers have.

use super::{CooperativeMatrix, Family, Limits};

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
    /// Claims to grant no more than this.
    pub limits: Option<Limits>,
    /// Understands every kernel's WGSL as this makes it.
    pub misread: Option<fn(&str) -> String>,
}
