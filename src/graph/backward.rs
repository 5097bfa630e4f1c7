//! Backward: the reverse of forward, gradients summed where a value is used twice.

use std::sync::Arc;

use crate::kernels::Activation;

use super::{
    Access, Call, Graph, GraphError, Kernel, Mode, Node, Operand, ParamId, Saved, Schedule, SlotId, Tensor, ValueId,
    ValueShape,
    forward::{ForwardValues, module_name, refusal},
};

/// A gradient while backward runs.
#[derive(Clone, Copy, Debug)]
struct Gradient {
    slot: SlotId,
    /// Whether the derivative of the producer's activation is already in it.
    through_activation: bool,
}

#[derive(Debug)]
pub(super) struct BackwardPass<'a> {
    graph: &'a Graph,
    forward: &'a ForwardValues,
    schedule: &'a mut Schedule,
    gradients: Vec<Option<Gradient>>,
    written: Vec<bool>,
    /// Whether derivatives of activations may go in where gradients are made.
    fuses: bool,
}

impl<'a> BackwardPass<'a> {
    pub(super) fn new(
        graph: &'a Graph,
        forward: &'a ForwardValues,
        schedule: &'a mut Schedule,
        gradient: Operand,
    ) -> Self {
        let mut gradients = vec![None; graph.value_count()];
        gradients[graph.output().0] = gradient.slot().map(|slot| Gradient { slot, through_activation: false });
        let mode = schedule.mode;
        let written = vec![mode == Mode::Accumulate; graph.params().len()];
        Self { graph, forward, schedule, gradients, written, fuses: mode.trains() }
    }

    pub(super) fn run(mut self) -> Result<(), GraphError> {
        let (graph, forward) = (self.graph, self.forward);
        for (node, saved) in graph.nodes().iter().zip(&forward.saved).rev() {
            // A value that nothing used has no gradient, and its node nothing to pass on.
            if let Some(gradient) = self.gradients[node.output.0] {
                node.op.backward(&mut Backward { pass: &mut self, node, saved, gradient })?;
            }
        }
        Ok(())
    }

    /// The activation that was applied to make `value`, with what its derivative takes, if this is the value's only use: then
    /// the derivative may go in where the gradient is made.
    fn fusable_activation(&self, value: ValueId) -> Option<(Activation, SlotId)> {
        let producer = self.graph.nodes().iter().position(|node| node.output == value)?;
        let activation = self.forward.saved[producer].activation?;
        (self.fuses && self.graph.uses(value) == 1).then_some(activation)
    }

    /// The slot of a value's gradient, and whether something is in it already; none for the model's input.
    fn target(&mut self, value: ValueId, through_activation: bool) -> Option<Operand> {
        if value == self.graph.input() {
            return None;
        }
        if let Some(gradient) = self.gradients[value.0] {
            return Some(self.schedule.operand(Tensor::Slot(gradient.slot), Access::Add));
        }
        let gradient = self.schedule.activation("gradient", self.graph.shape(value).words());
        self.gradients[value.0] = gradient.slot().map(|slot| Gradient { slot, through_activation });
        Some(gradient)
    }
}

/// The backward pass at one operation: what an [`Op`](super::Op) pushes its calls on.
#[derive(Debug)]
pub struct Backward<'a, 'b> {
    pass: &'a mut BackwardPass<'b>,
    node: &'a Node,
    saved: &'a Saved,
    gradient: Gradient,
}

impl Backward<'_, '_> {
    /// Samples of a batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.pass.schedule.batch
    }

    /// What the schedule is for.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.pass.schedule.mode
    }

    /// What parameters are called before their suffix; the operation's name where it brings none.
    #[must_use]
    pub fn name(&self) -> String {
        module_name(self.pass.graph, self.node)
    }

    /// How many inputs the operation has.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// Shape of an input.
    #[must_use]
    pub fn input_shape(&self, place: usize) -> ValueShape {
        self.pass.graph.shape(self.node.inputs[place])
    }

    /// Shape of the output.
    #[must_use]
    pub fn output_shape(&self) -> ValueShape {
        self.pass.graph.shape(self.node.output)
    }

    fn read(&self, slot: SlotId) -> Operand {
        self.pass.schedule.operand(Tensor::Slot(slot), Access::Read)
    }

    /// The gradient of the output.
    #[must_use]
    pub fn gradient(&self) -> Operand {
        self.read(self.gradient.slot)
    }

    /// An input, as forward had it.
    #[must_use]
    pub fn input(&self, place: usize) -> Operand {
        self.read(self.pass.forward.values[self.node.inputs[place].0])
    }

    /// The output, as forward made it.
    #[must_use]
    pub fn output(&self) -> Operand {
        self.read(self.pass.forward.values[self.node.output.0])
    }

    /// What forward left in this place of [`Saved::slots`].
    ///
    /// # Errors
    /// [`GraphError::NoDerivative`] where it left nothing.
    pub fn saved(&self, place: usize) -> Result<Operand, GraphError> {
        let slot = self.saved.slots.get(place);
        slot.map(|slot| self.read(*slot))
            .ok_or_else(|| GraphError::NoDerivative { call: format!("{} forward", self.name()) })
    }

    /// How many tensors forward left.
    #[must_use]
    pub fn saved_count(&self) -> usize {
        self.saved.slots.len()
    }

    /// The activation that forward applied, with what its derivative takes, where no reader has taken the derivative along.
    #[must_use]
    pub fn activation_left(&self) -> Option<(Activation, Operand)> {
        let (activation, slot) = self.saved.activation.filter(|_| !self.gradient.through_activation)?;
        Some((activation, self.read(slot)))
    }

    /// A parameter as the network sees it.
    #[must_use]
    pub fn param(&self, place: usize) -> Operand {
        self.pass.schedule.operand(Tensor::Weight(self.node.params[place]), Access::Read)
    }

    /// Whether the operation has a parameter in this place.
    #[must_use]
    pub fn has_param(&self, place: usize) -> bool {
        place < self.node.params.len()
    }

    /// A tensor of running statistics, read.
    #[must_use]
    pub fn stat(&self, place: usize) -> Operand {
        self.pass.schedule.operand(Tensor::Stat(self.node.stats[place]), Access::Read)
    }

    /// The gradient of a parameter, which is written once for each place that it is used in: asking says that it will be.
    pub fn param_gradient(&mut self, place: usize) -> Operand {
        let ParamId(param) = self.node.params[place];
        let adds = std::mem::replace(&mut self.pass.written[param], true);
        self.pass.schedule.operand(Tensor::Grad(ParamId(param)), Access::result(adds))
    }

    /// The activation that made an input, with what its derivative takes, where that derivative may go into the input's
    /// gradient: a call that takes it along says so to [`Backward::input_gradient_through`].
    #[must_use]
    pub fn fusable_activation(&self, place: usize) -> Option<(Activation, Operand)> {
        let (activation, slot) = self.pass.fusable_activation(self.node.inputs[place])?;
        Some((activation, self.read(slot)))
    }

    /// The gradient of an input, written or added to; none for the model's input.
    pub fn input_gradient(&mut self, place: usize) -> Option<Operand> {
        self.pass.target(self.node.inputs[place], false)
    }

    /// As [`Backward::input_gradient`], for a call that may take the derivative of the input's activation along.
    pub fn input_gradient_through(&mut self, place: usize, activation: bool) -> Option<Operand> {
        self.pass.target(self.node.inputs[place], activation)
    }

    /// A new gradient of `width` elements a sample, written.
    pub fn activation(&mut self, name: &str, width: usize) -> Operand {
        self.pass.schedule.activation(name, width)
    }

    /// A new tensor of words, whatever the batch, written.
    pub fn words(&mut self, name: &str, words: usize) -> Operand {
        self.pass.schedule.words(name, words)
    }

    /// A new tensor of `len` elements stored as activations are, written.
    pub fn elements(&mut self, name: &str, len: usize) -> Operand {
        self.pass.schedule.elements(name, len)
    }

    /// Pushes a call.
    pub fn push(&mut self, name: &str, kernel: Arc<dyn Kernel>, operands: impl Into<Vec<Operand>>) {
        self.pass.schedule.push(name, Call { kernel, operands: operands.into() });
    }

    /// That the operation cannot take its first input.
    #[must_use]
    pub fn refusal(&self, reason: &dyn std::fmt::Display) -> GraphError {
        refusal(self.pass.graph, self.node, reason)
    }
}
