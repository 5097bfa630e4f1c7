//! What tests have a device claim or do wrong, as drivers have.

use super::{CooperativeMatrix, Family, GpuError, Grid, Limits, View};

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
    /// Is told of every dispatch.
    pub watch: Option<Watch>,
}

/// What is told of a dispatch when all before it is done.
#[doc(hidden)]
pub type Watch = fn(&dyn DeviceMemory, &Watched<'_>) -> Option<After>;

/// What is to be done once a dispatch is.
#[doc(hidden)]
pub type After = Box<dyn FnOnce(&dyn DeviceMemory)>;

/// What a device's buffers hold, at once.
#[doc(hidden)]
pub trait DeviceMemory {
    /// The words of a view.
    ///
    /// # Errors
    /// As [`Gpu::read`](super::Gpu::read).
    fn words(&self, view: &View) -> Result<Vec<u32>, GpuError>;

    /// Puts words into a view.
    ///
    /// # Errors
    /// As [`Gpu::write`](super::Gpu::write).
    fn put(&self, view: &View, words: &[u32]) -> Result<(), GpuError>;
}

/// A dispatch that is about to run.
#[doc(hidden)]
#[derive(Debug)]
pub struct Watched<'a> {
    /// Entry point of the kernel, its WGSL as written and its overrides.
    pub entry: &'static str,
    pub wgsl: String,
    pub constants: &'a [(&'static str, f64)],
    pub grid: Grid,
    pub immediates: &'a [u8],
    /// What the bindings are.
    pub views: &'a [View],
    /// Whether its indices are checked.
    pub is_checked: bool,
}
