//! Products with the Hessian: the forward-mode derivative of a whole schedule, call by call.
//!
//! Every tensor T of a batch (forward, loss, backward) gets a tangent, its derivative along a direction v in weight
//! space. The tangent of a weight is v, that of the input 0, and that of the gradient is H v. Each kernel says how the
//! tangents of its results come about; most are made of the same calls.
//!
//! Source: Pearlmutter, "Fast exact multiplication by the Hessian", Neural Computation 1994. The Gauss-Newton product
//! J' (d2 loss / d output2) J v lets the tangent of the loss' gradient alone flow back: Schraudolph, "Fast curvature
//! matrix-vector products", Neural Computation 2002.

use std::{collections::HashSet, sync::Arc};

use super::{
    Call, GraphError, Kernel, Operand, OperandAccess, PlanMode, PlanStep, Schedule, SlotId, Tangent, TangentTarget,
    Tangents, Tensor,
};

/// Turns the schedule of a training batch, whose backward has no fused activations, into that of a product.
///
/// # Errors
/// [`GraphError::NoDerivative`] for a call without a rule: left out, its part of every product would be 0.
pub(super) fn differentiate(schedule: &mut Schedule) -> Result<(), GraphError> {
    let primal = std::mem::take(&mut schedule.steps);
    let (tangents, written) = (vec![None; schedule.slots.len()], vec![false; schedule.params()]);
    let mut pass = TangentPass { schedule, tangents, weights: true, written, notes: Vec::new() };
    primal.into_iter().try_for_each(|step| pass.step(step))?;
    schedule.steps = needed(std::mem::take(&mut schedule.steps));
    Ok(())
}

/// The calls without those whose results no product depends on.
fn needed(steps: Vec<PlanStep>) -> Vec<PlanStep> {
    let mut alive: HashSet<SlotId> = HashSet::new();
    let mut kept = Vec::with_capacity(steps.len());
    for step in steps.into_iter().rev() {
        let operands = &step.call.operands;
        let is_needed = |operand: &Operand| match operand.tensor {
            Tensor::Slot(slot) => alive.contains(&slot),
            Tensor::Product(_) => true,
            _ => false,
        };
        if !operands.iter().any(|operand| operand.access.writes() && is_needed(operand)) {
            continue;
        }
        // What is overwritten is not needed from before, what is read or added to is.
        let (overwritten, read): (Vec<&Operand>, Vec<_>) =
            operands.iter().partition(|operand| operand.access == OperandAccess::Write);
        for slot in overwritten.iter().filter_map(|operand| operand.slot()) {
            alive.remove(&slot);
        }
        alive.extend(read.iter().filter_map(|operand| operand.slot()));
        kept.push(step);
    }
    kept.reverse();
    kept
}

/// The pass over a schedule's calls.
#[derive(Debug)]
struct TangentPass<'a> {
    schedule: &'a mut Schedule,
    /// Tangent of each slot; none where it is 0.
    tangents: Vec<Option<SlotId>>,
    /// Whether the weights have one.
    weights: bool,
    /// Parameters whose product holds something.
    written: Vec<bool>,
    /// What rules noted for later ones.
    notes: Vec<(Tensor, Operand)>,
}

impl TangentPass<'_> {
    fn step(&mut self, step: PlanStep) -> Result<(), GraphError> {
        let PlanStep { name, call } = step;
        self.schedule.push(&name, call.clone());
        let tangent_name = format!("{name} tangent");
        match call.kernel.tangent() {
            Tangent::Constant => Ok(()),
            Tangent::Linear(place) => self.rules().linear(&tangent_name, &call, &[place]),
            Tangent::Bilinear(places) => self.rules().linear(&tangent_name, &call, &places),
            Tangent::Loss(kernel) => self.loss(&tangent_name, &call, kernel),
            Tangent::Own(rule) => rule(self, &tangent_name, &call),
            Tangent::Refused => Err(GraphError::NoDerivative { call: name }),
        }
    }

    /// As rules see it.
    fn rules(&mut self) -> &mut dyn Tangents {
        self
    }

    /// The loss' own curvature; for Gauss-Newton all other curvature ends here.
    fn loss(&mut self, name: &str, call: &Call, kernel: Arc<dyn Kernel>) -> Result<(), GraphError> {
        let missing = || GraphError::no_derivative(name);
        let [outputs, gradient] = [0, 1].map(|place| call.operand(place).copied().ok_or_else(missing));
        let (outputs, gradient) = (outputs?, gradient?);
        let tangent = self.tangent(outputs.tensor);
        if self.schedule.mode == PlanMode::GaussNewtonProduct {
            self.tangents.fill(None);
            self.weights = false;
        }
        if let Some(tangent) = tangent {
            let result = self.rules().fresh_target(&gradient).next_term();
            self.rules().push(name, kernel, [outputs.read(), tangent, result]);
        }
        Ok(())
    }
}

impl Tangents for TangentPass<'_> {
    fn tangent(&self, tensor: Tensor) -> Option<Operand> {
        let tangent = match tensor {
            Tensor::Slot(slot) => self.tangents[slot.0].map(Tensor::Slot),
            Tensor::Weight(param) => self.weights.then_some(Tensor::Direction(param)),
            _ => None,
        };
        tangent.map(|tensor| self.schedule.operand(tensor, OperandAccess::Read))
    }

    fn words(&mut self, name: &str, len: usize) -> Operand {
        self.tangents.push(None);
        self.schedule.words(name, len)
    }

    fn target(&mut self, result: &Operand) -> TangentTarget {
        let (tensor, adds) = match result.tensor {
            Tensor::Slot(slot) => match self.tangents[slot.0] {
                Some(tangent) => (Tensor::Slot(tangent), result.adds()),
                None => {
                    let tangent = self.words("tangent", result.len);
                    self.tangents[slot.0] = tangent.slot();
                    return TangentTarget::new(tangent);
                }
            },
            Tensor::Grad(param) => (Tensor::Product(param), std::mem::replace(&mut self.written[param.0], true)),
            other => (other, result.adds()),
        };
        TangentTarget::new(self.schedule.operand(tensor, OperandAccess::result(adds)))
    }

    fn push_call(&mut self, name: &str, call: Call) {
        self.schedule.push(name, call);
    }

    fn note(&mut self, by: Tensor, noted: Operand) {
        self.notes.push((by, noted));
    }

    fn noted(&self, by: Tensor) -> Option<Operand> {
        self.notes.iter().find(|(tensor, _)| *tensor == by).map(|(_, noted)| *noted)
    }
}
