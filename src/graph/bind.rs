//! Calls bound to buffers: each becomes what a step records.

use crate::{
    gpu::{Buffer, Dispatch, Element, Gpu, GpuError, View},
    kernels::{
        AdapterClass, Arena, BatchNorm, BatchNormGradient, BatchNormGradientViews, BatchNormViews, ConvOperands,
        Dropout, Gather, GatherViews, LossBuffers, LossKernel, MatmulOperands, MatmulShape, MetricsSum, MseTargets,
        affine, affine_gradient, batch_norm_variant, channel_normalise, column_sum, column_sum_scratch_words, conv,
        conv_pack, elementwise, flatten, group_normalise, group_normalise_curvature, group_normalise_gradient,
        loss_tangent, matmul, mse, pool, pool_gradient, pool_select, softmax_nll, with_variants,
    },
};

use super::{
    DataViews, Loss, StatId, TangentArenas, ValueShape,
    call::{AffineCall, BatchNormCall, BatchNormGradientCall, Call, ConvCall, MatmulCall, PoolCall, SlotId, Tensor},
    memory::Placement,
    schedule::Schedule,
};

#[derive(Debug)]
pub(super) enum Stage {
    Fixed(Dispatch),
    Product(Vec<Dispatch>),
    Gather(Gather),
    Loss(LossKernel),
    Metrics(MetricsSum),
    BatchNorm(BatchNorm),
    BatchNormGradient(BatchNormGradient),
    Dropout(Dropout),
}

impl Stage {
    /// Its dispatches in their order.
    pub(super) fn dispatches(&self) -> Vec<&Dispatch> {
        match self {
            Self::Fixed(dispatch) => vec![dispatch],
            Self::Product(dispatches) => dispatches.iter().collect(),
            Self::Gather(gather) => vec![gather.dispatch()],
            Self::Loss(loss) => vec![loss.dispatch()],
            Self::Metrics(metrics) => vec![metrics.dispatch()],
            Self::BatchNorm(norm) => norm.dispatches().collect(),
            Self::BatchNormGradient(norm) => norm.dispatches().collect(),
            Self::Dropout(dropout) => vec![dropout.dispatch()],
        }
    }
}

pub(super) struct Binder<'a> {
    pub(super) gpu: &'a Gpu,
    pub(super) schedule: &'a Schedule,
    pub(super) placement: Placement,
    /// The activation arena, as many buffers as the adapter's limit makes it.
    pub(super) banks: Vec<Buffer>,
    /// For what products keep for themselves, one after the other.
    pub(super) scratch: Buffer,
    pub(super) arena: &'a Arena,
    pub(super) tangents: Option<&'a TangentArenas>,
    pub(super) data: &'a DataViews,
    pub(super) metrics: &'a View,
    pub(super) loss: Loss,
}

pub(super) fn misbound(call: &Call, what: &str) -> GpuError {
    GpuError::Validation { what: format!("{call:?}"), reason: format!("it was bound as a {what}, which it is not") }
}

impl Binder<'_> {
    pub(super) fn slot(&self, SlotId(slot): SlotId) -> Result<View, GpuError> {
        let (bank, offset) = self.placement.place_of(slot);
        let of = &self.schedule.slots[slot];
        self.banks[bank].part(offset, of.words())?.read_as(of.element, of.len)
    }

    fn optional(&self, slot: Option<SlotId>) -> Result<Option<View>, GpuError> {
        slot.map(|slot| self.slot(slot)).transpose()
    }

    fn tensor(&self, tensor: Tensor) -> Result<View, GpuError> {
        match tensor {
            Tensor::Slot(slot) => self.slot(slot),
            Tensor::Weight(param) => self.arena.effective(param.0),
            Tensor::Grad(param) => self.arena.tensor(&self.arena.grads, param.0),
            Tensor::Direction(param) => self.arena.tensor(&self.tangents()?.direction, param.0),
            Tensor::Product(param) => self.arena.tensor(&self.tangents()?.product, param.0),
        }
    }

    fn optional_tensor(&self, tensor: Option<Tensor>) -> Result<Option<View>, GpuError> {
        tensor.map(|tensor| self.tensor(tensor)).transpose()
    }

    fn tangents(&self) -> Result<&TangentArenas, GpuError> {
        let missing = GpuError::Length { kernel: "plan", argument: "tangent arenas", expected: 2, found: 0 };
        self.tangents.ok_or(missing)
    }

    fn running(&self, [mean, variance]: [StatId; 2]) -> Result<[View; 2], GpuError> {
        Ok([self.arena.stat(mean.0)?, self.arena.stat(variance.0)?])
    }

    pub(super) fn stage(&self, call: &Call) -> Result<Stage, GpuError> {
        let gpu = self.gpu;
        Ok(match call {
            Call::Gather { output } => Stage::Gather(self.gather(*output)?),
            Call::Matmul(call) => Stage::Product(with_variants(self.gpu, |class| self.matmul(call, class))?),
            Call::Conv(call) => Stage::Product(with_variants(self.gpu, |class| self.conv(call, class))?),
            Call::ColumnSum { .. } | Call::AffineGradient(_) => Stage::Product(self.long_sum(call)?),
            Call::BatchNorm(call) => Stage::BatchNorm(self.batch_norm(call)?),
            Call::BatchNormGradient(call) => Stage::BatchNormGradient(self.batch_norm_gradient(call)?),
            Call::Dropout { input, output, layer, probability, accumulate } => {
                let views = [&self.slot(*input)?, &self.slot(*output)?];
                Stage::Dropout(Dropout::new(gpu, views, *layer, *probability, *accumulate)?)
            }
            Call::LossTangent { logits, tangent, output } => {
                let views = [&self.slot(*logits)?, &self.slot(*tangent)?, &self.slot(*output)?];
                let loss = self.loss.tangent();
                Stage::Loss(loss_tangent(
                    gpu,
                    AdapterClass::of(gpu),
                    loss,
                    views,
                    [self.schedule.batch, self.schedule.classes],
                )?)
            }
            Call::Loss { logits, grad_logits, row_stats } => self.loss([*logits, *grad_logits, *row_stats])?,
            Call::Metrics { row_stats } => {
                Stage::Metrics(MetricsSum::new(gpu, &self.slot(*row_stats)?, self.metrics, self.schedule.batch)?)
            }
            call => Stage::Fixed(self.fixed(call)?),
        })
    }

    fn gather(&self, output: SlotId) -> Result<Gather, GpuError> {
        let data = self.data;
        let views = GatherViews {
            pixels: &data.pixels,
            indices: &data.indices,
            ids: &data.ids,
            normalisation: &data.normalisation,
            output: &self.slot(output)?,
        };
        let planar = matches!(self.schedule.input, ValueShape::Features(_));
        Gather::new(self.gpu, &views, self.schedule.batch, data.sample, planar, data.augment)
    }

    fn loss(&self, [logits, grad_logits, row_stats]: [SlotId; 3]) -> Result<Stage, GpuError> {
        let scaling = self.arena.scaling.view();
        let buffers = LossBuffers {
            logits: &self.slot(logits)?,
            labels: &self.data.labels,
            indices: &self.data.indices,
            grad_logits: &self.slot(grad_logits)?,
            row_stats: &self.slot(row_stats)?,
            scaling: (self.schedule.element == Element::Half).then_some(&scaling),
        };
        let shape = [self.schedule.batch, self.schedule.classes];
        if self.data.classes > shape[1] {
            let of = format!("{} classes for {} outputs", self.data.classes, shape[1]);
            return Err(GpuError::Shape { kernel: "loss", shape: of, reason: "a label may have no output" });
        }
        let class = AdapterClass::of(self.gpu);
        Ok(Stage::Loss(match self.loss {
            Loss::Nll => softmax_nll(self.gpu, class, &buffers, shape)?,
            Loss::Mse => mse(self.gpu, class, &buffers, &MseTargets::OneHot, shape)?,
        }))
    }

    /// Calls whose dispatch is the same every step.
    fn fixed(&self, call: &Call) -> Result<Dispatch, GpuError> {
        let gpu = self.gpu;
        match call {
            Call::Pack { weight, output, shape } => conv_pack(gpu, shape, &self.tensor(*weight)?, &self.slot(*output)?),
            Call::Elementwise { operation, left, right, output, accumulate } => {
                let right = self.optional(*right)?.unwrap_or(gpu.unused(0)?);
                let views = [&self.slot(*left)?, &right, &self.slot(*output)?];
                elementwise(gpu, *operation, views, *accumulate)
            }
            Call::Flatten { input, output, shape, back, accumulate } => {
                flatten(gpu, [&self.slot(*input)?, &self.slot(*output)?], *shape, *back, *accumulate)
            }
            Call::Pool(call) => self.pool(call),
            Call::PoolSelect(call) => self.pool_select(call),
            Call::PoolGradient { call, saved } => {
                let saved_view = self.optional(saved.map(|(_, slot)| slot))?;
                let saved = saved.map(|(activation, _)| activation).zip(saved_view.as_ref());
                let (views, chosen) = self.pool_views(call)?;
                let views = [&views[0], &views[1]];
                pool_gradient(gpu, &call.pool, &call.shape, views, chosen.as_ref(), saved, call.accumulate)
            }
            call => self.norm(call),
        }
    }

    fn pool_views(&self, call: &PoolCall) -> Result<([View; 2], Option<View>), GpuError> {
        Ok(([self.slot(call.input)?, self.slot(call.output)?], self.optional(call.chosen)?))
    }

    fn pool(&self, call: &PoolCall) -> Result<Dispatch, GpuError> {
        let (views, chosen) = self.pool_views(call)?;
        pool(self.gpu, &call.pool, &call.shape, [&views[0], &views[1]], chosen.as_ref(), call.accumulate)
    }

    fn pool_select(&self, call: &PoolCall) -> Result<Dispatch, GpuError> {
        let (views, chosen) = self.pool_views(call)?;
        let chosen = chosen.unwrap_or(self.gpu.unused(0)?);
        pool_select(self.gpu, &call.shape, [&views[0], &views[1]], &chosen, call.accumulate)
    }

    /// Sums over the batch's rows or pixels.
    fn long_sum(&self, call: &Call) -> Result<Vec<Dispatch>, GpuError> {
        let (gpu, class) = (self.gpu, AdapterClass::of(self.gpu));
        match call {
            Call::ColumnSum { input, output, shape, accumulate } => {
                let scratch = self.scratch.part(0, column_sum_scratch_words(class, *shape))?;
                let views = [&self.slot(*input)?, &self.tensor(*output)?, &scratch];
                column_sum(gpu, class, views, *shape, *accumulate)
            }
            Call::AffineGradient(AffineCall { shape, input, other, scale, shift, accumulate }) => {
                let scratch = self.scratch.part(0, shape.gradient_scratch_words(class))?;
                let views = [&self.slot(*input)?, &self.slot(*other)?, &scratch];
                let (scale, shift) = (self.tensor(*scale)?, self.optional_tensor(*shift)?);
                affine_gradient(gpu, class, shape, views, &scale, shift.as_ref(), *accumulate)
            }
            other => Err(misbound(other, "long sum")),
        }
    }

    fn norm(&self, call: &Call) -> Result<Dispatch, GpuError> {
        let (gpu, class) = (self.gpu, AdapterClass::of(self.gpu));
        match call {
            Call::ChannelNormalise { shape, running, input, output, centre, accumulate } => {
                let [mean, variance] = self.running(*running)?;
                let views = [&self.slot(*input)?, &self.slot(*output)?];
                channel_normalise(gpu, shape, views, [&mean, &variance], *centre, *accumulate)
            }
            Call::GroupNormalise { shape, input, xhat, inv_std } => {
                group_normalise(gpu, class, shape, [&self.slot(*input)?, &self.slot(*xhat)?], &self.slot(*inv_std)?)
            }
            Call::GroupNormaliseGradient { shape, grad, xhat, inv_std, output, accumulate } => {
                let views = [&self.slot(*grad)?, &self.slot(*xhat)?, &self.slot(*output)?];
                group_normalise_gradient(gpu, class, shape, views, &self.slot(*inv_std)?, *accumulate)
            }
            Call::GroupNormaliseCurvature { shape, values: [grad, xhat, x_tangent, xhat_tangent, output], inv_std } => {
                let views = [
                    &self.slot(*grad)?,
                    &self.slot(*xhat)?,
                    &self.slot(*x_tangent)?,
                    &self.slot(*xhat_tangent)?,
                    &self.slot(*output)?,
                ];
                group_normalise_curvature(gpu, class, shape, views, &self.slot(*inv_std)?)
            }
            Call::Affine(AffineCall { shape, input, other, scale, shift, accumulate }) => {
                let (views, shift) = ([&self.slot(*input)?, &self.slot(*other)?], self.optional_tensor(*shift)?);
                affine(gpu, shape, views, &self.tensor(*scale)?, shift.as_ref(), *accumulate)
            }
            other => Err(misbound(other, "fixed dispatch")),
        }
    }

    fn batch_norm(&self, call: &BatchNormCall) -> Result<BatchNorm, GpuError> {
        let [running_mean, running_var] = self.running(call.op.running)?;
        let (residual, partials) = (self.optional(call.residual)?, self.optional(call.partials)?);
        let views = BatchNormViews {
            x: &self.slot(call.x)?,
            residual: residual.as_ref(),
            weight: &self.tensor(Tensor::Weight(call.op.weight))?,
            bias: &self.tensor(Tensor::Weight(call.op.bias))?,
            running_mean: &running_mean,
            running_var: &running_var,
            partials: partials.as_ref(),
            table: &self.slot(call.table)?,
            y: &self.slot(call.y)?,
        };
        BatchNorm::new(self.gpu, batch_norm_variant(self.gpu), call.shape, &views, call.op.activation, call.op.eps)
    }

    fn batch_norm_gradient(&self, call: &BatchNormGradientCall) -> Result<BatchNormGradient, GpuError> {
        let BatchNormCall { shape, op, x, table, .. } = call.forward;
        let saved = self.optional(call.saved())?;
        let residual = self.optional(call.grad_residual.map(|(slot, _)| slot))?;
        let views = BatchNormGradientViews {
            grad: &self.slot(call.grad)?,
            saved: saved.as_ref(),
            x: &self.slot(x)?,
            table: &self.slot(table)?,
            partials: &self.slot(call.partials)?,
            coefficients: &self.slot(call.coefficients)?,
            grad_weight: &self.tensor(Tensor::Grad(op.weight))?,
            grad_bias: &self.tensor(Tensor::Grad(op.bias))?,
            grad_x: (&self.slot(call.grad_x.0)?, call.grad_x.1),
            grad_residual: residual.as_ref().zip(call.grad_residual.map(|(_, accumulate)| accumulate)),
        };
        BatchNormGradient::new(self.gpu, batch_norm_variant(self.gpu), shape, &views, op.activation, call.accumulate)
    }

    /// What a product's operand is stored as, which the schedule's scratch counts on.
    fn element_of(&self, operand: &View) -> Element {
        debug_assert_eq!(operand.element(), self.schedule.element);
        self.schedule.element
    }

    fn matmul(&self, call: &MatmulCall, class: AdapterClass) -> Result<Vec<Dispatch>, GpuError> {
        let [m, n, k] = call.shape;
        let shape = MatmulShape::new(m, n, k)?;
        let a = self.tensor(call.a)?;
        let variant = class.matmul_variant(self.element_of(&a), shape);
        let (aux, pre) = (self.optional_tensor(call.aux)?, self.optional(call.pre)?);
        let operands = MatmulOperands {
            a: &a,
            b: &self.tensor(call.b)?,
            aux: aux.as_ref(),
            c: &self.tensor(call.c)?,
            pre: pre.as_ref(),
            scratch: Some(&self.scratch.part(0, variant.scratch_words(shape))?),
        };
        matmul(self.gpu, variant, call.layout, shape, call.epilogue, call.accumulate, &operands)
    }

    fn conv(&self, call: &ConvCall, class: AdapterClass) -> Result<Vec<Dispatch>, GpuError> {
        let a = self.tensor(call.a)?;
        let variant = class.conv_variant(self.element_of(&a), &call.shape, call.pass);
        let (aux, pre) = (self.optional_tensor(call.aux)?, self.optional(call.pre)?);
        let operands = ConvOperands {
            a: &a,
            b: &self.tensor(call.b)?,
            aux: aux.as_ref(),
            c: &self.tensor(call.c)?,
            pre: pre.as_ref(),
            scratch: Some(&self.scratch.part(0, variant.scratch_words(&call.shape, call.pass))?),
        };
        conv(self.gpu, variant, call.pass, &call.shape, call.epilogue, call.accumulate, &operands)
    }
}
