//! Which adapter: listing, choosing by index, name or kind.

use std::{fmt, str::FromStr};

use wgpu::{Backends, DeviceType, Features};

use super::{CooperativeMatrix, GpuError, Limits};

/// The environment variable that chooses an adapter where `--adapter` does not.
pub const ADAPTER_VARIABLE: &str = "JOSTLE_ADAPTER";

/// A wish for an adapter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AdapterChoice {
    /// The best there is: discrete, integrated, virtual, then software.
    #[default]
    Best,
    /// A software adapter (lavapipe, WARP).
    Software,
    /// The adapter of this index in `jostle adapters`.
    Index(usize),
    /// The first adapter whose name contains this text, whatever its case.
    Name(String),
}

impl FromStr for AdapterChoice {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        Ok(match text.parse() {
            Ok(index) => Self::Index(index),
            Err(_) if text.is_empty() || text == "best" => Self::Best,
            Err(_) if text == "software" => Self::Software,
            Err(_) => Self::Name(text.to_owned()),
        })
    }
}

impl fmt::Display for AdapterChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Best => f.write_str("best"),
            Self::Software => f.write_str("software"),
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl AdapterChoice {
    /// The choice of the environment variable `JOSTLE_ADAPTER`, or the best adapter.
    #[must_use]
    pub fn from_environment() -> Self {
        let text = std::env::var(ADAPTER_VARIABLE).unwrap_or_default();
        text.parse().unwrap_or_default()
    }
}

/// One adapter, as `jostle adapters` shows it.
#[derive(Clone, Debug, serde::Serialize)]
pub struct AdapterSummary {
    /// Index for `--adapter`.
    pub index: usize,
    /// The driver's name for the hardware.
    pub name: String,
    /// vulkan, metal or dx12.
    pub backend: String,
    /// discrete, integrated, virtual, software or other.
    pub kind: &'static str,
    /// Driver and its version.
    pub driver: String,
    /// Largest buffer, bytes.
    pub max_buffer_bytes: u64,
    /// Largest storage binding, bytes.
    pub max_binding_bytes: u64,
    /// Workgroups per dimension of a grid.
    pub max_workgroups: u32,
    /// Workgroup memory, bytes.
    pub workgroup_bytes: u32,
    /// Largest workgroup, invocations.
    pub workgroup_invocations: u32,
    /// Smallest and largest subgroup.
    pub subgroup_sizes: [u32; 2],
    /// Of the features that Jostle uses, those present.
    pub features: Vec<&'static str>,
    /// The cooperative-matrix products that the adapter lists, as [`super::CooperativeMatrix`] writes them.
    pub cooperative_matrices: Vec<String>,
    /// Of these, the ones that there are kernels for and that a device computes.
    #[serde(skip)]
    pub usable_matrices: Vec<CooperativeMatrix>,
}

/// Features that Jostle knows how to use, with the names it shows.
const USED_FEATURES: [(&str, Features); 5] = [
    ("immediates", Features::IMMEDIATES),
    ("timestamps", Features::TIMESTAMP_QUERY),
    ("subgroups", Features::SUBGROUP),
    ("f16", Features::SHADER_F16),
    ("cooperative-matrix", Features::EXPERIMENTAL_COOPERATIVE_MATRIX),
];

impl AdapterSummary {
    fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
        Self {
            index,
            backend: info.backend.to_string(),
            kind: kind_name(info.device_type),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
            name: info.name,
            max_buffer_bytes: limits.max_buffer_size,
            max_binding_bytes: limits.max_storage_buffer_binding_size,
            max_workgroups: limits.max_compute_workgroups_per_dimension,
            workgroup_bytes: limits.max_compute_workgroup_storage_size,
            workgroup_invocations: limits.max_compute_invocations_per_workgroup,
            subgroup_sizes: [info.subgroup_min_size, info.subgroup_max_size],
            features: USED_FEATURES
                .iter()
                .filter(|(_, feature)| features.contains(*feature))
                .map(|(name, _)| *name)
                .collect(),
            cooperative_matrices: CooperativeMatrix::listed(adapter).iter().map(ToString::to_string).collect(),
            usable_matrices: CooperativeMatrix::usable(adapter),
        }
    }
}

impl AdapterSummary {
    /// The limits that plans are checked against.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            buffer_bytes: self.max_buffer_bytes,
            binding_bytes: self.max_binding_bytes,
            workgroups: self.max_workgroups,
            workgroup_bytes: self.workgroup_bytes,
        }
    }
}

/// Features that wgpu grants on DirectX 12 with shader model 6 only.
const SINCE_MODEL_6: Features =
    Features::SUBGROUP.union(Features::SHADER_INT64).union(Features::SHADER_F16).union(Features::SHADER_I16);

/// Whether FXC compiles this adapter's kernels, which wgpu falls back to where DXC is neither built in nor found as
/// `dxcompiler.dll`. It does not say so; but with FXC the shader model is 5.1, and with DXC an adapter has 6.0 at least,
/// which brings one of these features, or is not listed.
fn is_compiled_by_fxc(backend: wgpu::Backend, features: Features) -> bool {
    backend == wgpu::Backend::Dx12 && !features.intersects(SINCE_MODEL_6)
}

/// Warns where kernels are compiled slowly and without f16 and subgroups, and says what to do about it.
pub(super) fn warn_of_fxc(adapter: &wgpu::Adapter) {
    let info = adapter.get_info();
    if is_compiled_by_fxc(info.backend, adapter.features()) {
        log::warn!(
            "{}: Windows' old shader compiler (FXC) compiles the kernels: half a minute for some of them, without f16 and \
             subgroups; put dxcompiler.dll beside the program for the new one (DXC)",
            info.name
        );
    }
}

fn kind_name(kind: DeviceType) -> &'static str {
    match kind {
        DeviceType::DiscreteGpu => "discrete",
        DeviceType::IntegratedGpu => "integrated",
        DeviceType::VirtualGpu => "virtual",
        DeviceType::Cpu => "software",
        DeviceType::Other => "other",
    }
}

/// Lower is better; the order of [`AdapterChoice::Best`].
fn rank(kind: DeviceType) -> u8 {
    match kind {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    }
}

fn instance() -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = Backends::VULKAN | Backends::METAL | Backends::DX12;
    // In debug builds wgpu would load Vulkan's validation layer wherever it is installed, which makes tests several
    // times slower, and write debug information into shaders. WGPU_VALIDATION=1 and WGPU_DEBUG=1 ask for either.
    descriptor.flags = wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL.with_env();
    wgpu::Instance::new(descriptor)
}

fn present() -> Vec<wgpu::Adapter> {
    pollster::block_on(instance().enumerate_adapters(Backends::all()))
}

/// Every adapter of this machine, in the order of their indices.
#[must_use]
pub fn list_adapters() -> Vec<AdapterSummary> {
    let adapters = present();
    adapters.iter().enumerate().map(|(index, adapter)| AdapterSummary::new(index, adapter)).collect()
}

impl AdapterChoice {
    /// The adapter that would be opened, without opening it.
    ///
    /// # Errors
    /// [`GpuError::NoAdapter`] or [`GpuError::NoMatch`].
    pub fn find(&self) -> Result<AdapterSummary, GpuError> {
        choose(self).map(|(index, adapter)| AdapterSummary::new(index, &adapter))
    }
}

/// The adapter that fits `choice`, with its index.
///
/// # Errors
/// [`GpuError::NoAdapter`] or, with a list of those present, [`GpuError::NoMatch`].
pub(super) fn choose(choice: &AdapterChoice) -> Result<(usize, wgpu::Adapter), GpuError> {
    let adapters = present();
    if adapters.is_empty() {
        return Err(GpuError::NoAdapter);
    }
    let names: Vec<_> = adapters.iter().enumerate().map(|(i, a)| format!("{i} {}", a.get_info().name)).collect();
    let mut candidates = adapters.into_iter().enumerate();
    let found = match choice {
        AdapterChoice::Best => candidates.min_by_key(|(_, a)| rank(a.get_info().device_type)),
        AdapterChoice::Software => candidates.find(|(_, a)| a.get_info().device_type == DeviceType::Cpu),
        AdapterChoice::Index(index) => candidates.nth(*index),
        AdapterChoice::Name(part) => {
            let part = part.to_lowercase();
            candidates.find(|(_, a)| a.get_info().name.to_lowercase().contains(&part))
        }
    };
    found.ok_or_else(|| GpuError::NoMatch { wish: choice.to_string(), present: names.join(", ") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fxc_is_told_by_what_directx_12_lacks() {
        let with_dxc = Features::IMMEDIATES | Features::SUBGROUP;
        assert!(is_compiled_by_fxc(wgpu::Backend::Dx12, Features::IMMEDIATES));
        assert!(!is_compiled_by_fxc(wgpu::Backend::Dx12, with_dxc));
        assert!(!is_compiled_by_fxc(wgpu::Backend::Vulkan, Features::IMMEDIATES));
    }
}
