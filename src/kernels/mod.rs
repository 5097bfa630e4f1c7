//! The host side of the kernels that operations, rules and measurements share: one file per WGSL file with its bindings, shape
//! checks, variant choice and grid. That of kernels which one operation alone calls is beside it, in [`ops`](crate::ops).

mod activation;
mod activation_tangent;
mod adapter_class;
pub(crate) mod admission;
mod arena;
mod ascend;
mod block;
mod ceilings;
mod column_sum;
mod combine;
mod constants;
mod conv;
mod conv_coop_row;
mod conv_direct;
mod conv_pack;
mod conv_shape;
mod conv_specs;
mod conv_variant;
mod coop;
mod deferred_sums;
mod descend;
mod direction_norm;
mod effective;
mod elementwise;
mod epilogue;
mod factored;
mod filter_history;
mod filter_norm;
mod gather;
mod gather_tokens;
mod gradient_factor;
mod gradient_scaling;
mod init;
mod jobs;
mod matmul;
mod matmul_shape;
mod matmul_specs;
mod metrics;
mod mirror;
mod moving_average;
mod norms;
mod orthogonalise;
mod perturb;
mod product_operands;
mod product_parts;
mod select;
mod software;
mod split;
mod split_sum;
mod store;
mod sweep;
mod target;
mod tiling;
mod tree;
mod unit_norm;
mod update;
mod update_adam;
mod update_free;
mod update_ivon;
mod update_lion;
mod update_muon;
mod update_sgd;
mod weigh;
mod winograd;
mod winograd_gradient;
mod winograd_specs;
mod winograd_tile;

pub use activation::Activation;
pub use activation_tangent::activation_tangent;
pub(crate) use activation_tangent::activation_tangent_launch;
pub use adapter_class::AdapterClass;
pub use arena::{Arena, ArenaLayout, TensorSpan};
pub use ascend::Ascend;
pub use block::BlockTile;
pub use ceilings::{StreamKernel, empty, peak_flops, stream};
pub use column_sum::{column_sum, column_sum_launches, column_sum_scratch_words};
pub(crate) use column_sum::{sum_of_parts, sum_of_parts_launch};
pub use combine::Combine;
pub(crate) use constants::{Constant, arena_parts, flag, index_u32};
pub use conv::conv;
pub(crate) use conv_pack::conv_pack_launches;
pub use conv_pack::{PackJob, conv_pack};
pub use conv_shape::{ConvOptions, ConvPass, ConvProblem, ConvShape, padded_channels};
pub use conv_variant::ConvVariant;
pub use coop::{CoopMatrices, CoopTile};
pub(crate) use deferred_sums::deferred_sums_launches;
pub use deferred_sums::{DeferredSum, deferred_sums};
pub use descend::{Descend, DescendStep};
pub use direction_norm::Metric;
pub use effective::EffectiveWeights;
pub use elementwise::{Elementwise, elementwise};
pub use epilogue::{Ending, Epilogue};
pub use factored::{Factored, FactoredModel, FactoredViews};
pub use filter_history::FilterHistory;
pub use filter_norm::FilterNorms;
pub use gather::{Augmentation, Gather, GatherForm, GatherViews, SampleElement};
pub use gather_tokens::GatherTokens;
pub use gradient_factor::{FactorRules, GROWTH_INTERVAL, GradientFactor};
pub use gradient_scaling::GradientScaling;
pub use init::{init_normal, init_uniform};
pub use jobs::Place;
pub use matmul::{MatmulVariant, matmul};
pub use matmul_shape::{MatmulLayout, MatmulProblem, MatmulShape};
pub use metrics::MetricsSum;
pub use mirror::Mirror;
pub use moving_average::MovingAverage;
pub use norms::{Norms, PARTIALS};
pub use orthogonalise::{Orthogonalise, UpdateMatrix};
pub use perturb::{NoiseUnit, Perturb};
pub use product_operands::ProductOperands;
pub(crate) use product_parts::PartedProduct;
pub use select::{conv_variant, matmul_variant, with_variants};
pub use software::Lanes;
pub use split_sum::SplitSum;
pub(crate) use store::ByStore;
pub use sweep::{NoiseEdge, NoiseRange, NoiseStep, Sweep};
pub use target::Target;
pub(crate) use tiling::Tiling;
pub(crate) use tree::{SOFTWARE_ROUNDS, Tree};
pub use update::{FusedUpdate, UpdateValues, UpdateVariant};
pub use update_adam::{AdamStep, UpdateAdam};
pub use update_free::{FreeStep, UpdateFree};
pub use update_ivon::{IvonStep, UpdateIvon};
pub use update_lion::{LionStep, UpdateLion};
pub use update_muon::{MatrixUpdate, UpdateMuon};
pub use update_sgd::{SgdStep, UpdateSgd};
pub use weigh::Weigh;
pub use winograd_tile::WinogradTile;

use crate::gpu::KernelSpec;

use constants::{WORKGROUP, WORKGROUP_SIZE};

/// The kernels whose host side is here.
pub(crate) fn specs() -> Vec<&'static KernelSpec> {
    vec![
        &activation_tangent::ACTIVATION_TANGENT,
        &ascend::ASCEND,
        &ceilings::EMPTY,
        &ceilings::PEAK_FLOPS,
        &ceilings::STREAM,
        &column_sum::COLUMN_SUM,
        &combine::COMBINE,
        &conv_specs::CONV_BLOCK.elements,
        &conv_specs::CONV_BLOCK.vectors,
        &conv_specs::CONV_COOP_16.elements,
        &conv_specs::CONV_COOP_16.vectors,
        &conv_specs::CONV_COOP_ROW_8,
        &conv_specs::CONV_COOP_ROW_16,
        &conv_specs::CONV_COOP_8.elements,
        &conv_specs::CONV_COOP_8.vectors,
        &conv_direct::CONV_DIRECT,
        &conv_specs::CONV_NARROW,
        &conv_specs::CONV_PACK,
        &conv_specs::CONV_SOFTWARE.elements,
        &conv_specs::CONV_SOFTWARE.vectors,
        &conv_specs::CONV_TILE.elements,
        &conv_specs::CONV_TILE.vectors,
        &deferred_sums::DEFERRED_SUMS,
        &descend::DESCEND,
        &descend::SLOPE,
        &direction_norm::ADAPTIVE_NORMS,
        &direction_norm::INVERSE_NORM,
        &elementwise::ELEMENTWISE,
        &factored::DIAGONAL_GRADIENT,
        &factored::DIAGONAL_PREDICT,
        &factored::GROUP_GRADIENT,
        &factored::GROUP_PREDICT,
        &factored::TWO_LAYER_GRADIENT,
        &factored::TWO_LAYER_PREDICT,
        &filter_history::FILTER_HISTORY,
        &filter_norm::FILTER_NORM,
        &gather::GATHER,
        &gather_tokens::GATHER_TOKENS,
        &gradient_factor::GRADIENT_FACTOR,
        &init::INIT_NORMAL,
        &init::INIT_UNIFORM,
        &matmul_specs::MATMUL_BLOCK.elements,
        &matmul_specs::MATMUL_BLOCK.vectors,
        &matmul_specs::MATMUL_COOP_16.elements,
        &matmul_specs::MATMUL_COOP_16.vectors,
        &matmul_specs::MATMUL_COOP_8.elements,
        &matmul_specs::MATMUL_COOP_8.vectors,
        &matmul_specs::MATMUL_SOFTWARE.elements,
        &matmul_specs::MATMUL_SOFTWARE.vectors,
        &metrics::METRICS_SUM,
        &moving_average::MOVING_AVERAGE,
        &mirror::MIRROR,
        &norms::NORMS,
        &perturb::PERTURB,
        &split_sum::SPLIT_SUM,
        &unit_norm::UNIT_NORM,
        &update_adam::UPDATE_ADAM,
        &update_free::UPDATE_FREE,
        &update_ivon::UPDATE_IVON,
        &update_lion::UPDATE_LION,
        &update_muon::MATRIX_MOMENTUM,
        &update_sgd::UPDATE_SGD,
        &weigh::WEIGH,
        &winograd_specs::WINOGRAD_GRADIENT.four,
        &winograd_specs::WINOGRAD_GRADIENT.two,
        &winograd_specs::WINOGRAD_INPUT.four,
        &winograd_specs::WINOGRAD_INPUT.two,
        &winograd_specs::WINOGRAD_OUTPUT.four,
        &winograd_specs::WINOGRAD_OUTPUT.two,
        &winograd_specs::WINOGRAD_WEIGHT.four,
        &winograd_specs::WINOGRAD_WEIGHT.two,
        &winograd_specs::WINOGRAD_WEIGHT_GRADIENT.four,
        &winograd_specs::WINOGRAD_WEIGHT_GRADIENT.two,
    ]
}
