//! RADV without a GPU. Raw Vulkan, because wgpu enables swapchains on every device, with which RADV's null hardware cannot
//! be opened.

use std::ffi::{CStr, CString};

use ash::{ext, khr, vk};
use jostle::gpu::KernelSpec;

use crate::{pipelines::SIXTEEN, statistics::SUBGROUP_SIZE};

/// Why there is no device.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// There is no Vulkan on this machine.
    #[error("no Vulkan loader: {0}")]
    Loader(#[from] ash::LoadingError),
    /// The driver has no hardware of the family that it was asked for.
    #[error("the driver has no GPU of this name")]
    NoDevice,
    /// The loader or the driver refuses.
    #[error("{0}: {1}")]
    Vulkan(&'static str, vk::Result),
    /// It is another driver, or an old one.
    #[error("{0} tells nothing of its pipelines")]
    Silent(String),
}

/// An instance, destroyed with its owner.
struct Instance {
    raw: ash::Instance,
    entry: ash::Entry,
}

impl Instance {
    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn new() -> Result<Self, Unavailable> {
        // SAFETY: this loads the system's Vulkan loader and runs its initialisers, as every Vulkan program does. It stays
        // loaded as long as the instance, which owns it.
        let entry = unsafe { ash::Entry::load()? };
        let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
        let create = vk::InstanceCreateInfo::default().application_info(&application);
        // SAFETY: no layers and no extensions are asked for, and what `create` points to outlives the call.
        match unsafe { entry.create_instance(&create, None) } {
            Ok(raw) => Ok(Self { raw, entry }),
            Err(vk::Result::ERROR_INCOMPATIBLE_DRIVER) => Err(Unavailable::NoDevice),
            Err(result) => Err(Unavailable::Vulkan("vkCreateInstance", result)),
        }
    }

    /// The first device, with its name, its driver and the sizes of its subgroups.
    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn physical_device(&self) -> Result<Physical, Unavailable> {
        // SAFETY: the instance is alive as long as `self`.
        let devices = unsafe { self.raw.enumerate_physical_devices() };
        let devices = devices.map_err(|result| Unavailable::Vulkan("vkEnumeratePhysicalDevices", result))?;
        let handle = *devices.first().ok_or(Unavailable::NoDevice)?;
        let mut driver = vk::PhysicalDeviceDriverProperties::default();
        let mut subgroups = vk::PhysicalDeviceVulkan13Properties::default();
        let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver).push_next(&mut subgroups);
        // SAFETY: `handle` is of this instance; both structures are of Vulkan 1.3, which the driver was asked for, and outlive
        // the call.
        unsafe { self.raw.get_physical_device_properties2(handle, &mut properties) };
        let name = text(properties.properties.device_name_as_c_str());
        let driver = text(driver.driver_info_as_c_str());
        let subgroup_sizes = [subgroups.min_subgroup_size, subgroups.max_subgroup_size];
        // SAFETY: as above.
        let extensions = unsafe { self.raw.enumerate_device_extension_properties(handle) };
        let extensions = extensions.map_err(|result| Unavailable::Vulkan("a device's extensions", result))?;
        Ok(Physical { handle, name, driver, subgroup_sizes, extensions })
    }
}

impl Drop for Instance {
    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn drop(&mut self) {
        // SAFETY: whatever was made of the instance has an owner that holds it, and is destroyed before.
        unsafe { self.raw.destroy_instance(None) };
    }
}

/// A device that is not open.
struct Physical {
    handle: vk::PhysicalDevice,
    name: String,
    driver: String,
    subgroup_sizes: [u32; 2],
    extensions: Vec<vk::ExtensionProperties>,
}

impl Physical {
    fn has(&self, name: &CStr) -> bool {
        self.extensions.iter().any(|extension| extension.extension_name_as_c_str() == Ok(name))
    }

    /// Whether it lists the cooperative matrices that there are kernels for.
    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn has_sixteen(&self, instance: &Instance) -> bool {
        if !self.has(khr::cooperative_matrix::NAME) {
            return false;
        }
        let extension = khr::cooperative_matrix::Instance::new(&instance.entry, &instance.raw);
        // SAFETY: the device lists the extension and is of this instance.
        let listed = unsafe { extension.get_physical_device_cooperative_matrix_properties(self.handle) };
        listed.unwrap_or_default().iter().any(|matrix| {
            let types = [matrix.a_type, matrix.b_type, matrix.c_type, matrix.result_type];
            let [half, word] = [vk::ComponentTypeKHR::FLOAT16, vk::ComponentTypeKHR::FLOAT32];
            [matrix.m_size, matrix.n_size, matrix.k_size] == SIXTEEN.sides
                && types == [half, half, word, word]
                && matrix.scope == vk::ScopeKHR::SUBGROUP
        })
    }

    /// Opens it with every feature that it has, as wgpu does with those that kernels take.
    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn open(&self, instance: &Instance) -> Result<ash::Device, Unavailable> {
        let mut names = vec![khr::pipeline_executable_properties::NAME];
        let mut executables = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default();
        let (mut eleven, mut twelve, mut thirteen) = (
            vk::PhysicalDeviceVulkan11Features::default(),
            vk::PhysicalDeviceVulkan12Features::default(),
            vk::PhysicalDeviceVulkan13Features::default(),
        );
        let mut robustness = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
        let mut coop = vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default();
        let mut features = vk::PhysicalDeviceFeatures2::default()
            .push_next(&mut executables)
            .push_next(&mut eleven)
            .push_next(&mut twelve)
            .push_next(&mut thirteen);
        if self.has(ext::robustness2::NAME) {
            names.push(ext::robustness2::NAME);
            features = features.push_next(&mut robustness);
        }
        if self.has(khr::cooperative_matrix::NAME) {
            names.push(khr::cooperative_matrix::NAME);
            features = features.push_next(&mut coop);
        }
        // SAFETY: the structures in the chain are of Vulkan 1.3 or of extensions that the device lists, and are alive.
        unsafe { instance.raw.get_physical_device_features2(self.handle, &mut features) };
        let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
        let names: Vec<_> = names.into_iter().map(CStr::as_ptr).collect();
        let create = vk::DeviceCreateInfo::default()
            .queue_create_infos(&queues)
            .enabled_extension_names(&names)
            .push_next(&mut features);
        // SAFETY: the features are those that the device has just said it has, the extensions those that it lists (the caller
        // has looked for the first), their names are C strings of `ash`; family 0 has a queue on every device.
        let device = unsafe { instance.raw.create_device(self.handle, &create, None) };
        device.map_err(|result| Unavailable::Vulkan("vkCreateDevice", result))
    }
}

/// An open device, which compiles and runs nothing.
pub struct Radv {
    /// The GPU, as the driver names it.
    pub name: String,
    /// Such as `Mesa 22.3.6`.
    pub driver: String,
    /// Invocations of the smallest and of the largest subgroup, where it has cooperative matrices of 16 x 16 in f16.
    pub coop: Option<[u32; 2]>,
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    _instance: Instance,
}

impl Radv {
    /// Opens the first device.
    ///
    /// # Errors
    /// Why there is none.
    pub fn open() -> Result<Self, Unavailable> {
        let instance = Instance::new()?;
        let physical = instance.physical_device()?;
        if !physical.has(khr::pipeline_executable_properties::NAME) {
            return Err(Unavailable::Silent(physical.driver));
        }
        let device = physical.open(&instance)?;
        let executables = khr::pipeline_executable_properties::Device::new(&instance.raw, &device);
        let coop = physical.has_sixteen(&instance).then_some(physical.subgroup_sizes);
        let Physical { name, driver, .. } = physical;
        Ok(Self { name, driver, coop, device, executables, _instance: instance })
    }

    /// Compiles a kernel's SPIR-V and returns the numbers that the driver lists of it.
    ///
    /// # Errors
    /// The driver's refusal.
    pub fn compile(&self, spec: &KernelSpec, spirv: &[u32]) -> Result<Vec<(String, u64)>, String> {
        let mut objects = Objects::new(&self.device);
        objects.create(spec, spirv).map_err(|result| format!("the driver refuses it: {result}"))?;
        self.statistics(objects.pipeline).map_err(|result| format!("the driver says nothing of it: {result}"))
    }

    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn statistics(&self, pipeline: vk::Pipeline) -> Result<Vec<(String, u64)>, vk::Result> {
        // SAFETY: the pipeline is alive and of this device.
        let properties = unsafe {
            self.executables.get_pipeline_executable_properties(&vk::PipelineInfoKHR::default().pipeline(pipeline))?
        };
        // A compute pipeline is one executable.
        let size = properties.first().map_or(0, |properties| properties.subgroup_size);
        let executable = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: the pipeline is alive, of this device, and was made to keep its statistics.
        let listed = unsafe { self.executables.get_pipeline_executable_statistics(&executable)? };
        let unsigned = listed.iter().filter(|one| one.format == vk::PipelineExecutableStatisticFormatKHR::UINT64);
        let numbers = unsigned.map(|one| {
            // SAFETY: the format says that this field of the union was written.
            let value = unsafe { one.value.u64 };
            (text(one.name_as_c_str()), value)
        });
        Ok(numbers.chain([(SUBGROUP_SIZE.to_owned(), size.into())]).collect())
    }
}

impl Drop for Radv {
    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn drop(&mut self) {
        // SAFETY: objects of the device borrow it and so are gone; no work was ever submitted.
        unsafe { self.device.destroy_device(None) };
    }
}

/// A pipeline with what it is made of; null until it is created.
struct Objects<'a> {
    device: &'a ash::Device,
    module: vk::ShaderModule,
    bindings: vk::DescriptorSetLayout,
    layout: vk::PipelineLayout,
    pipeline: vk::Pipeline,
}

impl<'a> Objects<'a> {
    fn new(device: &'a ash::Device) -> Self {
        let (module, bindings) = (vk::ShaderModule::null(), vk::DescriptorSetLayout::null());
        Self { device, module, bindings, layout: vk::PipelineLayout::null(), pipeline: vk::Pipeline::null() }
    }

    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn create(&mut self, spec: &KernelSpec, spirv: &[u32]) -> Result<(), vk::Result> {
        let device = self.device;
        let binding = |number: usize| {
            vk::DescriptorSetLayoutBinding::default()
                .binding(number as u32)
                .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                .descriptor_count(1)
                .stage_flags(vk::ShaderStageFlags::COMPUTE)
        };
        let bindings: Vec<_> = (0..spec.bindings.len()).map(binding).collect();
        let immediates =
            vk::PushConstantRange::default().stage_flags(vk::ShaderStageFlags::COMPUTE).size(spec.immediate_bytes);
        let ranges: &[_] = if spec.immediate_bytes > 0 { &[immediates] } else { &[] };
        let entry = CString::new(spec.entry).map_err(|_| vk::Result::ERROR_UNKNOWN)?;
        // SAFETY: the device is alive, and each structure points to what outlives its call. The SPIR-V is naga's, which
        // tests/spirv holds against spirv-val; its bindings and immediates are those of the spec, which a test holds against
        // naga, and its entry point is the spec's. Every handle is stored at once, and destroyed by `drop` alone.
        unsafe {
            self.module = device.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(spirv), None)?;
            let create = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            self.bindings = device.create_descriptor_set_layout(&create, None)?;
            let sets = [self.bindings];
            let create = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets).push_constant_ranges(ranges);
            self.layout = device.create_pipeline_layout(&create, None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE) // as wgpu does
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(self.module)
                .name(&entry);
            let create = vk::ComputePipelineCreateInfo::default()
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR)
                .stage(stage)
                .layout(self.layout);
            let created = device.create_compute_pipelines(vk::PipelineCache::null(), &[create], None);
            let pipelines = created.map_err(|(_, result)| result)?;
            self.pipeline = pipelines.first().copied().unwrap_or_default();
        }
        Ok(())
    }
}

impl Drop for Objects<'_> {
    #[expect(unsafe_code, reason = "Vulkan is a foreign library")]
    fn drop(&mut self) {
        // SAFETY: each handle is null, which Vulkan lets pass, or was made of this device and is in use nowhere else.
        unsafe {
            self.device.destroy_pipeline(self.pipeline, None);
            self.device.destroy_pipeline_layout(self.layout, None);
            self.device.destroy_descriptor_set_layout(self.bindings, None);
            self.device.destroy_shader_module(self.module, None);
        }
    }
}

/// A driver's text, whatever is in it.
fn text(words: Result<&CStr, std::ffi::FromBytesUntilNulError>) -> String {
    words.map(|words| words.to_string_lossy().into_owned()).unwrap_or_default()
}
