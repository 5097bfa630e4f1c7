//! Batch norm, fused with a residual sum and an activation: the host side of `shaders/batch_norm_*.wgsl`.

mod forward;
mod gradient;
mod shape;
mod specs;

pub use forward::{BatchNormDispatches, BatchNormViews};
pub use gradient::{BatchNormGradient, BatchNormGradientViews};
pub use shape::{BatchNormAdds, BatchNormGeometry, BatchNormShape, BatchNormVariant, ForwardLaunches};

pub(super) use specs::{
    BATCH_NORM_APPLY, BATCH_NORM_FINISH, BATCH_NORM_GRADIENT, BATCH_NORM_GRADIENT_FINISH, BATCH_NORM_MOMENTS,
};
