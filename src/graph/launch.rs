//! What a schedule launches on a target, before any device is involved.

use crate::{
    gpu::{Element, GpuError, Launch},
    kernels::{
        Activation, Augmentation, BatchNormAdds, Dropout, Gather, MatmulShape, MetricsSum, Target, column_sum_launches,
        conv_pack_launch, flatten_launch, loss_tangent_launch, mse_launch, softmax_nll_launch,
    },
};

use super::{
    Loss, ValueShape,
    bind::misbound,
    call::{AffineCall, BatchNormCall, Call, ConvCall, MatmulCall, SlotId},
    schedule::Schedule,
};

/// A dispatch of a schedule.
#[derive(Clone, Debug)]
pub struct PlannedLaunch {
    /// Number of the schedule's step that it belongs to.
    pub step: usize,
    /// What it launches.
    pub launch: Launch,
}

impl Schedule {
    /// Every dispatch of a batch in the order in which a plan records them, of samples [channels, height, width] that are
    /// gathered as they are.
    ///
    /// # Errors
    /// [`GpuError::Grid`] past the target's grid, [`GpuError::Shape`] for a product past 2^32 elements.
    pub fn launches(&self, target: &Target, loss: Loss, sample: [usize; 3]) -> Result<Vec<PlannedLaunch>, GpuError> {
        let mut planned = Vec::new();
        for (step, plan_step) in self.steps.iter().enumerate() {
            let launches = self.launches_of(target, (loss, sample), &plan_step.call)?;
            let works = self.work(plan_step);
            let known = works.len() == launches.len();
            for (place, launch) in launches.into_iter().enumerate() {
                let launch = if known { launch.doing(works[place]) } else { launch };
                planned.push(PlannedLaunch { step, launch });
            }
        }
        Ok(planned)
    }

    fn launches_of(
        &self,
        target: &Target,
        (loss, sample): (Loss, [usize; 3]),
        call: &Call,
    ) -> Result<Vec<Launch>, GpuError> {
        Ok(match call {
            Call::Matmul(call) => self.matmul_launches(target, call)?,
            Call::Conv(ConvCall { pass, shape, epilogue, accumulate, .. }) => {
                let variant = target.class.conv_variant(self.element, shape, *pass);
                variant.launches(target, (*pass, shape), (*epilogue, *accumulate), self.element)?
            }
            Call::BatchNorm(call) => {
                let variant = call.partials.map(|_| target.class.batch_norm_variant());
                call.shape.forward_launches(target, variant, call.op.activation, call.residual.is_some())?.into_vec()
            }
            Call::BatchNormGradient(call) => {
                let BatchNormCall { shape, op, .. } = call.forward;
                let residual = call.grad_residual.map(|(_, adds)| adds);
                let adds = BatchNormAdds { input: call.grad_x.1, residual, params: call.accumulate };
                shape.gradient_launches(target, target.class.batch_norm_variant(), op.activation, adds)?.into()
            }
            Call::ColumnSum { shape, accumulate, .. } => {
                column_sum_launches(target, *shape, *accumulate, self.element)?
            }
            Call::AffineGradient(AffineCall { shape, shift, accumulate, .. }) => {
                shape.affine_gradient_launches(target, [shift.is_some(), *accumulate], self.element)?
            }
            Call::Gather { .. } => {
                let planar = matches!(self.input, ValueShape::Features(_));
                let pixels = sample[1] * sample[2];
                vec![Gather::launch(target, [self.batch, pixels], planar, Augmentation::default())?]
            }
            call => vec![self.launch_of(target, loss, call)?],
        })
    }

    fn matmul_launches(&self, target: &Target, call: &MatmulCall) -> Result<Vec<Launch>, GpuError> {
        let [m, n, k] = call.shape;
        let shape = MatmulShape::new(m, n, k)?;
        let variant = target.class.matmul_variant(self.element, shape);
        variant.launches(target, (call.layout, shape), (call.epilogue, call.accumulate), self.element)
    }

    /// Of a call that is one dispatch.
    fn launch_of(&self, target: &Target, loss: Loss, call: &Call) -> Result<Launch, GpuError> {
        let outputs = [self.batch, self.classes];
        match call {
            Call::Pack { shape, .. } => conv_pack_launch(target, shape),
            Call::Pool(call) => call.shape.pool_launch(target, &call.pool, call.accumulate),
            Call::PoolSelect(call) => call.shape.select_launch(target, call.accumulate),
            Call::PoolGradient { call, saved } => {
                let activation = saved.map_or(Activation::Identity, |(activation, _)| activation);
                call.shape.gradient_launch(target, &call.pool, activation, call.accumulate)
            }
            Call::Flatten { shape, back, accumulate, .. } => flatten_launch(target, *shape, *back, *accumulate),
            Call::Dropout { output, accumulate, .. } => Dropout::launch(target, self.slot_len(*output), *accumulate),
            Call::Elementwise { operation, output, accumulate, .. } => {
                operation.launch(target, self.slot_len(*output), *accumulate)
            }
            Call::Loss { .. } => match loss {
                Loss::Nll => softmax_nll_launch(target, outputs, self.element == Element::Half),
                Loss::Mse => mse_launch(target, outputs, true, self.element == Element::Half),
            },
            Call::LossTangent { .. } => loss_tangent_launch(target, loss.tangent(), outputs),
            Call::Metrics { .. } => Ok(MetricsSum::launch(self.batch)),
            call => norm_launch(target, call),
        }
    }

    fn slot_len(&self, SlotId(slot): SlotId) -> usize {
        self.slots[slot].len
    }
}

/// Of a norm within a sample, or its affine map.
fn norm_launch(target: &Target, call: &Call) -> Result<Launch, GpuError> {
    match call {
        Call::ChannelNormalise { shape, centre, accumulate, .. } => {
            shape.channel_normalise_launch(target, *centre, *accumulate)
        }
        Call::GroupNormalise { shape, .. } => shape.group_normalise_launch(target),
        Call::GroupNormaliseGradient { shape, accumulate, .. } => {
            shape.group_normalise_gradient_launch(target, *accumulate)
        }
        Call::GroupNormaliseCurvature { shape, .. } => shape.group_normalise_curvature_launch(target),
        Call::Affine(AffineCall { shape, shift, accumulate, .. }) => {
            shape.affine_launch(target, shift.is_some(), *accumulate)
        }
        other => Err(misbound(other, "norm")),
    }
}
