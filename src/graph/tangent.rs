//! Products with the Hessian: the forward-mode derivative of a whole schedule, call by call.
//!
//! Every tensor T of a batch (forward, loss, backward) gets a tangent, its derivative along a direction v in weight
//! space. The tangent of a weight is v, that of the input 0, and that of the gradient is H v. Since each call is bilinear
//! or elementwise, its tangent is made of the same calls.
//!
//! Source: Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 1994. The Gauss-Newton product
//! J' (d2 loss / d output2) J v lets the tangent of the loss' gradient alone flow back: Schraudolph, "Fast curvature
//! matrix-vector products", Neural Computation 2002.

use crate::kernels::{Activation, Elementwise, Epilogue};

use super::{
    Mode,
    schedule::{Call, MatmulCall, PlanStep, Schedule, SlotId, Tensor},
};

/// Turns the schedule of a training batch, whose backward has no fused activations, into that of a product.
pub(super) fn differentiate(schedule: &mut Schedule, params: usize) {
    let primal = std::mem::take(&mut schedule.steps);
    let tangents = vec![None; schedule.slots.len()];
    let mut pass = Pass { schedule, tangents, weights: true, primal: true, written: vec![false; params] };
    for step in primal {
        pass.step(step);
    }
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
    fn step(&mut self, step: PlanStep) {
        let PlanStep { name, call } = step;
        let keep = self.primal
            && match &call {
                Call::Gather { .. } | Call::Elementwise { .. } | Call::LossTangent { .. } => true,
                Call::Matmul(call) => matches!(call.c, Tensor::Slot(_)),
                Call::Loss { .. } => self.schedule.mode == Mode::HessianProduct,
                Call::ColumnSum { .. } | Call::Metrics { .. } => false,
            };
        if keep {
            self.schedule.push(&name, call.clone());
        }
        let name = format!("{name} tangent");
        match call {
            Call::Matmul(call) => self.matmul(&name, call),
            Call::Elementwise { operation, left, right, output, accumulate } => {
                self.elementwise(&name, operation, [Some(left), right], output, accumulate);
            }
            Call::ColumnSum { input, output, shape, .. } => {
                if let Some(input) = self.tangents[input.0] {
                    let Target { tensor, accumulate } = self.target(output, false);
                    self.schedule.push(&name, Call::ColumnSum { input, output: tensor, shape, accumulate });
                }
            }
            Call::Loss { logits, grad_logits, .. } => self.loss(&name, logits, grad_logits),
            Call::Gather { .. } | Call::Metrics { .. } | Call::LossTangent { .. } => {}
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
        self.schedule.slot(name, words / self.schedule.batch)
    }

    /// The tangent of a call's output; `accumulate` says that the call adds to what is there.
    fn target(&mut self, output: Tensor, accumulate: bool) -> Target {
        match output {
            Tensor::Slot(slot) => {
                if let Some(tangent) = self.tangents[slot.0] {
                    return Target { tensor: Tensor::Slot(tangent), accumulate };
                }
                let tangent = self.new_slot("tangent", self.schedule.slots[slot.0].words);
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

    /// C = A B gives the tangents A' B + A B' (a prime for a tangent), then the epilogue's derivative.
    fn matmul(&mut self, name: &str, call: MatmulCall) {
        let (a, b) = (self.of(call.a), self.of(call.b));
        if a.is_none() && b.is_none() {
            return;
        }
        debug_assert!(!matches!(call.epilogue, Epilogue::ActivationGradient(_)), "backward is not fused here");
        let Epilogue::BiasActivation { activation, .. } = call.epilogue else {
            let target = self.target(call.c, call.accumulate);
            self.products(name, call, [a, b], None, target);
            return;
        };
        let Tensor::Slot(output) = call.c else { return };
        let saved = call.pre.unwrap_or(output);
        let sums = if activation == Activation::Identity {
            self.target(call.c, false)
        } else if call.pre.is_some() {
            self.target(Tensor::Slot(saved), false)
        } else {
            let words = self.schedule.slots[output.0].words;
            Target { tensor: Tensor::Slot(self.new_slot("sums tangent", words)), accumulate: false }
        };
        let bias = call.aux.and_then(|aux| self.of(aux));
        self.products(name, call, [a, b], bias, sums);
        if let (Tensor::Slot(left), false) = (sums.tensor, activation == Activation::Identity) {
            let target = self.target(call.c, false);
            self.push_elementwise(
                name,
                Elementwise::ActivationGradient(activation),
                [left, saved],
                target.tensor,
                false,
            );
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

    fn elementwise(
        &mut self,
        name: &str,
        operation: Elementwise,
        [left, right]: [Option<SlotId>; 2],
        output: SlotId,
        accumulate: bool,
    ) {
        let tangent = |slot: Option<SlotId>| slot.and_then(|slot| self.tangents[slot.0]);
        let flat = matches!(operation, Elementwise::ActivationGradient(activation) if activation.is_piecewise_linear());
        let (of_left, of_right) = (tangent(left), tangent(right).filter(|_| !flat));
        if of_left.is_none() && of_right.is_none() {
            return;
        }
        let mut target = self.target(Tensor::Slot(output), accumulate);
        let gradient = Elementwise::ActivationGradient;
        match (operation, left, right) {
            (Elementwise::Activate(activation), Some(left), _) => {
                let saved = if activation.saves_input() { left } else { output };
                if let Some(of_left) = of_left {
                    self.push_elementwise(name, gradient(activation), [of_left, saved], target.tensor, target.next());
                }
            }
            (Elementwise::ActivationGradient(activation), Some(left), Some(saved)) => {
                if let Some(of_left) = of_left {
                    self.push_elementwise(name, gradient(activation), [of_left, saved], target.tensor, target.next());
                }
                if let Some(of_saved) = of_right {
                    let product = self.new_slot("curved", self.schedule.slots[left.0].words);
                    let (multiply, curve) = (Elementwise::Multiply, Elementwise::ActivationCurvature(activation));
                    self.push_elementwise(name, multiply, [left, of_saved], Tensor::Slot(product), false);
                    self.push_elementwise(name, curve, [product, saved], target.tensor, target.next());
                }
            }
            _ => {
                for of_input in [of_left, of_right].into_iter().flatten() {
                    let inputs = [of_input, of_input];
                    self.push_elementwise(name, Elementwise::Copy, inputs, target.tensor, target.next());
                }
            }
        }
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
}
