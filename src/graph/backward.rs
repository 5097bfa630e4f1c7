//! The backward pass at one operation, gradients summed where a value is used twice.

use std::sync::Arc;

use crate::kernels::Activation;

use super::{
    Access, Call, GraphError, Kernel, Operand, ParamId, PlanMode, Saved, Schedule, SlotId, Tensor, ValueId, ValueShape,
    forward::Site,
};

/// A gradient while backward runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gradient {
    slot: SlotId,
    /// Whether the derivative of the producer's activation is already in it.
    through_activation: bool,
}

/// What backward knows of a value.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flow {
    /// Shape of a sample.
    pub(super) shape: ValueShape,
    /// The activation that was applied to make it, with what its derivative takes, where the derivative may go in where the
    /// gradient is made: the value has one reader.
    pub(super) activation: Option<(Activation, SlotId)>,
    /// Its gradient so far.
    gradient: Option<Gradient>,
}

impl Flow {
    pub(super) fn new(shape: ValueShape, activation: Option<(Activation, SlotId)>) -> Self {
        Self { shape, activation, gradient: None }
    }
}

/// The backward pass over a graph, from its output on.
#[derive(Debug)]
pub(super) struct BackwardPass<'a> {
    schedule: &'a mut Schedule,
    flows: Vec<Flow>,
    input: ValueId,
    written: Vec<bool>,
}

impl<'a> BackwardPass<'a> {
    /// A pass that begins with the gradient of a value.
    pub(super) fn new(schedule: &'a mut Schedule, flows: Vec<Flow>, input: ValueId) -> Self {
        let written = vec![schedule.mode == PlanMode::Accumulate; schedule.params()];
        Self { schedule, flows, input, written }
    }

    /// Begins with this gradient of a value.
    pub(super) fn begin(&mut self, ValueId(value): ValueId, gradient: Operand) {
        self.flows[value].gradient = gradient.slot().map(|slot| Gradient { slot, through_activation: false });
    }

    /// The pass at an operation; none at one whose output has no gradient, because nothing used it.
    pub(super) fn at<'b>(
        &'b mut self,
        site: &'b Site,
        saved: &'b Saved,
        inputs: &'b [ValueId],
        ValueId(output): ValueId,
    ) -> Option<Backward<'b, 'a>> {
        let gradient = self.flows[output].gradient?;
        Some(Backward { pass: self, site, saved, inputs, gradient })
    }

    fn fusable_activation(&self, ValueId(value): ValueId) -> Option<(Activation, SlotId)> {
        self.flows[value].activation
    }

    /// The gradient of a value, and whether something is in it already; none for the model's input.
    fn target(&mut self, value: ValueId, through_activation: bool) -> Option<Operand> {
        if value == self.input {
            return None;
        }
        let flow = self.flows[value.0];
        if let Some(gradient) = flow.gradient {
            return Some(self.schedule.operand(Tensor::Slot(gradient.slot), Access::Add));
        }
        let gradient = self.schedule.activation("gradient", flow.shape.words());
        self.flows[value.0].gradient = gradient.slot().map(|slot| Gradient { slot, through_activation });
        Some(gradient)
    }
}

/// The backward pass at one operation: what an [`Op`](super::Op) pushes its calls on.
#[derive(Debug)]
pub struct Backward<'a, 'b> {
    pass: &'a mut BackwardPass<'b>,
    site: &'a Site,
    saved: &'a Saved,
    inputs: &'a [ValueId],
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
    pub fn mode(&self) -> PlanMode {
        self.pass.schedule.mode
    }

    /// What parameters are called before their suffix; the operation's name where it brings none.
    #[must_use]
    pub fn name(&self) -> String {
        self.site.name.clone()
    }

    /// How many inputs the operation has.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.site.inputs.len()
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
        self.read(self.site.inputs[place].slot)
    }

    /// The output, as forward made it.
    #[must_use]
    pub fn output(&self) -> Operand {
        self.read(self.site.output.slot)
    }

    /// What forward left in this place of [`Saved::slots`].
    ///
    /// # Errors
    /// [`GraphError::NoDerivative`] where it left nothing.
    pub fn saved(&self, place: usize) -> Result<Operand, GraphError> {
        let slot = self.saved.slots.get(place);
        slot.map(|slot| self.read(*slot)).ok_or_else(|| GraphError::no_derivative(&format!("{} forward", self.name())))
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
        self.pass.schedule.operand(Tensor::Weight(self.site.params[place]), Access::Read)
    }

    /// A tensor of running statistics, read.
    #[must_use]
    pub fn stat(&self, place: usize) -> Operand {
        self.pass.schedule.operand(Tensor::Stat(self.site.stats[place]), Access::Read)
    }

    /// The gradient of a parameter, which is written once for each place that it is used in: asking says that it will be.
    pub fn param_gradient(&mut self, place: usize) -> Operand {
        let ParamId(param) = self.site.params[place];
        let adds = std::mem::replace(&mut self.pass.written[param], true);
        self.pass.schedule.operand(Tensor::Grad(ParamId(param)), Access::result(adds))
    }

    /// The activation that made an input, with what its derivative takes, where that derivative may go into the input's
    /// gradient: a call that takes it along says so to [`Backward::input_gradient_through`].
    #[must_use]
    pub fn fusable_activation(&self, place: usize) -> Option<(Activation, Operand)> {
        let (activation, slot) = self.pass.fusable_activation(self.inputs[place])?;
        Some((activation, self.read(slot)))
    }

    /// The gradient of an input, written or added to; none for the model's input.
    pub fn input_gradient(&mut self, place: usize) -> Option<Operand> {
        self.pass.target(self.inputs[place], false)
    }

    /// As [`Backward::input_gradient`], for a call that may take the derivative of the input's activation along.
    pub fn input_gradient_through(&mut self, place: usize, activation: bool) -> Option<Operand> {
        self.pass.target(self.inputs[place], activation)
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
        self.site.refusal(reason)
    }
}
