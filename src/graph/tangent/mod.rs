//! Products with the Hessian: the forward-mode derivative of a whole schedule, call by call.
//!
//! Every tensor T of a batch (forward, loss, backward) gets a tangent, its derivative along a direction v in weight
//! space. The tangent of a weight is v, that of the input 0, and that of the gradient is H v. Since each call is bilinear
//! or elementwise, its tangent is made of the same calls.
//!
//! Source: Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 1994. The Gauss-Newton product
//! J' (d2 loss / d output2) J v lets the tangent of the loss' gradient alone flow back: Schraudolph, "Fast curvature
//! matrix-vector products", Neural Computation 2002.

mod norms;

use crate::kernels::{Activation, ConvShape, Elementwise, Epilogue};

use super::{
    GraphError, Mode,
    call::{Call, ConvCall, MatmulCall, PlanStep, SlotId, Tensor},
    schedule::Schedule,
};

/// Turns the schedule of a training batch, whose backward has no fused activations, into that of a product.
///
/// # Errors
/// [`GraphError::NoDerivative`] for a call without a rule: left out, its part of every product would be 0.
pub(super) fn differentiate(schedule: &mut Schedule, params: usize) -> Result<(), GraphError> {
    let primal = std::mem::take(&mut schedule.steps);
    let tangents = vec![None; schedule.slots.len()];
    let written = vec![false; params];
    let mut pass = Pass { schedule, tangents, weights: true, primal: true, written, norm_inputs: Vec::new() };
    primal.into_iter().try_for_each(|step| pass.step(step))
}

struct Pass<'a> {
    schedule: &'a mut Schedule,
    /// Tangent of each slot; none where it is 0.
    tangents: Vec<Option<SlotId>>,
    /// Whether the weights have one.
    weights: bool,
    /// Whether calls are still run for their own results.
    primal: bool,
    /// Parameters whose product holds something.
    written: Vec<bool>,
    /// What each norm made, and from what.
    norm_inputs: Vec<(SlotId, SlotId)>,
}

/// Where the terms of a tangent go: the first may overwrite, the others add.
#[derive(Clone, Copy, Debug)]
struct Target {
    tensor: Tensor,
    accumulate: bool,
}

impl Target {
    fn next(&mut self) -> bool {
        std::mem::replace(&mut self.accumulate, true)
    }
}

impl Pass<'_> {
    /// Every call has an arm of its own, so that a new one without a rule does not compile.
    fn step(&mut self, step: PlanStep) -> Result<(), GraphError> {
        let PlanStep { name, call } = step;
        if self.is_needed(&call) {
            self.schedule.push(&name, call.clone());
        }
        let none = || GraphError::NoDerivative { call: name.clone() };
        let name = format!("{name} tangent");
        match call {
            Call::Matmul(call) => self.matmul(&name, call).ok_or_else(none)?,
            Call::Conv(call) => self.conv(&name, call).ok_or_else(none)?,
            Call::Elementwise { operation, left, right, output, accumulate } => {
                let operands = [Some(left), right];
                self.elementwise(&name, operation, operands, output, accumulate).ok_or_else(none)?;
            }
            Call::ColumnSum { input, output, shape, .. } => self.column_sum(&name, input, output, shape),
            Call::Loss { logits, grad_logits, .. } => self.loss(&name, logits, grad_logits),
            Call::Pack { weight, output, shape } => self.pack(&name, weight, output, shape),
            Call::Flatten { .. } => self.flatten(&name, &call),
            Call::Pool(call) => self.pool(&name, call, |call| match call.chosen {
                Some(_) => Call::PoolSelect(call),
                None => Call::Pool(call),
            }),
            Call::PoolGradient { call, saved: None } => {
                self.pool(&name, call, |call| Call::PoolGradient { call, saved: None });
            }
            Call::ChannelNormalise { .. } => self.channel_norm(&name, &call),
            Call::GroupNormalise { .. } => self.norm(&name, &call),
            Call::GroupNormaliseGradient { .. } => self.norm_gradient(&name, &call),
            Call::Affine(call) => self.affine(&name, call),
            Call::AffineGradient(call) => self.affine_gradient(&name, call),
            // The samples do not depend on the weights, and no gradient on the sums of the metrics.
            Call::Gather { .. } | Call::Metrics { .. } => {}
            // A product's schedule has other calls in their place, or makes them only as tangents.
            Call::BatchNorm(_)
            | Call::BatchNormGradient(_)
            | Call::GroupNormaliseCurvature { .. }
            | Call::PoolSelect(_)
            | Call::PoolGradient { saved: Some(_), .. }
            | Call::Dropout { .. }
            | Call::LossTangent { .. } => return Err(none()),
        }
        Ok(())
    }

    /// Whether a call is run for its own result.
    fn is_needed(&self, call: &Call) -> bool {
        match call {
            // Tangents flow through the weights as they are, in backward too.
            Call::Pack { .. } => true,
            Call::Loss { .. } => self.schedule.mode == Mode::HessianProduct,
            Call::Matmul(MatmulCall { c, .. }) | Call::Conv(ConvCall { c, .. }) => self.primal && c.slot().is_some(),
            Call::AffineGradient(_) | Call::ColumnSum { .. } | Call::Metrics { .. } => false,
            Call::Gather { .. }
            | Call::BatchNorm(_)
            | Call::BatchNormGradient(_)
            | Call::ChannelNormalise { .. }
            | Call::GroupNormalise { .. }
            | Call::GroupNormaliseGradient { .. }
            | Call::GroupNormaliseCurvature { .. }
            | Call::Affine(_)
            | Call::Pool(_)
            | Call::PoolSelect(_)
            | Call::PoolGradient { .. }
            | Call::Flatten { .. }
            | Call::Dropout { .. }
            | Call::Elementwise { .. }
            | Call::LossTangent { .. } => self.primal,
        }
    }

    fn of(&self, tensor: Tensor) -> Option<Tensor> {
        match tensor {
            Tensor::Slot(slot) => self.tangents[slot.0].map(Tensor::Slot),
            Tensor::Weight(param) => self.weights.then_some(Tensor::Direction(param)),
            Tensor::Grad(_) | Tensor::Direction(_) | Tensor::Product(_) => None,
        }
    }

    fn new_slot(&mut self, name: &str, words: usize) -> SlotId {
        self.tangents.push(None);
        self.schedule.slot_words(name, words)
    }

    /// The tangent of a call's output; `accumulate` says that the call adds to what is there.
    fn target(&mut self, output: Tensor, accumulate: bool) -> Target {
        match output {
            Tensor::Slot(slot) => {
                if let Some(tangent) = self.tangents[slot.0] {
                    return Target { tensor: Tensor::Slot(tangent), accumulate };
                }
                let tangent = self.new_slot("tangent", self.schedule.slots[slot.0].len);
                self.tangents[slot.0] = Some(tangent);
                Target { tensor: Tensor::Slot(tangent), accumulate: false }
            }
            Tensor::Grad(param) => {
                let accumulate = std::mem::replace(&mut self.written[param.0], true);
                Target { tensor: Tensor::Product(param), accumulate }
            }
            other => Target { tensor: other, accumulate },
        }
    }

    /// As [`Pass::target`] for a slot: the slot and whether to add.
    fn target_slot(&mut self, output: SlotId, accumulate: bool) -> Option<(SlotId, bool)> {
        let target = self.target(Tensor::Slot(output), accumulate);
        target.tensor.slot().map(|slot| (slot, target.accumulate))
    }

    /// C = A B gives the tangents A' B + A B' (a prime for a tangent), then the epilogue's derivative; `None` as of
    /// [`Pass::sums`].
    fn matmul(&mut self, name: &str, call: MatmulCall) -> Option<()> {
        let (a, b) = (self.of(call.a), self.of(call.b));
        if a.is_none() && b.is_none() {
            return Some(());
        }
        let sums = self.sums(call.epilogue, call.c, call.pre, call.accumulate)?;
        let bias = call.aux.and_then(|aux| self.of(aux));
        self.products(name, call, [a, b], bias, sums);
        self.through_activation(name, call.epilogue, call.c, call.pre, sums);
        Some(())
    }

    /// As [`Pass::matmul`]: a convolution is bilinear too.
    fn conv(&mut self, name: &str, call: ConvCall) -> Option<()> {
        let (a, b) = (self.of(call.a), self.of(call.b));
        if a.is_none() && b.is_none() {
            return Some(());
        }
        let mut sums = self.sums(call.epilogue, call.c, call.pre, call.accumulate)?;
        let whole = sums;
        let plain = ConvCall { epilogue: Epilogue::Plain, aux: None, c: sums.tensor, pre: None, ..call };
        if let Some(b) = b {
            let aux = call.aux.and_then(|aux| self.of(aux));
            let identity = Epilogue::BiasActivation { activation: Activation::Identity, store_pre: false };
            let epilogue = if aux.is_some() { identity } else { Epilogue::Plain };
            let accumulate = sums.next();
            self.schedule.push(name, Call::Conv(ConvCall { b, epilogue, aux, accumulate, ..plain }));
        }
        if let Some(a) = a {
            let accumulate = sums.next();
            self.schedule.push(name, Call::Conv(ConvCall { a, accumulate, ..plain }));
        }
        self.through_activation(name, call.epilogue, call.c, call.pre, whole);
        Some(())
    }

    /// Where the tangent of a product's sums goes: to that of the result, unless an activation comes between. `None` for
    /// an activation's derivative in the epilogue, which a backward that is differentiated does not fuse.
    fn sums(&mut self, epilogue: Epilogue, c: Tensor, pre: Option<SlotId>, accumulate: bool) -> Option<Target> {
        Some(match (epilogue, c, pre) {
            (Epilogue::Plain, ..) => self.target(c, accumulate),
            (Epilogue::BiasActivation { activation: Activation::Identity, .. }, ..) => self.target(c, false),
            (Epilogue::BiasActivation { .. }, _, Some(pre)) => self.target(Tensor::Slot(pre), false),
            (Epilogue::BiasActivation { .. }, Tensor::Slot(output), None) => {
                let words = self.schedule.slots[output.0].len;
                Target { tensor: Tensor::Slot(self.new_slot("sums tangent", words)), accumulate: false }
            }
            (Epilogue::BiasActivation { .. }, ..) | (Epilogue::ActivationGradient(_), ..) => return None,
        })
    }

    /// The tangent of a product's result from that of its sums.
    fn through_activation(&mut self, name: &str, epilogue: Epilogue, c: Tensor, pre: Option<SlotId>, sums: Target) {
        let Epilogue::BiasActivation { activation, .. } = epilogue else { return };
        if activation != Activation::Identity
            && let (Tensor::Slot(left), Tensor::Slot(output)) = (sums.tensor, c)
        {
            let saved = pre.unwrap_or(output);
            let target = self.target(c, false);
            let operation = Elementwise::ActivationGradient(activation);
            self.push_elementwise(name, operation, [left, saved], target.tensor, false);
        }
    }

    fn products(
        &mut self,
        name: &str,
        call: MatmulCall,
        [a, b]: [Option<Tensor>; 2],
        bias: Option<Tensor>,
        mut target: Target,
    ) {
        let plain = MatmulCall { epilogue: Epilogue::Plain, aux: None, c: target.tensor, pre: None, ..call };
        if let Some(b) = b {
            let epilogue = match bias {
                Some(_) => Epilogue::BiasActivation { activation: Activation::Identity, store_pre: false },
                None => Epilogue::Plain,
            };
            let accumulate = target.next();
            self.schedule.push(name, Call::Matmul(MatmulCall { b, epilogue, aux: bias, accumulate, ..plain }));
        }
        if let Some(a) = a {
            let accumulate = target.next();
            self.schedule.push(name, Call::Matmul(MatmulCall { a, accumulate, ..plain }));
        }
    }

    /// `None` for an operation, or a number of operands, that a primal schedule does not have.
    fn elementwise(
        &mut self,
        name: &str,
        operation: Elementwise,
        [left, right]: [Option<SlotId>; 2],
        output: SlotId,
        accumulate: bool,
    ) -> Option<()> {
        let tangent = |slot: Option<SlotId>| slot.and_then(|slot| self.tangents[slot.0]);
        let flat = matches!(operation, Elementwise::ActivationGradient(activation) if activation.is_piecewise_linear());
        let (of_left, of_right) = (tangent(left), tangent(right).filter(|_| !flat));
        if of_left.is_none() && of_right.is_none() {
            return Some(());
        }
        let mut target = self.target(Tensor::Slot(output), accumulate);
        let gradient = Elementwise::ActivationGradient;
        match operation {
            Elementwise::Activate(activation) => {
                let saved = if activation.saves_input() { left? } else { output };
                if let Some(of_left) = of_left {
                    self.push_elementwise(name, gradient(activation), [of_left, saved], target.tensor, target.next());
                }
            }
            Elementwise::ActivationGradient(activation) => {
                let (left, saved) = (left?, right?);
                if let Some(of_left) = of_left {
                    self.push_elementwise(name, gradient(activation), [of_left, saved], target.tensor, target.next());
                }
                if let Some(of_saved) = of_right {
                    let product = self.new_slot("curved", self.schedule.slots[left.0].len);
                    let (multiply, curve) = (Elementwise::Multiply, Elementwise::ActivationCurvature(activation));
                    self.push_elementwise(name, multiply, [left, of_saved], Tensor::Slot(product), false);
                    self.push_elementwise(name, curve, [product, saved], target.tensor, target.next());
                }
            }
            Elementwise::Copy | Elementwise::Add => {
                for of_input in [of_left, of_right].into_iter().flatten() {
                    let inputs = [of_input, of_input];
                    self.push_elementwise(name, Elementwise::Copy, inputs, target.tensor, target.next());
                }
            }
            Elementwise::Multiply | Elementwise::ActivationCurvature(_) => return None,
        }
        Some(())
    }

    fn push_elementwise(
        &mut self,
        name: &str,
        operation: Elementwise,
        [left, right]: [SlotId; 2],
        output: Tensor,
        accumulate: bool,
    ) {
        let Tensor::Slot(output) = output else { return };
        let call = Call::Elementwise { operation, left, right: Some(right), output, accumulate };
        self.schedule.push(name, call);
    }

    /// The loss' own curvature; for Gauss-Newton all other curvature ends here.
    fn loss(&mut self, name: &str, logits: SlotId, grad_logits: SlotId) {
        let tangent = self.tangents[logits.0];
        if self.schedule.mode == Mode::GaussNewtonProduct {
            self.tangents.fill(None);
            self.weights = false;
            self.primal = false;
        }
        if let Some(tangent) = tangent
            && let Target { tensor: Tensor::Slot(output), .. } = self.target(Tensor::Slot(grad_logits), false)
        {
            self.schedule.push(name, Call::LossTangent { logits, tangent, output });
        }
    }

    /// Sums of columns are linear.
    fn column_sum(&mut self, name: &str, input: SlotId, output: Tensor, shape: [usize; 3]) {
        if let Some(input) = self.tangents[input.0] {
            let Target { tensor, accumulate } = self.target(output, false);
            self.schedule.push(name, Call::ColumnSum { input, output: tensor, shape, accumulate });
        }
    }

    /// So is the packing of weights.
    fn pack(&mut self, name: &str, weight: Tensor, output: SlotId, shape: ConvShape) {
        if let Some(weight) = self.of(weight)
            && let Some((output, _)) = self.target_slot(output, false)
        {
            self.schedule.push(name, Call::Pack { weight, output, shape });
        }
    }
}

#[cfg(test)]
mod tests;
