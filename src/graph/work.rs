//! What the dispatches of a schedule have to do at least: operations and bytes.

use crate::{
    gpu::{WORD_BYTES, Work},
    kernels::{Activation, ConvPass, Elementwise, MatmulLayout},
};

use super::{
    call::{BatchNormCall, BatchNormGradientCall, Call, ConvCall, MatmulCall, PlanStep, SlotId, Tensor},
    schedule::Schedule,
};

/// A call that is a product.
enum Product<'a> {
    Matmul(&'a MatmulCall),
    Conv(&'a ConvCall),
}

impl Call {
    fn as_product(&self) -> Option<Product<'_>> {
        match self {
            Self::Matmul(call) => Some(Product::Matmul(call)),
            Self::Conv(call) => Some(Product::Conv(call)),
            Self::Gather { .. }
            | Self::Pack { .. }
            | Self::BatchNorm(_)
            | Self::BatchNormGradient(_)
            | Self::ChannelNormalise { .. }
            | Self::GroupNormalise { .. }
            | Self::GroupNormaliseGradient { .. }
            | Self::GroupNormaliseCurvature { .. }
            | Self::Affine(_)
            | Self::AffineGradient(_)
            | Self::Pool(_)
            | Self::PoolSelect(_)
            | Self::PoolGradient { .. }
            | Self::Flatten { .. }
            | Self::Dropout { .. }
            | Self::Elementwise { .. }
            | Self::ColumnSum { .. }
            | Self::Loss { .. }
            | Self::LossTangent { .. }
            | Self::Metrics { .. } => None,
        }
    }

    /// Which product of a layer it is, with the window of a convolution; `None` for all other calls.
    #[must_use]
    pub fn product(&self) -> Option<String> {
        Some(match self.as_product()? {
            Product::Matmul(call) => match call.layout {
                MatmulLayout::Forward => "forward",
                MatmulLayout::DataGradient => "data gradient",
                MatmulLayout::WeightGradient => "weight gradient",
            }
            .to_owned(),
            Product::Conv(call) => {
                let pass = match call.pass {
                    ConvPass::Forward => "forward",
                    ConvPass::DataGradient => "data gradient",
                    ConvPass::WeightGradient => "weight gradient",
                };
                format!("{pass}, {}", call.shape.window())
            }
        })
    }

    /// Floating-point operations of a product; 0 for all other calls.
    #[must_use]
    pub fn flops(&self) -> u64 {
        match self.as_product() {
            Some(Product::Matmul(call)) => 2 * call.shape.iter().map(|side| *side as u64).product::<u64>(),
            Some(Product::Conv(call)) => call.shape.flops(),
            None => 0,
        }
    }

    /// The tensor that it adds to what is there.
    fn added_to(&self) -> Option<Tensor> {
        let (tensor, accumulate) = match self {
            Self::Matmul(MatmulCall { c, accumulate, .. }) | Self::Conv(ConvCall { c, accumulate, .. }) => {
                (*c, *accumulate)
            }
            Self::ColumnSum { output, accumulate, .. } => (*output, *accumulate),
            Self::ChannelNormalise { output, accumulate, .. }
            | Self::GroupNormaliseGradient { output, accumulate, .. }
            | Self::Flatten { output, accumulate, .. }
            | Self::Dropout { output, accumulate, .. }
            | Self::Elementwise { output, accumulate, .. } => (Tensor::Slot(*output), *accumulate),
            Self::GroupNormaliseCurvature { values: [.., output], .. } => (Tensor::Slot(*output), true),
            Self::Pool(call) | Self::PoolSelect(call) | Self::PoolGradient { call, .. } => {
                (Tensor::Slot(call.output), call.accumulate)
            }
            Self::Affine(call) => (Tensor::Slot(call.other), call.accumulate),
            Self::AffineGradient(call) => (call.scale, call.accumulate),
            Self::Gather { .. }
            | Self::Pack { .. }
            | Self::BatchNorm(_)
            | Self::BatchNormGradient(_) // of several dispatches, whose work counts what is added to
            | Self::GroupNormalise { .. }
            | Self::Loss { .. }
            | Self::LossTangent { .. }
            | Self::Metrics { .. } => return None,
        };
        accumulate.then_some(tensor)
    }
}

impl Schedule {
    /// The work of each dispatch of a step, in the order in which a plan records them.
    #[must_use]
    pub fn work(&self, step: &PlanStep) -> Vec<Work> {
        match &step.call {
            Call::BatchNorm(call) => self.batch_norm_work(call),
            Call::BatchNormGradient(call) => self.batch_norm_gradient_work(call),
            call => vec![Work { flops: self.operations(call), bytes: self.traffic(call) }],
        }
    }

    /// Bytes of every operand, each counted once a dispatch: the least traffic without reuse between dispatches.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.steps.iter().flat_map(|step| self.work(step)).map(|work| work.bytes).sum()
    }

    fn len(&self, SlotId(slot): SlotId) -> u64 {
        self.slots[slot].len as u64
    }

    fn slot_bytes(&self, slots: impl IntoIterator<Item = SlotId>) -> u64 {
        slots.into_iter().map(|SlotId(slot)| self.slots[slot].words() as u64 * WORD_BYTES).sum()
    }

    fn traffic(&self, call: &Call) -> u64 {
        let parameter = |(tensor, len): (Tensor, usize)| {
            // Only the weights that the network sees are stored as activations are.
            let words = if matches!(tensor, Tensor::Weight(_)) { self.element.words(len) } else { len };
            words as u64 * WORD_BYTES
        };
        let added = call.added_to();
        let parameters = call.parameters().into_iter();
        let params: u64 = parameters.map(|of| (1 + u64::from(Some(of.0) == added)) * parameter(of)).sum();
        // A byte a feature comes in.
        let beside = if matches!(call, Call::Gather { .. }) { (self.batch * self.input.features()) as u64 } else { 0 };
        self.slot_bytes(call.slots().into_iter().chain(added.and_then(Tensor::slot))) + params + beside
    }

    /// Operations of all calls but batch norms.
    fn operations(&self, call: &Call) -> u64 {
        match call {
            Call::Matmul(_) | Call::Conv(_) => call.flops(),
            Call::Gather { .. } => 2 * (self.batch * self.input.features()) as u64,
            Call::ColumnSum { shape: [rows, columns, _], .. } => (rows * columns) as u64,
            Call::Elementwise { operation, output, accumulate, .. } => {
                let own = match operation {
                    Elementwise::Copy => 0,
                    Elementwise::Activate(_) | Elementwise::Add | Elementwise::Multiply => 1,
                    Elementwise::ActivationGradient(_) | Elementwise::ActivationCurvature(_) => 2,
                };
                (own + u64::from(*accumulate)) * self.len(*output)
            }
            Call::Dropout { output, .. } => self.len(*output),
            Call::Pool(call) => self.len(call.input),
            Call::PoolGradient { call, saved } => (1 + u64::from(saved.is_some())) * self.len(call.output),
            Call::Affine(call) => 2 * self.len(call.other),
            Call::AffineGradient(call) => 3 * self.len(call.input),
            Call::ChannelNormalise { output, .. } => 2 * self.len(*output),
            // Sum, mean's difference, square, sum of squares, scale.
            Call::GroupNormalise { xhat, .. } => 5 * self.len(*xhat),
            // Two sums, one of them of products, then grad - mean - xhat * slope, scaled.
            Call::GroupNormaliseGradient { output, .. } => 7 * self.len(*output),
            Call::GroupNormaliseCurvature { values: [.., output], .. } => 14 * self.len(*output),
            // Largest, difference, exponential, sum, division, the label's difference, scale.
            Call::Loss { logits, .. } => 7 * self.len(*logits),
            Call::LossTangent { output, .. } => 4 * self.len(*output),
            Call::Metrics { row_stats } => self.len(*row_stats),
            Call::Pack { .. } | Call::Flatten { .. } | Call::PoolSelect(_) => 0,
            Call::BatchNorm(_) | Call::BatchNormGradient(_) => 0,
        }
    }

    /// Sums of chunks where the batch's statistics count, their combination, and the sweep that normalises.
    fn batch_norm_work(&self, call: &BatchNormCall) -> Vec<Work> {
        let elements = self.len(call.x);
        let partials = call.partials.map_or(0, |partials| self.len(partials));
        let moments = call.partials.map(|partials| Work {
            // Difference from a first row, its sum, its square, their sum.
            flops: 4 * elements,
            bytes: self.slot_bytes([call.x, partials]),
        });
        let finish =
            Work { flops: 4 * partials, bytes: self.slot_bytes(call.partials.into_iter().chain([call.table])) };
        let active = u64::from(call.op.activation != Activation::Identity);
        let apply = Work {
            flops: (3 + u64::from(call.residual.is_some()) + active) * elements,
            bytes: self.slot_bytes([call.x, call.table, call.y].into_iter().chain(call.residual)),
        };
        moments.into_iter().chain([finish, apply]).collect()
    }

    fn batch_norm_gradient_work(&self, call: &BatchNormGradientCall) -> Vec<Work> {
        let BatchNormCall { x, table, .. } = call.forward;
        let elements = self.len(x);
        let active = 2 * u64::from(call.saved().is_some());
        let read = || [call.grad, x, table].into_iter().chain(call.saved());
        let moments = Work { flops: (4 + active) * elements, bytes: self.slot_bytes(read().chain([call.partials])) };
        let finish = Work {
            flops: 4 * self.len(call.partials),
            bytes: self.slot_bytes([call.partials, table, call.coefficients]),
        };
        // A gradient that is added to is read as well.
        let results: Vec<_> = [call.grad_x].into_iter().chain(call.grad_residual).collect();
        let again = results.iter().filter(|(_, accumulate)| *accumulate);
        let added = again.clone().count() as u64;
        let written = results.iter().chain(again).map(|(slot, _)| *slot);
        let apply = Work {
            flops: (5 + active + added) * elements,
            bytes: self.slot_bytes(read().chain([call.coefficients]).chain(written)),
        };
        vec![moments, finish, apply]
    }
}
