//! What can go wrong between us and the adapter, each with what a person can do about it.

/// Errors of the GPU layer. Every message names the thing, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
pub enum GpuError {
    /// No adapter at all: no driver is installed.
    #[error(
        "no GPU adapter found: install a Vulkan, Metal or DX12 driver, or Mesa's software driver with scripts/setup.sh or, on \
         Debian and Ubuntu, `apt install mesa-vulkan-drivers`"
    )]
    NoAdapter,
    /// Adapters exist, but none fits the wish.
    #[error("no adapter matches {wish:?}; present are: {present}")]
    NoMatch {
        /// What was asked for.
        wish: String,
        /// The adapters there are, by index and name.
        present: String,
    },
    /// The adapter lacks something that every Jostle kernel needs.
    #[error("adapter {adapter} lacks {feature}, which Jostle needs")]
    MissingFeature {
        /// Adapter's name.
        adapter: String,
        /// The feature.
        feature: &'static str,
    },
    /// The driver refused to open a device.
    #[error("adapter {adapter} refused to open a device: {reason}")]
    RequestDevice {
        /// Adapter's name.
        adapter: String,
        /// The driver's words.
        reason: String,
    },
    /// A kernel failed to compile or link on this adapter.
    #[error("kernel {kernel} does not compile on this adapter: {reason}")]
    Shader {
        /// Entry point.
        kernel: &'static str,
        /// The compiler's words.
        reason: String,
    },
    /// A kernel that a test on the device has found to compute wrong.
    #[error("kernel {kernel} is not used on {adapter}: {reason}")]
    Refused {
        /// Entry point.
        kernel: &'static str,
        /// Adapter's name.
        adapter: String,
        /// What was found.
        reason: String,
    },
    /// A buffer or binding beyond the adapter's limits, found before it is allocated.
    #[error("{what} needs {bytes} bytes, but this adapter allows {limit} ({limit_name})")]
    TooLarge {
        /// Which buffer or binding.
        what: String,
        /// Bytes asked for.
        bytes: u64,
        /// The adapter's limit in bytes.
        limit: u64,
        /// wgpu's name of the limit.
        limit_name: &'static str,
    },
    /// A tensor whose length does not fit the kernel's shape.
    #[error("kernel {kernel}: {argument} has {found} elements, expected {expected}")]
    Length {
        /// Entry point.
        kernel: &'static str,
        /// Which argument.
        argument: &'static str,
        /// Elements expected.
        expected: usize,
        /// Elements found.
        found: usize,
    },
    /// A value that would lead a kernel out of what it reads.
    #[error("{what} has {found} at position {at}, expected a value below {limit}")]
    Value {
        /// What holds it.
        what: &'static str,
        /// Where, counted from 0.
        at: usize,
        /// One more than the largest value.
        limit: usize,
        /// The value.
        found: u32,
    },
    /// A tensor stored in another way than the kernel's other tensors ask for.
    #[error("kernel {kernel}: {binding} is stored as {found:?}, expected {expected:?}")]
    Element {
        /// Entry point.
        kernel: &'static str,
        /// Which binding.
        binding: &'static str,
        /// How it has to be stored.
        expected: super::Element,
        /// How it is stored.
        found: super::Element,
    },
    /// A shape that no variant of the kernel can run.
    #[error("kernel {kernel} cannot run shape {shape}: {reason}")]
    Shape {
        /// Entry point.
        kernel: &'static str,
        /// The shape, spelt out.
        shape: String,
        /// Why not.
        reason: &'static str,
    },
    /// More workgroups than the adapter's whole grid.
    #[error("kernel {kernel} needs {groups} workgroups, the adapter's grid holds {limit}")]
    Grid {
        /// Entry point.
        kernel: &'static str,
        /// Workgroups needed.
        groups: u64,
        /// Workgroups that fit.
        limit: u64,
    },
    /// The driver ran out of memory.
    #[error("out of memory while creating {what}: {reason}; a smaller batch or model needs less")]
    OutOfMemory {
        /// What was being created.
        what: String,
        /// The driver's words.
        reason: String,
    },
    /// wgpu refused a call: a defect of ours, reported rather than thrown.
    #[error("the GPU layer refused {what}: {reason}")]
    Validation {
        /// What was being done.
        what: String,
        /// wgpu's words.
        reason: String,
    },
    /// The device was lost (driver reset, watchdog, unplugged).
    #[error("the device was lost ({reason})")]
    DeviceLost {
        /// The driver's words.
        reason: String,
    },
    /// A result did not come back.
    #[error("reading {what} back from the device failed: {reason}")]
    Readback {
        /// What was read.
        what: &'static str,
        /// wgpu's words.
        reason: String,
    },
}
