//! What a loss has to say of itself: the one interface that schedules know losses by.

use std::{fmt, sync::Arc};

use crate::gpu::Element;

use super::{Call, DataTensor, Kernel, Operand, OperandAccess, OutputShape, Schedule, SlotId, Tensor};

/// A loss that a kernel computes with its gradient.
///
/// The kernel's operands are, in this order: outputs [batch, positions, width], gradient of the mean loss, of the same shape (times
/// the loss scale in f16), row statistics [batch, positions, 2] (loss, and 1 where the answer is right), targets, as
/// [`DataViews::targets`](super::DataViews::targets) says, indices: the place in `targets` of each position of the epoch, and in
/// f16 the scaling.
pub trait LossFunction: fmt::Debug + Send + Sync {
    /// Its name, such as `nll`.
    fn name(&self) -> &'static str;

    /// Whether it is a loss of classes whose outputs are logits: a softmax of them has the probabilities, whose quality as
    /// predictions is measured where test data are scored.
    fn outputs_are_logits(&self) -> bool {
        false
    }

    /// The kernel for outputs of a shape; `scaled` says that the gradient is multiplied by the loss scale. Its tangent has to be
    /// [`Tangent::Loss`](super::Tangent::Loss), or a refusal.
    fn kernel(&self, outputs: OutputShape, scaled: bool) -> Arc<dyn Kernel>;

    /// The same without a second tensor of the outputs' size, which a large vocabulary has no room for; none where there is no
    /// such kernel, and the gradient lies apart then.
    fn kernel_in_place(
        &self,
        _outputs: OutputShape,
        _scaled: bool,
        _gradient: GradientInPlace,
    ) -> Option<Arc<dyn Kernel>> {
        None
    }
}

/// What becomes of the gradient in a kernel that has no tensor of its own for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GradientInPlace {
    /// It takes the place of the outputs: the first two operands are one tensor.
    Outputs,
    /// There is none, and no such operand: the others follow upon the outputs.
    LeftOut,
}

impl Schedule {
    /// Pushes the loss of these outputs and its metrics; the gradient's tensor, where there is one.
    pub(super) fn push_loss(&mut self, loss: &dyn LossFunction, outputs: Operand) -> Option<Operand> {
        let (shape, scaled) = (self.outputs, self.is_scaled());
        let left_out =
            if self.mode.has_backward() { None } else { loss.kernel_in_place(shape, scaled, GradientInPlace::LeftOut) };
        let apart = left_out.is_none();
        let gradient = apart.then(|| self.activation("grad logits", shape.positions * shape.width));
        let row_stats = self.words("row stats", 2 * shape.rows());
        let read = |tensor| self.operand(tensor, OperandAccess::Read);
        let mut operands = vec![outputs.read()];
        operands.extend(gradient);
        operands.push(row_stats);
        operands.extend([DataTensor::Targets, DataTensor::Indices].map(|tensor| read(Tensor::Data(tensor))));
        operands.extend((scaled && apart).then(|| read(Tensor::Scaling)));
        let kernel = left_out.unwrap_or_else(|| loss.kernel(shape, scaled));
        self.push("loss", Call { kernel, operands });
        self.push_metrics(row_stats);
        gradient
    }

    /// Leaves the loss' gradient in the place of the outputs, where nothing reads those after the loss: of a step of training
    /// whose calls are all there.
    pub(super) fn put_gradient_in_place(&mut self, loss: &dyn LossFunction, gradient: Operand) {
        let (Some(gradient), outputs) = (gradient.slot(), self.output) else { return };
        let touches = |call: &Call, slot| call.slots().any(|other| other == slot);
        let Some(at) = self.steps.iter().position(|step| touches(&step.call, gradient)) else { return };
        if self.steps[at + 1..].iter().any(|step| touches(&step.call, outputs)) {
            return;
        }
        let in_place = loss.kernel_in_place(self.outputs, self.is_scaled(), GradientInPlace::Outputs);
        if let Some(kernel) = in_place {
            self.steps[at].call.kernel = kernel;
            self.replace_slot(gradient, outputs);
        }
    }

    /// Whether gradients are multiplied by the loss scale.
    fn is_scaled(&self) -> bool {
        self.element == Element::Half
    }

    /// Has all calls use one tensor for another, which is no more.
    fn replace_slot(&mut self, SlotId(gone): SlotId, SlotId(other): SlotId) {
        let renamed = |SlotId(slot)| {
            let slot = if slot == gone { other } else { slot };
            SlotId(if slot > gone { slot - 1 } else { slot })
        };
        for operand in self.steps.iter_mut().flat_map(|step| &mut step.call.operands) {
            if let Tensor::Slot(slot) = &mut operand.tensor {
                *slot = renamed(*slot);
            }
        }
        self.output = renamed(self.output);
        self.slots.remove(gone);
    }
}
