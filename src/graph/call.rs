//! The dispatches of a schedule, before any device is involved, and the tensors between them.

use std::{any::Any, sync::Arc};

use crate::gpu::{Element, WORD_BYTES};

use super::{Kernel, ParamId, StatId};

/// A tensor in the activation arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(pub(super) usize);

/// What is known of a tensor in the activation arena.
#[derive(Clone, Debug)]
pub struct Slot {
    /// For messages.
    pub name: String,
    /// Elements.
    pub len: usize,
    /// How they are stored.
    pub element: Element,
}

impl Slot {
    /// Size in words.
    #[must_use]
    pub fn words(&self) -> usize {
        self.element.words(self.len)
    }
}

/// A tensor of the data set on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataTensor {
    /// [samples, channels, height, width] bytes, four to a word
    Pixels,
    /// `[samples]`, class indices
    Labels,
    /// `[positions]`, where in pixels and labels each position of the epoch lies
    Indices,
    /// `[positions]`, the number in the data set of each position's sample
    Ids,
    /// [channels, 2], a scale and a shift
    Normalisation,
}

/// Any tensor that a call can read or write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tensor {
    /// In the activation arena.
    Slot(SlotId),
    /// In `weights_eff`.
    Weight(ParamId),
    /// In `grads`.
    Grad(ParamId),
    /// In the direction that a product with the Hessian takes.
    Direction(ParamId),
    /// In the product with the Hessian.
    Product(ParamId),
    /// Running statistics.
    Stat(StatId),
    /// Of the data set.
    Data(DataTensor),
    /// The metrics ring, [slots, 2].
    Metrics,
    /// The gradients' scaling.
    Scaling,
}

impl Tensor {
    pub(super) fn slot(self) -> Option<SlotId> {
        if let Self::Slot(slot) = self { Some(slot) } else { None }
    }
}

/// What a call does with an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It reads it.
    Read,
    /// It writes all of it and reads nothing of what was there.
    Write,
    /// It adds to what is there, or changes it otherwise.
    Add,
}

impl Access {
    /// [`Access::Add`] where something is there already, else [`Access::Write`].
    #[must_use]
    pub fn result(adds: bool) -> Self {
        if adds { Self::Add } else { Self::Write }
    }

    /// Whether it changes the operand.
    #[must_use]
    pub fn writes(self) -> bool {
        self != Self::Read
    }
}

/// A tensor as a call uses it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// Which.
    pub tensor: Tensor,
    /// Elements that the call touches; 0 where only those of a batch's samples are, which the call's kernel counts.
    pub len: usize,
    /// How they are stored.
    pub element: Element,
    /// What happens to it.
    pub access: Access,
}

impl Operand {
    /// Whether the call adds to what is there.
    #[must_use]
    pub fn adds(&self) -> bool {
        self.access == Access::Add
    }

    /// Bytes read and written.
    fn traffic(&self) -> u64 {
        let passes = if self.adds() { 2 } else { 1 };
        passes * self.element.words(self.len) as u64 * WORD_BYTES
    }
}

/// A kernel with its operands, in the order that the kernel documents: one dispatch to be, or a few that belong together.
#[derive(Clone, Debug)]
pub struct Call {
    /// What is computed.
    pub kernel: Arc<dyn Kernel>,
    /// From and into what.
    pub operands: Vec<Operand>,
}

impl Call {
    /// The kernel, where it is of this type.
    #[must_use]
    pub fn kernel_as<K: Kernel>(&self) -> Option<&K> {
        let kernel: &dyn Any = &*self.kernel;
        kernel.downcast_ref()
    }

    /// An operand that the call has in this place.
    #[must_use]
    pub fn operand(&self, place: usize) -> Option<&Operand> {
        self.operands.get(place)
    }

    /// Whether it adds to the operand in this place.
    #[must_use]
    pub fn adds(&self, place: usize) -> bool {
        self.operand(place).is_some_and(Operand::adds)
    }

    /// Elements of the operand in this place.
    #[must_use]
    pub fn len(&self, place: usize) -> usize {
        self.operand(place).map_or(0, |operand| operand.len)
    }

    /// Bytes of every operand, each counted once, of one that is added to twice: the least traffic of one dispatch.
    #[must_use]
    pub fn traffic(&self) -> u64 {
        self.operands.iter().map(Operand::traffic).sum()
    }

    /// Which product of a layer it is, with the window of a convolution; `None` for all other calls.
    #[must_use]
    pub fn product(&self) -> Option<String> {
        self.kernel.product()
    }

    /// The slots it touches.
    pub(super) fn slots(&self) -> impl Iterator<Item = SlotId> + '_ {
        self.operands.iter().filter_map(|operand| operand.tensor.slot())
    }
}

/// A call with a name for messages.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Such as `fc1 forward`.
    pub name: String,
    /// The call.
    pub call: Call,
}
