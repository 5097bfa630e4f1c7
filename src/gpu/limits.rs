//! What an adapter is, and what it allows: all that a plan asks of one.

/// Which variants of a kernel suit the adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// A CPU driver: barriers and workgroup memory cost most, wide straight code is cheap.
    Software,
    /// A GPU: workgroup memory and many small invocations.
    Gpu,
}

/// The limits that plans are checked against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Limits {
    /// Largest buffer, bytes.
    pub buffer_bytes: u64,
    /// Largest storage binding, bytes.
    pub binding_bytes: u64,
    /// Workgroups per dimension of a grid.
    pub workgroups: u32,
    /// Memory of a workgroup, bytes.
    pub workgroup_bytes: u32,
}
