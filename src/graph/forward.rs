//! The forward pass at one operation.

use crate::kernels::Activation;

use super::{
    Operand, OperandAccess, Schedule, SlotId, Tensor,
    op_pass::{OpPass, Site},
};

/// What an operation's forward leaves for its backward beside its inputs and output.
#[derive(Clone, Debug, Default)]
pub struct Saved {
    /// Tensors, in an order of the operation's own.
    pub slots: Vec<SlotId>,
    /// An activation that forward applied, with what its derivative takes: whoever makes the output's gradient may take the
    /// derivative along.
    pub activation: Option<(Activation, SlotId)>,
}

impl Saved {
    /// These tensors, which lie in the activation arena; no activation.
    #[must_use]
    pub fn tensors(tensors: impl IntoIterator<Item = Operand>) -> Self {
        Self { slots: tensors.into_iter().filter_map(|tensor| tensor.slot()).collect(), activation: None }
    }
}

/// The forward pass at one operation, which knows nothing that backward does not.
pub type Forward<'a> = OpPass<'a, ()>;

impl<'a> Forward<'a> {
    pub(super) fn new(schedule: &'a mut Schedule, site: &'a Site) -> Self {
        Self { schedule, site, state: () }
    }

    /// The output, written.
    #[must_use]
    pub fn output(&self) -> Operand {
        self.schedule.operand(Tensor::Slot(self.site.output.slot), OperandAccess::Write)
    }

    /// A tensor of running statistics.
    #[must_use]
    pub fn stat(&self, place: usize, access: OperandAccess) -> Operand {
        self.schedule.operand(Tensor::Stat(self.site.stats[place]), access)
    }
}
