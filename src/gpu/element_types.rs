//! The WGSL types that follow from how a kernel's tensors are stored.

use super::{Access, Element, GpuError, KernelSpec, View};

/// What `Real` and `Out` stand for in a kernel: see [`Access`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ElementTypes {
    /// Whether `Real` is f16.
    pub real_is_half: bool,
    /// Whether `Out` is f16.
    pub out_is_half: bool,
}

impl ElementTypes {
    /// The types by which `views` (in the order of the bindings) can be bound.
    ///
    /// # Errors
    /// [`GpuError::Element`] where two views of one type differ, or f16 lies where words belong.
    pub(super) fn new(spec: &KernelSpec, views: &[&View]) -> Result<Self, GpuError> {
        let mut types = Self::default();
        for (access, half) in [(Access::Real, &mut types.real_is_half), (Access::Out, &mut types.out_is_half)] {
            let mut elements = spec.bindings.iter().zip(views).filter(|((_, declared), _)| *declared == access);
            *half = elements.any(|(_, view)| view.element() == Element::Half);
        }
        for ((binding, access), view) in spec.bindings.iter().zip(views) {
            let half = match access {
                Access::Read | Access::Index | Access::ReadWrite => false,
                Access::Real => types.real_is_half,
                Access::Out => types.out_is_half,
            };
            let expected = if half { Element::Half } else { Element::Word };
            if view.element() != Element::Unused && view.element() != expected {
                let found = view.element();
                return Err(GpuError::Element { kernel: spec.entry, binding, expected, found });
            }
        }
        Ok(types)
    }

    /// The WGSL of `spec` with these types: `enable` has to stand before it, the aliases may stand after it. Both are always
    /// there, for what shared parts say of either.
    #[must_use]
    pub fn source(self, spec: &KernelSpec) -> String {
        let name = |half: bool| if half { "f16" } else { "f32" };
        let enable = if self.real_is_half || self.out_is_half { "enable f16; " } else { "" };
        let aliases = format!("alias Real = {};\nalias Out = {};\n", name(self.real_is_half), name(self.out_is_half));
        format!("{enable}{}\n{aliases}", spec.source)
    }
}
