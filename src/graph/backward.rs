//! The backward pass at one operation, gradients summed where a value is used twice.

use crate::kernels::Activation;

use super::{
    GraphError, Operand, OperandAccess, ParamId, PlanMode, Saved, Schedule, SlotId, Tensor, ValueId, ValueShape,
    op_pass::{OpPass, Site},
};

/// A gradient while backward runs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Gradient {
    slot: SlotId,
    /// Whether the derivative of the producer's activation is already in it.
    through_activation: bool,
}

/// What backward knows of a value.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    /// Shape of a sample.
    pub(super) shape: ValueShape,
    /// The activation that was applied to make it, with what its derivative takes, where the derivative may go in where the
    /// gradient is made: the value has one reader.
    pub(super) activation: Option<(Activation, SlotId)>,
    /// Number of the operation that makes it, whose backward reads its gradient.
    made_at: Option<usize>,
    /// Numbers of those that read it, whose backward adds to its gradient.
    read_at: Vec<usize>,
    /// Its gradient so far.
    gradient: Option<Gradient>,
}

impl Flow {
    /// A value that these operations make and read.
    pub(super) fn new(shape: ValueShape, made_at: Option<usize>, read_at: Vec<usize>) -> Self {
        Self { shape, activation: None, made_at, read_at, gradient: None }
    }

    /// Whether every addition to its gradient that is left before operation `now` comes after another value's gradient, of the
    /// operation `made_at`, was read.
    fn waits_for(&self, made_at: Option<usize>, now: usize) -> bool {
        self.read_at.iter().filter(|reader| **reader < now).all(|reader| made_at.is_none_or(|made| *reader < made))
    }
}

/// What backward knows of the graph's values, and of its parameters' gradients.
#[derive(Debug)]
struct Flows {
    values: Vec<Flow>,
    /// The model's input, whose gradient nobody asks for.
    input: ValueId,
    /// Of each parameter, whether something is in its gradient already.
    written: Vec<bool>,
    /// Number of the operation that the pass is at.
    at: usize,
}

impl Flows {
    /// Whether a value's gradient may lie in this tensor, where those of others do whose readers are still to come: nothing is added
    /// to one of them before the others were read.
    fn may_share(&self, ValueId(value): ValueId, slot: SlotId) -> bool {
        let flow = &self.values[value];
        let holds = |other: &Flow| other.gradient.is_some_and(|gradient| gradient.slot == slot);
        let others =
            self.values.iter().filter(|other| holds(other) && other.made_at.is_some_and(|made| made < self.at));
        others.into_iter().all(|other| flow.waits_for(other.made_at, self.at) && other.waits_for(flow.made_at, self.at))
    }
}

/// The backward pass over a graph, from its output on.
#[derive(Debug)]
pub(super) struct BackwardPass<'a> {
    schedule: &'a mut Schedule,
    flows: Flows,
}

impl<'a> BackwardPass<'a> {
    /// A pass that begins with the gradient of a value.
    pub(super) fn new(schedule: &'a mut Schedule, values: Vec<Flow>, input: ValueId) -> Self {
        let written = vec![schedule.mode == PlanMode::Accumulate; schedule.params()];
        Self { schedule, flows: Flows { values, input, written, at: usize::MAX } }
    }

    /// Begins with this gradient of a value.
    pub(super) fn begin(&mut self, ValueId(value): ValueId, gradient: Operand) {
        self.flows.values[value].gradient = gradient.slot().map(|slot| Gradient { slot, through_activation: false });
    }

    /// The pass at the operation of a number; none at one whose output has no gradient, because nothing used it.
    pub(super) fn at<'b>(
        &'b mut self,
        number: usize,
        site: &'b Site,
        saved: &'b Saved,
        inputs: &'b [ValueId],
        ValueId(output): ValueId,
    ) -> Option<Backward<'b, 'b>> {
        self.flows.at = number;
        let gradient = self.flows.values[output].gradient?;
        let state = BackwardState { flows: &mut self.flows, saved, inputs, gradient };
        Some(OpPass { schedule: self.schedule, site, state })
    }
}

/// What backward alone knows at an operation.
#[derive(Debug)]
pub struct BackwardState<'a> {
    flows: &'a mut Flows,
    saved: &'a Saved,
    inputs: &'a [ValueId],
    /// Of the output.
    gradient: Gradient,
}

/// The backward pass at one operation.
pub type Backward<'a, 'b> = OpPass<'a, BackwardState<'b>>;

impl Backward<'_, '_> {
    /// The gradient of the output.
    #[must_use]
    pub fn gradient(&self) -> Operand {
        self.read(self.state.gradient.slot)
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
        let slot = self.state.saved.slots.get(place);
        slot.map(|slot| self.read(*slot)).ok_or_else(|| GraphError::no_derivative(&format!("{} forward", self.name())))
    }

    /// The activation that forward applied, with what its derivative takes, where no reader has taken the derivative along.
    #[must_use]
    pub fn activation_left(&self) -> Option<(Activation, Operand)> {
        let BackwardState { saved, gradient, .. } = &self.state;
        let (activation, slot) = saved.activation.filter(|_| !gradient.through_activation)?;
        Some((activation, self.read(slot)))
    }

    /// A tensor of running statistics, read.
    #[must_use]
    pub fn stat(&self, place: usize) -> Operand {
        self.schedule.operand(Tensor::Stat(self.site.stats[place]), OperandAccess::Read)
    }

    /// The gradient of a parameter, which is written once for each place that it is used in: asking says that it will be.
    pub fn param_gradient(&mut self, place: usize) -> Operand {
        let ParamId(param) = self.site.params[place];
        let adds = std::mem::replace(&mut self.state.flows.written[param], true);
        self.schedule.operand(Tensor::Grad(ParamId(param)), OperandAccess::result(adds))
    }

    /// The activation that made an input, with what its derivative takes, where that derivative may go into the input's
    /// gradient: a call that takes it along says so to [`Backward::input_gradient_through`].
    #[must_use]
    pub fn fusable_activation(&self, place: usize) -> Option<(Activation, Operand)> {
        let BackwardState { flows, inputs, .. } = &self.state;
        let (activation, slot) = flows.values[inputs[place].0].activation?;
        Some((activation, self.read(slot)))
    }

    /// The gradient of an input, written or added to; none for the model's input.
    pub fn input_gradient(&mut self, place: usize) -> Option<Operand> {
        self.input_gradient_through(place, false)
    }

    /// As [`Backward::input_gradient`], for a call that may take the derivative of the input's activation along.
    pub fn input_gradient_through(&mut self, place: usize, activation: bool) -> Option<Operand> {
        let BackwardState { flows, inputs, .. } = &mut self.state;
        let value = inputs[place];
        if value == flows.input {
            return None;
        }
        let flow = &mut flows.values[value.0];
        if let Some(gradient) = flow.gradient {
            return Some(self.schedule.operand(Tensor::Slot(gradient.slot), OperandAccess::Add));
        }
        let gradient = self.schedule.activation("gradient", flow.shape.words());
        flow.gradient = gradient.slot().map(|slot| Gradient { slot, through_activation: activation });
        Some(gradient)
    }

    /// Makes the output's gradient an input's: the very tensor, without a copy, where that is possible; else what it has to be
    /// copied into, or added to.
    pub fn hand_on_gradient(&mut self, place: usize) -> Option<Operand> {
        let BackwardState { flows, inputs, gradient, .. } = &mut self.state;
        let (value, slot) = (inputs[place], gradient.slot);
        let is_read_once = inputs.iter().filter(|input| **input == value).count() == 1;
        if value != flows.input
            && flows.values[value.0].gradient.is_none()
            && is_read_once
            && flows.may_share(value, slot)
        {
            flows.values[value.0].gradient = Some(Gradient { slot, through_activation: false });
            return None;
        }
        self.input_gradient(place)
    }
}
