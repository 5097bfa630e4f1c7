//! What a loss has to say of itself: the one interface that schedules know losses by.

use std::{fmt, sync::Arc};

use super::{Call, DataTensor, Kernel, Operand, OperandAccess, Schedule, Tensor};

/// A loss that a kernel computes with its gradient.
///
/// The kernel's operands are, in this order: outputs [batch, width], gradient of the mean loss [batch, width] (times the loss
/// scale in f16), row statistics [batch, 2] (loss, and 1 where the answer is right), labels `[samples]`, indices
/// `[positions]`, and in f16 the scaling.
pub trait LossFunction: fmt::Debug + Send + Sync {
    /// Its name, such as `nll`.
    fn name(&self) -> &'static str;

    /// The kernel for outputs [batch, width]; `scaled` says that the gradient is multiplied by the loss scale. Its tangent
    /// has to be [`Tangent::Loss`](super::Tangent::Loss), or a refusal.
    fn kernel(&self, shape: [usize; 2], scaled: bool) -> Arc<dyn Kernel>;
}

impl Schedule {
    /// Pushes the loss of these outputs and its metrics; the gradient's tensor.
    pub(super) fn push_loss(&mut self, loss: &dyn LossFunction, outputs: Operand) -> Operand {
        let scaled = self.element == crate::gpu::Element::Half;
        let gradient = self.activation("grad logits", self.classes);
        let row_stats = self.words("row stats", 2 * self.batch);
        let read = |tensor| self.operand(tensor, OperandAccess::Read);
        let mut operands = vec![outputs.read(), gradient, row_stats];
        operands.extend([DataTensor::Labels, DataTensor::Indices].map(|tensor| read(Tensor::Data(tensor))));
        operands.extend(scaled.then(|| read(Tensor::Scaling)));
        let kernel = loss.kernel([self.batch, self.classes], scaled);
        self.push("loss", Call { kernel, operands });
        self.push_metrics(row_stats);
        gradient
    }
}
