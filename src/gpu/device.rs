//! The device: opened with the adapter's own limits and only the features that Jostle uses.

use std::{
    collections::{HashMap, VecDeque},
    path::Path,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use wgpu::Features;

use super::{
    AdapterChoice, Buffer, CompiledKernel, CooperativeMatrix, Element, Family, Faults, GpuError, Grid, Limits, View,
    WORD_BYTES, adapter, cooperative,
    kernel::KernelKey,
    lock::lock,
    pipeline_cache::{PipelineCache, cache_folder},
    verdicts::Verdicts,
};

/// Bindings that one kernel may leave unused at most, each with a part of a buffer of its own: WebGPU forbids binding a part twice
/// where it may be written.
const UNUSED_SLOTS: usize = 3;

/// The kernels of a device, each behind a lock of its own, so that different ones compile side by side and none twice.
type Kernels = Mutex<HashMap<KernelKey, Arc<Mutex<Option<CompiledKernel>>>>>;

/// An open device with its queue and every kernel compiled on it so far.
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) runtime_checks: wgpu::ShaderRuntimeChecks,
    pub(super) limits: Limits,
    info: wgpu::AdapterInfo,
    features: Features,
    pub(super) cooperative: Vec<CooperativeMatrix>,
    pub(super) faults: Faults,
    pub(super) verdicts: Verdicts,
    pub(super) kernels: Arc<Kernels>,
    pub(super) pipeline_cache: Option<PipelineCache>,
    pub(super) failure: Arc<Mutex<Option<GpuError>>>,
    /// Why the device was lost, once it was.
    pub(super) loss: Arc<Mutex<Option<String>>>,
    allocated: AtomicU64,
    unused: OnceLock<Buffer>,
    pub(super) in_flight: Mutex<VecDeque<wgpu::SubmissionIndex>>,
}

impl std::fmt::Debug for Gpu {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gpu").field("adapter", &self.info.name).field("limits", &self.limits).finish()
    }
}

impl Gpu {
    /// Opens the adapter of `choice`.
    ///
    /// # Errors
    /// No adapter, none that fits, one that lacks immediates, or one that refuses.
    pub fn new(choice: &AdapterChoice) -> Result<Self, GpuError> {
        Self::open(choice, wgpu::ShaderRuntimeChecks::unchecked(), None)
    }

    /// As [`Gpu::new`], with bounds checks and loop bounds injected into every kernel: slow, for tests.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub fn with_runtime_checks(choice: &AdapterChoice) -> Result<Self, GpuError> {
        Self::open(choice, wgpu::ShaderRuntimeChecks::checked(), None)
    }

    /// As [`Gpu::new`], with compiled kernels kept in `folder` (see [`cache_folder`](super::cache_folder)) where the adapter
    /// hands them out.
    ///
    /// # Errors
    /// As [`Gpu::new`]; a cache that cannot be read or written is not an error.
    pub fn with_cache(choice: &AdapterChoice, folder: &Path) -> Result<Self, GpuError> {
        Self::open(choice, wgpu::ShaderRuntimeChecks::unchecked(), Some(folder))
    }

    /// As [`Gpu::with_cache`] in the folder where caches lie, or [`Gpu::new`] where there is none: what the program opens.
    ///
    /// # Errors
    /// As [`Gpu::new`].
    pub fn with_caches(choice: &AdapterChoice) -> Result<Self, GpuError> {
        match cache_folder() {
            Some(folder) => Self::with_cache(choice, &folder),
            None => Self::new(choice),
        }
    }

    fn open(
        choice: &AdapterChoice,
        runtime_checks: wgpu::ShaderRuntimeChecks,
        cache: Option<&Path>,
    ) -> Result<Self, GpuError> {
        let (_, adapter) = adapter::choose(choice)?;
        let info = adapter.get_info();
        if !adapter.features().contains(Features::IMMEDIATES) {
            return Err(GpuError::MissingFeature { adapter: info.name, feature: "immediates (push constants)" });
        }
        adapter::warn_of_fxc(&adapter);
        let wanted = Features::IMMEDIATES | Features::TIMESTAMP_QUERY | Features::SUBGROUP | Features::SHADER_F16;
        let wanted = wanted | if cache.is_some() { Features::PIPELINE_CACHE } else { Features::empty() };
        let cooperative = CooperativeMatrix::usable(&adapter);
        let mut features = adapter.features() & wanted;
        features.set(Features::EXPERIMENTAL_COOPERATIVE_MATRIX, !cooperative.is_empty());
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("jostle"),
            required_features: features,
            required_limits: adapter.limits(),
            memory_hints: wgpu::MemoryHints::Performance,
            experimental_features: cooperative::permission(&cooperative),
            ..Default::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| GpuError::RequestDevice { adapter: info.name.clone(), reason: error.to_string() })?;
        let (failure, loss) = (Arc::new(Mutex::new(None)), Arc::new(Mutex::new(None)));
        watch(&device, &failure, &loss);
        let granted = device.limits();
        let limits = Limits {
            buffer_bytes: granted.max_buffer_size,
            binding_bytes: granted.max_storage_buffer_binding_size,
            workgroups: granted.max_compute_workgroups_per_dimension,
            workgroup_bytes: granted.max_compute_workgroup_storage_size,
        };
        let verdicts = Verdicts::new(&info, runtime_checks, cache);
        let cache = cache.filter(|_| features.contains(Features::PIPELINE_CACHE));
        let pipeline_cache = cache.and_then(|folder| PipelineCache::open(&device, &info, folder));
        Ok(Self {
            device,
            queue,
            runtime_checks,
            limits,
            info,
            features,
            cooperative,
            faults: Faults::default(),
            verdicts,
            kernels: Arc::default(),
            pipeline_cache,
            failure,
            loss,
            allocated: AtomicU64::new(0),
            unused: OnceLock::new(),
            in_flight: Mutex::default(),
        })
    }

    /// The same device with these faults, before anything is compiled on it.
    #[doc(hidden)]
    #[must_use]
    pub fn with_faults(mut self, faults: Faults) -> Self {
        if let Some(matrices) = &faults.matrices {
            self.cooperative.clone_from(matrices);
        }
        self.limits = faults.limits.unwrap_or(self.limits);
        self.faults = faults;
        self
    }

    /// The same device once more, which shares what is compiled on it: for tests that begin many runs.
    #[doc(hidden)]
    #[must_use]
    pub fn again(&self) -> Self {
        Self {
            device: self.device.clone(),
            queue: self.queue.clone(),
            runtime_checks: self.runtime_checks,
            limits: self.limits,
            info: self.info.clone(),
            features: self.features,
            cooperative: self.cooperative.clone(),
            faults: self.faults.clone(),
            verdicts: Verdicts::default(),
            kernels: Arc::clone(&self.kernels),
            pipeline_cache: None,
            failure: Arc::clone(&self.failure),
            loss: Arc::clone(&self.loss),
            allocated: AtomicU64::new(0),
            unused: OnceLock::new(),
            in_flight: Mutex::default(),
        }
    }

    /// The adapter's name, e.g. `llvmpipe (LLVM 15.0.6, 256 bits)`.
    #[must_use]
    pub fn adapter_name(&self) -> &str {
        &self.info.name
    }

    /// Driver and version.
    #[must_use]
    pub fn driver(&self) -> String {
        format!("{} {} ({})", self.info.driver, self.info.driver_info, self.info.backend)
    }

    /// Software or GPU.
    #[must_use]
    pub fn family(&self) -> Family {
        let found = if self.info.device_type == wgpu::DeviceType::Cpu { Family::Software } else { Family::Gpu };
        self.faults.family.unwrap_or(found)
    }

    /// Invocations of the smallest and of the largest subgroup; 1 without the feature.
    #[must_use]
    pub fn subgroup_sizes(&self) -> [u32; 2] {
        let has_subgroups = self.features.contains(Features::SUBGROUP);
        let found = if has_subgroups { [self.info.subgroup_min_size, self.info.subgroup_max_size] } else { [1, 1] };
        self.faults.subgroup_sizes.unwrap_or(found)
    }

    /// The subgroup size where it is certain: the feature is there and smallest and largest agree.
    #[must_use]
    pub fn fixed_subgroup_size(&self) -> Option<u32> {
        let [min, max] = self.subgroup_sizes();
        (self.features.contains(Features::SUBGROUP) && min == max).then_some(min)
    }

    /// Whether kernels can be timed.
    #[must_use]
    pub fn has_timestamps(&self) -> bool {
        self.features.contains(Features::TIMESTAMP_QUERY)
    }

    /// Whether kernels can store f16.
    #[must_use]
    pub fn has_f16(&self) -> bool {
        self.features.contains(Features::SHADER_F16)
    }

    /// The cooperative-matrix products that there are kernels for and that this device lists; each of these kernels has yet
    /// to pass a test, [`Gpu::admit`].
    #[must_use]
    pub fn cooperative_matrices(&self) -> &[CooperativeMatrix] {
        &self.cooperative
    }

    /// The limits granted.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Workgroups for `count` elements, folded past the adapter's limit per dimension.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the whole grid.
    pub fn grid_1d(&self, kernel: &'static str, count: usize, size: usize) -> Result<Grid, GpuError> {
        Grid::fold(kernel, count, size, self.limits.workgroups)
    }

    /// A zeroed buffer of `words` 32-bit words.
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] past the adapter's limit, [`GpuError::OutOfMemory`] where the driver has no more.
    pub fn buffer(&self, label: &str, words: usize) -> Result<Buffer, GpuError> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let words = words.max(1);
        let bytes = (words as u64 * WORD_BYTES).next_multiple_of(super::buffer::VEC4_BYTES);
        self.raw_buffer(label, bytes, usage).map(|raw| Buffer::new(raw, words))
    }

    pub(super) fn raw_buffer(
        &self,
        label: &str,
        bytes: u64,
        usage: wgpu::BufferUsages,
    ) -> Result<wgpu::Buffer, GpuError> {
        let limit = self.limits.buffer_bytes;
        if bytes > limit {
            let what = format!("buffer {label}");
            return Err(GpuError::TooLarge { what, bytes, limit, limit_name: "max_buffer_size" });
        }
        let descriptor = wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let (buffer, error) = self.scoped(|| self.device.create_buffer(&descriptor));
        match error {
            None => {
                self.allocated.fetch_add(bytes, Ordering::Relaxed);
                Ok(buffer)
            }
            Some(error) => Err(GpuError::OutOfMemory {
                what: format!("buffer {label} of {bytes} bytes"),
                reason: error.to_string(),
            }),
        }
    }

    /// Bytes of all the buffers made so far, those that are gone included.
    #[must_use]
    pub fn allocated_bytes(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    /// A view for binding number `slot` (0 to 2) of a kernel variant that does not use it.
    ///
    /// # Errors
    /// As [`Gpu::buffer`].
    pub fn unused(&self, slot: usize) -> Result<View, GpuError> {
        let buffer = match self.unused.get() {
            Some(buffer) => buffer.clone(),
            None => {
                let buffer = self.buffer("unused", UNUSED_SLOTS * super::ALIGNMENT_WORDS)?;
                self.unused.get_or_init(|| buffer).clone()
            }
        };
        let part = buffer.part(slot * super::ALIGNMENT_WORDS, super::ALIGNMENT_WORDS)?;
        part.read_as(Element::Unused, super::ALIGNMENT_WORDS)
    }

    /// A buffer holding `data` (f32 or u32 words).
    ///
    /// # Errors
    /// As [`Gpu::buffer`].
    pub fn upload<T: bytemuck::NoUninit>(&self, label: &str, data: &[T]) -> Result<Buffer, GpuError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        let buffer = self.buffer(label, bytes.len() / WORD_BYTES as usize)?;
        self.queue.write_buffer(&buffer.raw, 0, bytes);
        Ok(buffer)
    }

    /// Writes `data` to the start of a view, ordered before the next submit.
    ///
    /// # Errors
    /// [`GpuError::Length`] if the view is shorter than the data.
    pub fn write<T: bytemuck::NoUninit>(&self, view: &View, data: &[T]) -> Result<(), GpuError> {
        let bytes: &[u8] = bytemuck::cast_slice(data);
        if bytes.len() as u64 > view.bytes() {
            let (expected, found) = (view.bytes() as usize, bytes.len());
            return Err(GpuError::Length { kernel: "write", argument: "bytes of data", expected, found });
        }
        self.queue.write_buffer(&view.buffer.raw, view.offset_bytes(), bytes);
        Ok(())
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if let Some(cache) = &self.pipeline_cache {
            cache.save();
        }
    }
}

/// Keeps the first uncaptured error and a device loss where [`Gpu::check`] finds them.
fn watch(device: &wgpu::Device, failure: &Arc<Mutex<Option<GpuError>>>, loss: &Arc<Mutex<Option<String>>>) {
    let slot = Arc::clone(failure);
    device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
        let what = "a recorded command".to_owned();
        let reason = error.to_string();
        lock(&slot).get_or_insert(match error {
            wgpu::Error::OutOfMemory { .. } => GpuError::OutOfMemory { what, reason },
            _ => GpuError::Validation { what, reason },
        });
    }));
    let slot = Arc::clone(loss);
    device.set_device_lost_callback(move |_, reason| {
        *lock(&slot) = Some(reason);
    });
}
