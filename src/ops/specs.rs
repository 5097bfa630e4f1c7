//! The kernels that one operation alone calls, or a few of one kind.

use crate::gpu::KernelSpec;

use super::{dropout, flatten, pool};

/// Those whose host side is in this room.
pub(crate) fn specs() -> Vec<&'static KernelSpec> {
    [dropout::SPECS, flatten::SPECS, pool::SPECS].concat()
}
