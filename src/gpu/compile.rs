//! Compiling kernels, each once.

use std::sync::Arc;

use super::{
    CompiledKernel, ElementTypes, Gpu, GpuError, KernelSpec,
    kernel::{KernelParts, kernel_key},
    lock::lock,
    pipeline_cache::PipelineCache,
};

impl Gpu {
    /// The kernel of `spec` with these overrides, all of its tensors f32; compiled at the first call, shared afterwards.
    ///
    /// # Errors
    /// [`GpuError::Shader`] if the adapter's compiler refuses it.
    pub fn kernel(
        &self,
        spec: &'static KernelSpec,
        constants: &[(&'static str, f64)],
    ) -> Result<CompiledKernel, GpuError> {
        self.kernel_of(spec, ElementTypes::default(), constants)
    }

    pub(super) fn kernel_of(
        &self,
        spec: &'static KernelSpec,
        types: ElementTypes,
        constants: &[(&'static str, f64)],
    ) -> Result<CompiledKernel, GpuError> {
        let slot = Arc::clone(lock(&self.kernels).entry(kernel_key(spec, types, constants)).or_default());
        let mut slot = lock(&slot);
        if let Some(kernel) = &*slot {
            return Ok(kernel.clone());
        }
        let kernel = self.compile(spec, types, constants)?;
        *slot = Some(kernel.clone());
        Ok(kernel)
    }

    fn compile(
        &self,
        spec: &'static KernelSpec,
        types: ElementTypes,
        constants: &[(&'static str, f64)],
    ) -> Result<CompiledKernel, GpuError> {
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
        let device = &self.device;
        let (compiled, error) = self.scoped(|| {
            let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label, entries: &entries });
            let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
                label,
                bind_group_layouts: &[Some(&layout)],
                immediate_size: spec.immediate_bytes,
            });
            let source = wgpu::ShaderSource::Wgsl(self.wgsl(spec, types).into());
            let descriptor = wgpu::ShaderModuleDescriptor { label, source };
            let checks = spec.checks(self.runtime_checks);
            // SAFETY: the unchecked module relies on every index being within its binding and every loop ending.
            // Each kernel's host side checks the length of every binding against its shape before it dispatches,
            // loops are bounded by those shapes, kernels that index by values of a buffer keep their bounds checks
            // (`Access::Index`); `tests/` runs every kernel with checks on (`Gpu::with_runtime_checks`) and off, to the
            // same result, and `make sanitize` finds any index outside on the awkward shapes of the kernels' own tests.
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
                cache: self.pipeline_cache.as_ref().map(PipelineCache::raw),
            });
            KernelParts { spec, types, constants: constants.to_vec(), label: spec.entry.to_owned(), pipeline, layout }
        });
        match error {
            Some(error) => Err(GpuError::Shader { kernel: spec.entry, reason: error.to_string() }),
            None => Ok(CompiledKernel(Arc::new(compiled))),
        }
    }

    /// The WGSL of a kernel for tensors of these types.
    pub(super) fn wgsl(&self, spec: &KernelSpec, types: ElementTypes) -> String {
        let text = types.source(spec);
        self.faults.misread.map_or_else(|| text.clone(), |misread| misread(&text))
    }
}
