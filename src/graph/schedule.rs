//! An ordered list of calls over named tensors, before any device is involved.

use crate::{
    gpu::{Element, GpuError, Work},
    kernels::AdapterClass,
};

use super::{
    Call, Operand, OperandAccess, OutputShape, Places, PlanStep, Slot, SlotId, Tensor, ValueShape,
    memory::{self, Life, Placement},
};

/// What the schedule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlanMode {
    /// Forward, loss, backward.
    Train,
    /// As [`PlanMode::Train`], the gradients of the parameters added to those that are there.
    Accumulate,
    /// Forward and loss, batch norms by their running statistics.
    Evaluate,
    /// Forward and loss, batch norms by the batch's statistics, which update the running ones.
    Calibrate,
    /// The Hessian of the mean loss times a direction.
    HessianProduct,
    /// The Gauss-Newton part of that Hessian times a direction.
    GaussNewtonProduct,
}

impl PlanMode {
    /// Whether it is a step of training.
    #[must_use]
    pub fn trains(self) -> bool {
        matches!(self, Self::Train | Self::Accumulate)
    }

    /// Whether it takes the loss' gradient.
    #[must_use]
    pub fn has_backward(self) -> bool {
        !matches!(self, Self::Evaluate | Self::Calibrate)
    }

    /// Whether it takes derivatives along a direction. Batch norms then go by their running statistics.
    #[must_use]
    pub fn has_tangents(self) -> bool {
        matches!(self, Self::HessianProduct | Self::GaussNewtonProduct)
    }
}

/// The calls of one batch, and the tensors between them.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Rows of a batch.
    pub batch: usize,
    /// Shape of an input.
    pub input: ValueShape,
    /// Shape of the outputs.
    pub outputs: OutputShape,
    /// Tensors in the activation arena.
    pub slots: Vec<Slot>,
    /// The calls in order.
    pub steps: Vec<PlanStep>,
    /// The model's output, alive to the end in mode [`PlanMode::Evaluate`].
    pub output: SlotId,
    /// What the schedule is for.
    pub mode: PlanMode,
    /// How activations, their gradients and the weights that the network sees are stored.
    pub element: Element,
    /// Where the outputs lie in parts, see [`Schedule::within_bindings`], the columns that go together.
    pub(super) output_columns: Option<usize>,
    /// How many of the steps, the first ones, prepare what others read.
    pub(super) prepared: usize,
    /// Elements of each parameter.
    pub(super) param_lens: Vec<usize>,
    /// Elements of each tensor of running statistics.
    pub(super) stat_lens: Vec<usize>,
}

impl Schedule {
    /// How many parameters the graph has.
    pub(super) fn params(&self) -> usize {
        self.param_lens.len()
    }

    /// A new tensor of `len` elements in the activation arena.
    pub(super) fn slot(&mut self, name: &str, len: usize, element: Element) -> SlotId {
        self.slots.push(Slot { name: name.to_owned(), len, element });
        SlotId(self.slots.len() - 1)
    }

    fn written(&mut self, name: &str, len: usize, element: Element) -> Operand {
        let slot = self.slot(name, len, element);
        self.operand(Tensor::Slot(slot), OperandAccess::Write)
    }

    /// A new activation, or gradient of one, of `width` per row.
    pub(super) fn activation(&mut self, name: &str, width: usize) -> Operand {
        self.written(name, self.batch * width, self.element)
    }

    /// A new tensor of words, whatever the batch: sums, tables and indices.
    pub(super) fn words(&mut self, name: &str, words: usize) -> Operand {
        self.written(name, words, Element::Word)
    }

    /// A new tensor of `len` elements stored as activations are.
    pub(super) fn elements(&mut self, name: &str, len: usize) -> Operand {
        self.written(name, len, self.element)
    }

    /// A tensor as an operand.
    pub(super) fn operand(&self, tensor: Tensor, access: OperandAccess) -> Operand {
        let (len, element) = match tensor {
            Tensor::Slot(SlotId(slot)) => (self.slots[slot].len, self.slots[slot].element),
            // Only the weights that the network sees are stored as activations are.
            Tensor::Weight(param) => (self.param_lens[param.0], self.element),
            Tensor::Grad(param) | Tensor::Direction(param) | Tensor::Product(param) => {
                (self.param_lens[param.0], Element::Word)
            }
            Tensor::Stat(stat) => (self.stat_lens[stat.0], Element::Word),
            Tensor::Data(_) | Tensor::Metrics | Tensor::Scaling => (0, Element::Word),
        };
        Operand { tensor, start: 0, len, element, access }
    }

    pub(super) fn push(&mut self, name: &str, call: Call) {
        self.steps.push(PlanStep { name: name.to_owned(), call });
    }

    /// Pushes a call that reads parameters alone, see [`OpPass::prepare`](super::OpPass::prepare).
    pub(super) fn prepare(&mut self, name: &str, call: Call) {
        if !self.steps[..self.prepared].iter_mut().any(|step| step.call.joins(&call)) {
            self.steps.insert(self.prepared, PlanStep { name: name.to_owned(), call });
            self.prepared += 1;
        }
    }

    /// When each slot is alive.
    #[must_use]
    pub fn lives(&self) -> Vec<Life> {
        let mut lives: Vec<_> =
            self.slots.iter().map(|slot| Life { words: slot.words(), first: usize::MAX, last: 0 }).collect();
        for (step, PlanStep { call, .. }) in self.steps.iter().enumerate() {
            for SlotId(slot) in call.slots() {
                lives[slot].first = lives[slot].first.min(step);
                lives[slot].last = step;
            }
        }
        if !self.mode.has_backward() {
            lives[self.output.0].last = self.steps.len();
        }
        lives
    }

    /// Where each slot lies in the activation arena, cut into banks of `bank_words`.
    #[must_use]
    pub fn placement(&self, bank_words: usize) -> Placement {
        memory::place(&self.lives(), bank_words)
    }

    /// Where all tensors lie, the activation arena cut into banks of `bank_words`.
    pub(super) fn places(&self, bank_words: usize) -> Places {
        Places::new(self.placement(bank_words), &self.param_lens, &self.stat_lens)
    }

    /// Words that products and long sums keep for themselves, one after the other, on adapters of a class: enough for the
    /// ordinary variants too, which stand in where a device computes wrong by cooperative matrices.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for a product past 2^32 elements.
    pub fn scratch_words(&self, class: AdapterClass) -> Result<usize, GpuError> {
        let mut most = 0;
        for class in [class, class.without_matrices()] {
            for step in &self.steps {
                most = most.max(step.call.kernel.scratch_words(class, self.element)?);
            }
        }
        Ok(most)
    }

    /// Floating-point operations of the products.
    #[must_use]
    pub fn flops(&self) -> u64 {
        let products = self.steps.iter().filter(|step| step.call.product().is_some());
        products.map(|step| step.call.kernel.flops(&step.call)).sum()
    }

    /// The work of each dispatch of a step on adapters of a class, in the order in which a plan records them.
    #[must_use]
    pub fn work(&self, step: &PlanStep, class: AdapterClass) -> Vec<Work> {
        step.call.kernel.work(&step.call, class)
    }

    /// Bytes of every operand, each counted once a dispatch: the least traffic without reuse between dispatches.
    #[must_use]
    pub fn bytes(&self, class: AdapterClass) -> u64 {
        self.steps.iter().flat_map(|step| self.work(step, class)).map(|work| work.bytes).sum()
    }
}
