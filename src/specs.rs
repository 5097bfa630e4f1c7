//! Every kernel: those that operations share, and those of one operation alone.

use crate::{gpu::KernelSpec, kernels, ops};

/// Every kernel there is: for the test that holds specs against what naga reads, and for shader validation.
#[must_use]
pub fn all_specs() -> Vec<&'static KernelSpec> {
    [kernels::specs(), ops::specs()].concat()
}
