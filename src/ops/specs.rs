//! The kernels that one operation alone calls, or a few of one kind.

use crate::gpu::KernelSpec;

use super::{affine, batch_norm, dropout, embedding, flatten, loss, norm, pool};

/// Those whose host side is in this room.
pub(crate) fn specs() -> Vec<&'static KernelSpec> {
    [
        affine::SPECS,
        batch_norm::SPECS,
        dropout::SPECS,
        embedding::SPECS,
        flatten::SPECS,
        loss::SPECS,
        norm::SPECS,
        pool::SPECS,
    ]
    .concat()
}
