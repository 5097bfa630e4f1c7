//! A kernel as written: its source and its bindings.

/// How a kernel declares a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>` of words
    Read,
    /// As [`Access::Read`], of words by whose values the kernel indexes another binding: sample numbers, labels. No shape
    /// bounds them, so the kernel keeps its bounds checks.
    Index,
    /// `var<storage, read_write>` of words; also for operands that may share an arena with the output, because wgpu
    /// allows a buffer only one kind of use within a dispatch.
    ReadWrite,
    /// `var<storage, read_write>` of `Real`: activations and the weights that the network sees, f32 or f16.
    Real,
    /// `var<storage, read_write>` of `Out`: a result that may be an activation or a gradient of a weight.
    Out,
}

/// A kernel as written: position in `bindings` = `@binding`. A test compares it with what naga reads from the WGSL.
#[derive(Debug)]
pub struct KernelSpec {
    /// Entry point.
    pub entry: &'static str,
    /// The WGSL: the kernel's file, then the shared parts that it uses.
    pub source: &'static str,
    /// Storage bindings of group 0 by name.
    pub bindings: &'static [(&'static str, Access)],
    /// Bytes of `var<immediate>`, 0 for none.
    pub immediate_bytes: u32,
}

impl KernelSpec {
    /// The run-time checks that the kernel is compiled with on a device that asks for `wanted`.
    pub(super) fn checks(&self, wanted: wgpu::ShaderRuntimeChecks) -> wgpu::ShaderRuntimeChecks {
        let mut checks = wanted;
        checks.bounds_checks |= self.indexes_by_values();
        checks
    }

    /// Whether it indexes a binding by values that lie in another: it keeps its bounds checks on every device.
    #[must_use]
    pub fn indexes_by_values(&self) -> bool {
        self.bindings.iter().any(|(_, access)| *access == Access::Index)
    }
}

impl Access {
    /// Whether the kernel only reads.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::Read | Self::Index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernels_that_index_by_values_keep_their_bounds_checks() {
        let spec = |bindings| KernelSpec { entry: "probe", source: "", bindings, immediate_bytes: 0 };
        let [off, on] = [wgpu::ShaderRuntimeChecks::unchecked(), wgpu::ShaderRuntimeChecks::checked()];
        let by_shape = spec(&[("input", Access::Read), ("output", Access::ReadWrite)]);
        let by_value = spec(&[("input", Access::Read), ("indices", Access::Index), ("output", Access::ReadWrite)]);
        assert!(!by_shape.checks(off).bounds_checks && by_value.checks(off).bounds_checks);
        assert!(by_shape.checks(on).bounds_checks && by_value.checks(on).bounds_checks);
    }
}
