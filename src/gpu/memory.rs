//! Memory that is free, where that can be known.

use super::{Family, Gpu};

impl Gpu {
    /// Bytes that buffers may still take, where that is known: software adapters live in the host's memory, of which a
    /// container may have but a part. WebGPU does not tell it of a GPU.
    #[must_use]
    pub fn free_bytes(&self) -> Option<u64> {
        (self.family() == Family::Software).then(free_host_bytes).flatten()
    }
}

/// Bytes of the host's memory that are free, or can be freed at once.
fn free_host_bytes() -> Option<u64> {
    let mut system = sysinfo::System::new();
    system.refresh_memory();
    let free = system.available_memory();
    let within = system.cgroup_limits().map_or(free, |limits| limits.free_memory.min(free));
    (within > 0).then_some(within)
}
