//! What a loss has to say of itself: the one interface that schedules know losses by.

use std::{fmt, sync::Arc};

use super::{Call, DataTensor, Kernel, Operand, OperandAccess, OutputShape, Schedule, Tensor};

/// A loss that a kernel computes with its gradient.
///
/// The kernel's operands are, in this order: outputs [batch, positions, width], gradient of the mean loss, of the same shape (times
/// the loss scale in f16), row statistics [batch, positions, 2] (loss, and 1 where the answer is right), targets, as
/// [`DataViews::targets`](super::DataViews::targets) says, indices: the place in `targets` of each position of the epoch, and in
/// f16 the scaling.
pub trait LossFunction: fmt::Debug + Send + Sync {
    /// Its name, such as `nll`.
    fn name(&self) -> &'static str;

    /// The kernel for outputs of a shape; `scaled` says that the gradient is multiplied by the loss scale. Its tangent has to be
    /// [`Tangent::Loss`](super::Tangent::Loss), or a refusal.
    fn kernel(&self, outputs: OutputShape, scaled: bool) -> Arc<dyn Kernel>;
}

impl Schedule {
    /// Pushes the loss of these outputs and its metrics; the gradient's tensor.
    pub(super) fn push_loss(&mut self, loss: &dyn LossFunction, outputs: Operand) -> Operand {
        let scaled = self.element == crate::gpu::Element::Half;
        let shape = self.outputs;
        let gradient = self.activation("grad logits", shape.positions * shape.width);
        let row_stats = self.words("row stats", 2 * shape.rows());
        let read = |tensor| self.operand(tensor, OperandAccess::Read);
        let mut operands = vec![outputs.read(), gradient, row_stats];
        operands.extend([DataTensor::Targets, DataTensor::Indices].map(|tensor| read(Tensor::Data(tensor))));
        operands.extend(scaled.then(|| read(Tensor::Scaling)));
        let kernel = loss.kernel(shape, scaled);
        self.push("loss", Call { kernel, operands });
        self.push_metrics(row_stats);
        gradient
    }
}
