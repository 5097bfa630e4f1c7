//! A pass at one operation: what its forward and its backward have in common.

use std::sync::Arc;

use super::{
    Call, GraphError, Kernel, Operand, OperandAccess, ParamId, PlanMode, Schedule, SlotId, StatId, Tensor, ValueShape,
};

/// A value where an operation stands: its tensor and the shape of a sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) slot: SlotId,
    pub(super) shape: ValueShape,
}

/// What an operation is called and made of, at its place in a graph.
#[derive(Clone, Debug)]
pub(super) struct Site {
    /// The operation's own name, such as `conv`.
    pub(super) operation: &'static str,
    /// What its parameters are called before their suffix.
    pub(super) name: String,
    pub(super) inputs: Vec<Placed>,
    pub(super) output: Placed,
    pub(super) params: Vec<ParamId>,
    pub(super) stats: Vec<StatId>,
}

/// A pass at one operation, [`Forward`](super::Forward) or [`Backward`](super::Backward): what an [`Op`](super::Op) pushes its
/// calls on.
#[derive(Debug)]
pub struct OpPass<'a, State> {
    pub(super) schedule: &'a mut Schedule,
    pub(super) site: &'a Site,
    /// What one of the two alone knows.
    pub(super) state: State,
}

impl<State> OpPass<'_, State> {
    /// Samples of a batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.schedule.batch
    }

    /// What the schedule is for.
    #[must_use]
    pub fn mode(&self) -> PlanMode {
        self.schedule.mode
    }

    /// What parameters are called before their suffix, `fc1`; the operation's name where it brings none.
    #[must_use]
    pub fn name(&self) -> String {
        self.site.name.clone()
    }

    /// How many inputs the operation has.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.site.inputs.len()
    }

    /// An input as forward has it, read. An operation is given as many inputs as it was added with.
    #[must_use]
    pub fn input(&self, place: usize) -> Operand {
        self.read(self.site.inputs[place].slot)
    }

    /// Shape of an input.
    #[must_use]
    pub fn input_shape(&self, place: usize) -> ValueShape {
        self.site.inputs[place].shape
    }

    /// Shape of the output.
    #[must_use]
    pub fn output_shape(&self) -> ValueShape {
        self.site.output.shape
    }

    /// A parameter as the network sees it, read.
    #[must_use]
    pub fn param(&self, place: usize) -> Operand {
        self.schedule.operand(Tensor::Weight(self.site.params[place]), OperandAccess::Read)
    }

    /// A new tensor of the activation arena, of `width` elements a sample, written: an activation or a gradient.
    pub fn activation(&mut self, name: &str, width: usize) -> Operand {
        self.schedule.activation(name, width)
    }

    /// A new tensor of words, whatever the batch, written: sums, tables and indices.
    pub fn words(&mut self, name: &str, words: usize) -> Operand {
        self.schedule.words(name, words)
    }

    /// A new tensor of `len` elements stored as activations are, written.
    pub fn elements(&mut self, name: &str, len: usize) -> Operand {
        self.schedule.elements(name, len)
    }

    /// Pushes a call.
    pub fn push(&mut self, name: &str, kernel: Arc<dyn Kernel>, operands: impl Into<Vec<Operand>>) {
        self.schedule.push(name, Call { kernel, operands: operands.into() });
    }

    /// Pushes a call that reads parameters alone, before all that is no such call: in one with those that its kernel joins.
    pub fn prepare(&mut self, name: &str, kernel: Arc<dyn Kernel>, operands: impl Into<Vec<Operand>>) {
        self.schedule.prepare(name, Call { kernel, operands: operands.into() });
    }

    /// That the operation cannot take its first input.
    #[must_use]
    pub fn refusal(&self, reason: &dyn std::fmt::Display) -> GraphError {
        let input = self.site.inputs.first().map_or(String::new(), |input| input.shape.to_string());
        GraphError::Shape { operation: self.site.operation.to_owned(), input, reason: reason.to_string() }
    }

    pub(super) fn read(&self, slot: SlotId) -> Operand {
        self.schedule.operand(Tensor::Slot(slot), OperandAccess::Read)
    }
}
