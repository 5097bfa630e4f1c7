//! A kernel: its source, its bindings, and the pipeline compiled from them.

use std::sync::Arc;

use super::{Dispatch, ElementTypes, Gpu, GpuError, Grid, View, pipeline_cache::PipelineCache};

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
    fn checks(&self, wanted: wgpu::ShaderRuntimeChecks) -> wgpu::ShaderRuntimeChecks {
        let mut checks = wanted;
        checks.bounds_checks |= self.bindings.iter().any(|(_, access)| *access == Access::Index);
        checks
    }
}

impl Access {
    /// Whether the kernel only reads.
    #[must_use]
    pub fn is_read_only(self) -> bool {
        matches!(self, Self::Read | Self::Index)
    }
}

#[derive(Debug)]
pub(super) struct Compiled {
    pub(super) spec: &'static KernelSpec,
    types: ElementTypes,
    pub(super) label: String,
    pub(super) pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// A compiled kernel; cheap to clone.
#[derive(Clone, Debug)]
pub struct Kernel(pub(super) Arc<Compiled>);

impl Kernel {
    pub(super) fn compile(
        gpu: &Gpu,
        spec: &'static KernelSpec,
        types: ElementTypes,
        constants: &[(&'static str, f64)],
    ) -> Result<Self, GpuError> {
        let entries: Vec<_> = spec
            .bindings
            .iter()
            .enumerate()
            .map(|(binding, (_, access))| wgpu::BindGroupLayoutEntry {
                binding: binding as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: access.is_read_only() },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let label = Some(spec.entry);
        let device = &gpu.device;
        let (compiled, error) = gpu.scoped(|| {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: spec.immediate_bytes,
            });
            let source = wgpu::ShaderSource::Wgsl(gpu.wgsl(spec, types).into());
            let descriptor = wgpu::ShaderModuleDescriptor { label, source };
            let checks = spec.checks(gpu.runtime_checks);
            // SAFETY: the unchecked module relies on every index being within its binding and every loop ending.
            // Each kernel's host side checks the length of every binding against its shape before it dispatches,
            // loops are bounded by those shapes, kernels that index by values of a buffer keep their bounds checks
            // (`Access::Index`), and `tests/` runs every kernel on awkward shapes with checks on
            // (`Gpu::with_runtime_checks`) and off, to the same result.
            #[expect(unsafe_code, reason = "shapes that the host has checked bound every index")]
            let module = unsafe { device.create_shader_module_trusted(descriptor, checks) };
            let pipeline = device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: label,
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants,
                    zero_initialize_workgroup_memory: false,
                },
                cache: gpu.pipeline_cache.as_ref().map(PipelineCache::raw),
            });
            Compiled { spec, types, label: spec.entry.to_owned(), pipeline, layout }
        });
        match error {
            Some(error) => Err(GpuError::Shader { kernel: spec.entry, reason: error.to_string() }),
            None => Ok(Self(Arc::new(compiled))),
        }
    }

    /// Binds `views` (in the order of the spec) for a grid, with the immediates of every run.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] for a binding past the adapter's limit, [`GpuError::Validation`] where wgpu refuses.
    pub fn dispatch(&self, gpu: &Gpu, grid: Grid, views: &[&View], immediates: &[u8]) -> Result<Dispatch, GpuError> {
        let spec = self.0.spec;
        if ElementTypes::new(spec, views)? != self.0.types {
            let what = format!("tensors of kernel {}", spec.entry);
            return Err(GpuError::Validation { what, reason: "it was compiled for other element types".to_owned() });
        }
        let limit = gpu.limits.binding_bytes;
        for ((name, _), view) in spec.bindings.iter().zip(views) {
            if view.bytes() > limit {
                return Err(GpuError::TooLarge {
                    what: format!("kernel {}, binding {name}", spec.entry),
                    bytes: view.bytes(),
                    limit,
                    limit_name: "max_storage_buffer_binding_size",
                });
            }
        }
        let entries: Vec<_> = views
            .iter()
            .enumerate()
            .map(|(binding, view)| wgpu::BindGroupEntry { binding: binding as u32, resource: view.binding() })
            .collect();
        let (bind_group, error) = gpu.scoped(|| {
            gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                label: Some(spec.entry),
                layout: &self.0.layout,
                entries: &entries,
            })
        });
        match error {
            Some(error) => {
                Err(GpuError::Validation { what: format!("bind group of {}", spec.entry), reason: error.to_string() })
            }
            None => Ok(Dispatch { kernel: self.clone(), bind_group, grid, immediates: immediates.to_vec() }),
        }
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
