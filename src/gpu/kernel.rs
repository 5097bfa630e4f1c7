//! A kernel: the pipeline compiled from its spec for tensors of some types, and what it is known by.

use std::sync::Arc;

use super::{ElementTypes, KernelSpec};

/// What a compiled kernel is made of.
#[derive(Debug)]
pub(super) struct KernelParts {
    pub(super) spec: &'static KernelSpec,
    pub(super) types: ElementTypes,
    pub(super) constants: Vec<(&'static str, f64)>,
    pub(super) label: String,
    pub(super) pipeline: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// A compiled kernel; cheap to clone.
#[derive(Clone, Debug)]
pub struct CompiledKernel(pub(super) Arc<KernelParts>);

/// The spec by its address: two specs may share an entry point.
pub(super) type KernelKey = (usize, ElementTypes, Vec<(&'static str, u64)>);

pub(super) fn kernel_key(
    spec: &'static KernelSpec,
    types: ElementTypes,
    constants: &[(&'static str, f64)],
) -> KernelKey {
    let constants = constants.iter().map(|(name, value)| (*name, value.to_bits())).collect();
    (std::ptr::from_ref(spec).addr(), types, constants)
}
