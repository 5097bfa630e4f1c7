//! Planned dispatches: kernels bound to their views.

use super::{CompiledKernel, ElementTypes, Gpu, GpuError, Grid, KernelSpec, Launch, View, Watched};

/// A kernel bound to its views: made once per plan, recorded every step.
#[derive(Clone, Debug)]
pub struct Dispatch {
    pub(super) kernel: CompiledKernel,
    pub(super) bind_group: wgpu::BindGroup,
    pub(super) views: Vec<View>,
    pub(super) grid: Grid,
    pub(super) immediates: Vec<u8>,
}

impl Dispatch {
    /// Entry point of the kernel.
    #[must_use]
    pub fn kernel_name(&self) -> &str {
        &self.kernel.0.label
    }

    /// Workgroups that a run launches.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// What a run with these immediates and this grid is.
    pub(super) fn watched<'a>(&'a self, immediates: &'a [u8], grid: Grid) -> Watched<'a> {
        let parts = &self.kernel.0;
        Watched {
            entry: parts.spec.entry,
            wgsl: parts.types.source(parts.spec),
            constants: &parts.constants,
            grid,
            immediates,
            views: &self.views,
            is_checked: parts.spec.indexes_by_values(),
        }
    }
}

impl CompiledKernel {
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
            None => Ok(Dispatch {
                kernel: self.clone(),
                bind_group,
                views: views.iter().map(|view| (*view).clone()).collect(),
                grid,
                immediates: immediates.to_vec(),
            }),
        }
    }
}

impl Gpu {
    /// The kernel of `spec` for tensors stored as those of `views`, bound to them as by [`CompiledKernel::dispatch`].
    ///
    /// # Errors
    /// As [`Gpu::kernel`] and [`CompiledKernel::dispatch`]; [`GpuError::Element`] for views that do not go together.
    pub fn dispatch(
        &self,
        spec: &'static KernelSpec,
        constants: &[(&'static str, f64)],
        grid: Grid,
        views: &[&View],
        immediates: &[u8],
    ) -> Result<Dispatch, GpuError> {
        self.kernel_of(spec, ElementTypes::new(spec, views)?, constants)?.dispatch(self, grid, views, immediates)
    }

    /// Compiles a launch's kernel, at its first call, and binds it to `views` (in the order of the spec).
    ///
    /// # Errors
    /// As [`Gpu::dispatch`].
    pub fn bind(&self, launch: &Launch, views: &[&View], immediates: &[u8]) -> Result<Dispatch, GpuError> {
        self.dispatch(launch.spec, &launch.constants, launch.grid, views, immediates)
    }
}
