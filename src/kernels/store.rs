//! How the results of a product are stored: the host side of `shaders/shared/store_*.wgsl`.

use crate::gpu::{Access, KernelSpec};

/// The bindings of a product's kernel.
pub(super) const BINDINGS: &[(&str, Access)] =
    &[("a", Access::Real), ("b", Access::Real), ("aux", Access::Real), ("c", Access::Out), ("pre", Access::Real)];

/// A kernel by how it stores its results: a binding has one type, so it takes two sources.
#[derive(Debug)]
pub(crate) struct ByStore {
    /// As whole vec4s.
    pub(crate) vectors: KernelSpec,
    /// As elements, where two invocations' results may share a vec4.
    pub(crate) elements: KernelSpec,
}

impl ByStore {
    /// The kernel for results that are whole vec4s, or are not.
    pub(crate) fn spec(&'static self, whole: bool) -> &'static KernelSpec {
        if whole { &self.vectors } else { &self.elements }
    }
}
