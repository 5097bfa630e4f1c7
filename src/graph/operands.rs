//! What a call reads and writes.

use super::call::{BatchNormCall, Call, ConvCall, MatmulCall, SlotId, Tensor};

impl Call {
    /// The slots it touches.
    pub(super) fn slots(&self) -> Vec<SlotId> {
        let some = |slots: &[Option<SlotId>]| slots.iter().flatten().copied().collect();
        match self {
            Self::Gather { output } => vec![*output],
            Self::Matmul(MatmulCall { a, b, aux, c, pre, .. }) | Self::Conv(ConvCall { a, b, aux, c, pre, .. }) => {
                some(&[a.slot(), b.slot(), aux.and_then(Tensor::slot), c.slot(), *pre])
            }
            Self::Pack { output, .. } => vec![*output],
            Self::BatchNorm(BatchNormCall { x, residual, partials, table, y, .. }) => {
                some(&[Some(*x), *residual, *partials, Some(*table), Some(*y)])
            }
            Self::BatchNormGradient(call) => {
                let BatchNormCall { x, table, .. } = call.forward;
                let residual = call.grad_residual.map(|(slot, _)| slot);
                let (own, others) = ([call.grad, call.partials, call.coefficients, call.grad_x.0], [x, table]);
                own.into_iter().chain(others).chain(residual).chain(call.saved()).collect()
            }
            Self::ChannelNormalise { input, output, .. }
            | Self::Flatten { input, output, .. }
            | Self::Dropout { input, output, .. } => vec![*input, *output],
            Self::GroupNormalise { input, xhat, inv_std, .. } => vec![*input, *xhat, *inv_std],
            Self::GroupNormaliseGradient { grad, xhat, inv_std, output, .. } => vec![*grad, *xhat, *inv_std, *output],
            Self::GroupNormaliseCurvature { values, inv_std, .. } => values.iter().copied().chain([*inv_std]).collect(),
            Self::Affine(call) | Self::AffineGradient(call) => vec![call.input, call.other],
            Self::Pool(call) | Self::PoolSelect(call) => some(&[Some(call.input), Some(call.output), call.chosen]),
            Self::PoolGradient { call, saved } => {
                some(&[Some(call.input), Some(call.output), call.chosen, saved.map(|(_, slot)| slot)])
            }
            Self::Elementwise { left, right, output, .. } => some(&[Some(*left), *right, Some(*output)]),
            Self::ColumnSum { input, .. } => vec![*input],
            Self::LossTangent { logits, tangent, output } => vec![*logits, *tangent, *output],
            Self::Loss { logits, grad_logits, row_stats } => vec![*logits, *grad_logits, *row_stats],
            Self::Metrics { row_stats } => vec![*row_stats],
        }
    }

    /// The tensors beside the slots, with their elements.
    pub(super) fn parameters(&self) -> Vec<(Tensor, usize)> {
        let operands = match self {
            Self::Pack { weight, shape, .. } => vec![(Some(*weight), shape.weight_words())],
            Self::Matmul(MatmulCall { shape: [m, n, k], a, b, aux, c, .. }) => {
                vec![(Some(*a), m * k), (Some(*b), k * n), (*aux, *n), (Some(*c), m * n)]
            }
            Self::Conv(ConvCall { shape, a, b, aux, c, .. }) => {
                let weights = [a, b, c].map(|tensor| (Some(*tensor), shape.weight_words()));
                weights.into_iter().chain([(*aux, shape.out_channels())]).collect()
            }
            Self::ColumnSum { output, shape: [_, columns, _], .. } => vec![(Some(*output), *columns)],
            // A few words a channel at most, beside whole images.
            Self::BatchNorm(_)
            | Self::BatchNormGradient(_)
            | Self::ChannelNormalise { .. }
            | Self::Affine(_)
            | Self::AffineGradient(_) => Vec::new(),
            Self::Gather { .. }
            | Self::GroupNormalise { .. }
            | Self::GroupNormaliseGradient { .. }
            | Self::GroupNormaliseCurvature { .. }
            | Self::Pool(_)
            | Self::PoolSelect(_)
            | Self::PoolGradient { .. }
            | Self::Flatten { .. }
            | Self::Dropout { .. }
            | Self::Elementwise { .. }
            | Self::Loss { .. }
            | Self::LossTangent { .. }
            | Self::Metrics { .. } => Vec::new(),
        };
        let beside = |(tensor, len): (Option<Tensor>, usize)| tensor.filter(|of| of.slot().is_none()).zip(Some(len));
        operands.into_iter().filter_map(beside).collect()
    }
}
