//! Mistakes made on purpose, so that scripts/validate.sh can tell that the validation layer sees them.

use wgpu::{
    BufferUsages,
    hal::{CommandEncoder as _, api::Vulkan},
};

const BYTES: u64 = 256;

/// Two writes to one buffer with no barrier between them, and one past its end; recorded below wgpu's own checks, and
/// never submitted.
#[test]
#[ignore = "breaks Vulkan's rules: only for scripts/validate.sh"]
#[expect(unsafe_code, reason = "wgpu lets nobody break Vulkan's rules in safe code")]
fn a_hazard_and_an_overflow_to_find() {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::VULKAN,
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapter = pollster::block_on(instance.request_adapter(&wgpu::RequestAdapterOptions::default())).unwrap();
    let (device, _queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor::default())).unwrap();
    let usage = BufferUsages::STORAGE | BufferUsages::COPY_DST;
    let descriptor = wgpu::BufferDescriptor { label: None, size: BYTES, usage, mapped_at_creation: false };
    let buffer = device.create_buffer(&descriptor);
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    // SAFETY: both handles are of this device and live until the end of the block. What is recorded is wrong, but is
    // dropped with the encoder instead of being submitted, so that no driver runs it.
    unsafe {
        let raw = buffer.as_hal::<Vulkan>().unwrap();
        encoder.as_hal_mut::<Vulkan, _, _>(|encoder| {
            let encoder = encoder.unwrap();
            encoder.clear_buffer(&raw, 0..BYTES);
            encoder.clear_buffer(&raw, 0..BYTES);
            encoder.clear_buffer(&raw, 0..2 * BYTES);
        });
    }
}
