//! Tangents of calls that are linear in what they read, or affine with parameters: norms, pools and flattening.

use super::{
    super::call::{AffineCall, Call, PoolCall},
    Pass,
};

impl Pass<'_> {
    pub(super) fn flatten(&mut self, name: &str, call: &Call) {
        let Call::Flatten { input, output, shape, back, accumulate } = *call else { return };
        if let Some(input) = self.tangents[input.0]
            && let Some((output, accumulate)) = self.target_slot(output, accumulate)
        {
            self.schedule.push(name, Call::Flatten { input, output, shape, back, accumulate });
        }
    }

    /// A norm by running statistics, or its gradient: a fixed scale and shift, of which derivatives have the scale.
    pub(super) fn channel_norm(&mut self, name: &str, call: &Call) {
        let Call::ChannelNormalise { shape, running, input, output, accumulate, .. } = *call else { return };
        if let Some(input) = self.tangents[input.0]
            && let Some((output, accumulate)) = self.target_slot(output, accumulate)
        {
            let call = Call::ChannelNormalise { shape, running, input, output, centre: false, accumulate };
            self.schedule.push(name, call);
        }
    }

    pub(super) fn norm(&mut self, name: &str, call: &Call) {
        let Call::GroupNormalise { shape, input, xhat, inv_std } = *call else { return };
        self.norm_inputs.push((xhat, input));
        if let Some(grad) = self.tangents[input.0]
            && let Some((output, accumulate)) = self.target_slot(xhat, false)
        {
            let call = Call::GroupNormaliseGradient { shape, grad, xhat, inv_std, output, accumulate };
            self.schedule.push(name, call);
        }
    }

    pub(super) fn pool(&mut self, name: &str, call: PoolCall, of: impl FnOnce(PoolCall) -> Call) {
        if let Some(input) = self.tangents[call.input.0]
            && let Some((output, accumulate)) = self.target_slot(call.output, call.accumulate)
        {
            self.schedule.push(name, of(PoolCall { input, output, accumulate, ..call }));
        }
    }

    /// The derivative P(g) of a norm: P(g') and, where the norm's input has a tangent, P'(g).
    pub(super) fn norm_gradient(&mut self, name: &str, call: &Call) {
        let Call::GroupNormaliseGradient { shape, grad, xhat, inv_std, output, accumulate } = *call else { return };
        let input = self.norm_inputs.iter().find(|(made, _)| *made == xhat).map(|(_, input)| *input);
        let curved = input.and_then(|input| Some([self.tangents[input.0]?, self.tangents[xhat.0]?]));
        let of_grad = self.tangents[grad.0];
        if of_grad.is_none() && curved.is_none() {
            return;
        }
        let Some((output, mut accumulate)) = self.target_slot(output, accumulate) else { return };
        if let Some(grad) = of_grad {
            let call = Call::GroupNormaliseGradient { shape, grad, xhat, inv_std, output, accumulate };
            self.schedule.push(name, call);
            accumulate = true;
        }
        if let Some([x_tangent, xhat_tangent]) = curved {
            debug_assert!(accumulate, "the gradient has a tangent wherever the norm's input has one");
            let values = [grad, xhat, x_tangent, xhat_tangent, output];
            self.schedule.push(name, Call::GroupNormaliseCurvature { shape, values, inv_std });
        }
    }

    /// y = x s + t gives x' s + x s' + t'.
    pub(super) fn affine(&mut self, name: &str, call: AffineCall) {
        let (x, scale) = (self.tangents[call.input.0], self.of(call.scale));
        if x.is_none() && scale.is_none() {
            return;
        }
        let Some((other, mut accumulate)) = self.target_slot(call.other, call.accumulate) else { return };
        if let Some(scale) = scale {
            let shift = call.shift.and_then(|shift| self.of(shift));
            self.schedule.push(name, Call::Affine(AffineCall { other, scale, shift, accumulate, ..call }));
            accumulate = true;
        }
        if let Some(input) = x {
            self.schedule.push(name, Call::Affine(AffineCall { input, other, shift: None, accumulate, ..call }));
        }
    }

    /// sum g x and sum g give sum (g' x + g x') and sum g'.
    pub(super) fn affine_gradient(&mut self, name: &str, call: AffineCall) {
        let (grad, x) = (self.tangents[call.input.0], self.tangents[call.other.0]);
        if grad.is_none() && x.is_none() {
            return;
        }
        let mut scale = self.target(call.scale, false);
        if let Some(input) = grad {
            let shift = call.shift.map(|shift| self.target(shift, false).tensor);
            let accumulate = scale.next();
            let of = AffineCall { input, scale: scale.tensor, shift, accumulate, ..call };
            self.schedule.push(name, Call::AffineGradient(of));
        }
        if let Some(other) = x {
            let accumulate = scale.next();
            let of = AffineCall { other, scale: scale.tensor, shift: None, accumulate, ..call };
            self.schedule.push(name, Call::AffineGradient(of));
        }
    }
}
