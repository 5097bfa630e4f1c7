//! Operations and losses: one file or folder each, with shapes, parameters, forward, backward, the kernels that they call with
//! their tangents, and the host side of those that nothing else calls. A crate of the user's adds its own the same way: see [`Op`](crate::graph::Op) and
//! [`LossFunction`](crate::graph::LossFunction).

mod activation;
mod add;
mod affine;
mod attention;
mod batch_norm;
mod column_sum;
mod conv;
mod dropout;
mod elementwise;
mod embedding;
mod flatten;
mod layer;
mod linear;
mod loss;
mod norm;
mod pool;
mod positions;
mod products;
mod registry;
mod swiglu;
mod token_order;
mod tokens;
mod transformer;
mod window;

pub use activation::Activate;
pub use add::Add;
pub use affine::{affine, affine_gradient};
pub use attention::{
    Attention, AttentionForm, AttentionOptions, AttentionProduct, AttentionShape, Flash, FlashDispatches,
    FlashGradientTangentViews, FlashGradientViews, FlashTangentViews, FormChoice, attention_product, attention_softmax,
    attention_softmax_curvature, attention_softmax_gradient, flash, flash_gradient, flash_gradient_tangent,
    flash_tangent,
};
pub use batch_norm::{
    BatchNorm, BatchNormAdds, BatchNormBackward, BatchNormDispatches, BatchNormForward, BatchNormGeometry,
    BatchNormGradientDispatches, BatchNormGradientViews, BatchNormLaunches, BatchNormShape, BatchNormVariant,
    BatchNormViews, Undone, channel_normalise,
};
pub use column_sum::ColumnSums;
pub use conv::Conv;
pub use dropout::{Dropout, DropoutDispatch, DropoutMask};
pub use elementwise::ElementwiseStep;
pub use embedding::{Embedding, EmbeddingShape, embedding_gradient};
pub use flatten::{Flatten, PixelSequence, RowOrder, Unflatten, flatten};
pub use layer::{LayerError, LayerKind, LayerSite, Pair, keys};
pub use linear::{Linear, LinearOptions};
pub use loss::{
    ClassPart, Loss, LossBuffers, LossGradient, LossKernel, LossTangent, MseTargets, PartBuffers, PartKernel,
    loss_tangent, loss_tangent_launch, mse, mse_launch, nll_part, nll_part_gradient, softmax_nll, softmax_nll_launch,
};
pub use norm::{
    Norm, NormAffine, NormCurvatureViews, NormKind, NormOptions, NormShape, group_normalise, group_normalise_curvature,
    group_normalise_gradient,
};
pub use pool::{Pool, PoolBackward, PoolForward, PoolShape, pool, pool_gradient, pool_select};
pub use positions::Positions;
pub use products::{ConvProduct, MatrixProduct, PackWeights};
pub use registry::Layers;
pub(crate) use registry::specs;
pub use swiglu::SwiGlu;
pub use token_order::TokenOrder;
pub use tokens::{ClassToken, Token};
pub use transformer::{BlockNames, BlockOptions, GPT_NAMES, MlpKind, PROJECTIONS, TRANSFORMER_STD, VIT_NAMES};

/// Height and width in a canonical text.
fn pair([rows, columns]: [usize; 2]) -> String {
    format!("{rows}x{columns}")
}
