//! Elementwise steps outside of a product's epilogue: the host side of `shaders/elementwise.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, KernelSpec, Launch, View};

use super::{Activation, Target, flag, index_u32};

pub(super) static ELEMENTWISE: KernelSpec = KernelSpec {
    entry: "elementwise",
    source: concat!(
        include_str!("../../shaders/elementwise.wgsl"),
        include_str!("../../shaders/shared/index.wgsl"),
        include_str!("../../shaders/shared/activation.wgsl"),
        include_str!("../../shaders/shared/math.wgsl"),
    ),
    bindings: &[("left", Access::Real), ("right", Access::Real), ("output", Access::Out)],
    immediate_bytes: 4,
};

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elementwise {
    /// output = activation(left)
    Activate(Activation),
    /// output = left * activation'(right), right being what forward saved
    ActivationGradient(Activation),
    /// output = left + right
    Add,
    /// output = left
    Copy,
}

impl Elementwise {
    /// What a step over `count` elements launches.
    pub(crate) fn launch(self, target: &Target, count: usize, accumulate: bool) -> Result<Launch, GpuError> {
        let (code, activation) = match self {
            Self::Activate(activation) => (0, activation),
            Self::ActivationGradient(activation) => (1, activation),
            Self::Add => (2, Activation::Identity),
            Self::Copy => (3, Activation::Identity),
        };
        let constants = [
            ("OPERATION", f64::from(code)),
            ("ACTIVATION", f64::from(activation.code())),
            flag("ACCUMULATE", accumulate),
        ];
        target.launch(&ELEMENTWISE, &constants, count)
    }
}

/// Plans an elementwise step; with `accumulate` it adds to what output holds.
///
/// Shapes: all `[count]`. `right` is not read by `Activate` and `Copy`: pass any view.
///
/// # Errors
/// [`GpuError::Length`] if lengths differ.
pub fn elementwise(
    gpu: &Gpu,
    operation: Elementwise,
    [left, right, output]: [&View; 3],
    accumulate: bool,
) -> Result<Dispatch, GpuError> {
    let count = index_u32(ELEMENTWISE.entry, &[output.len()])?;
    left.expect_len(ELEMENTWISE.entry, "left", output.len())?;
    if !matches!(operation, Elementwise::Activate(_) | Elementwise::Copy) {
        right.expect_len(ELEMENTWISE.entry, "right", output.len())?;
    }
    let launch = operation.launch(&Target::for_device(gpu), output.len(), accumulate)?;
    gpu.bind(&launch, &[left, right, output], bytemuck::bytes_of(&count))
}
