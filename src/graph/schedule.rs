//! A graph as an ordered list of calls over named tensors, before any device is involved.

use crate::{
    gpu::{Element, GpuError},
    kernels::{AdapterClass, LossTangent, MatmulShape, column_sum_scratch_words},
    names::named,
};

use super::{
    Graph, GraphError, ParamId, ValueShape,
    autodiff::Backward,
    call::{AffineCall, Call, ConvCall, MatmulCall, PlanStep, Slot, SlotId},
    memory::{self, Life, Placement},
    tangent,
};

named!("loss",
    /// The loss that training minimises.
    #[derive(Default)]
    Loss {
        /// Negative log likelihood of a softmax: `torch.nn.CrossEntropyLoss`.
        #[default]
        Nll = "nll",
        /// Mean squared error against the one-hot label.
        Mse = "mse",
    }
);

impl Loss {
    /// What its tangent is of.
    pub(super) fn tangent(self) -> LossTangent {
        match self {
            Self::Nll => LossTangent::Nll,
            Self::Mse => LossTangent::Mse,
        }
    }
}

/// What the schedule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forward, loss, backward.
    Train,
    /// As [`Mode::Train`], the gradients of the parameters added to those that are there.
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

impl Mode {
    /// Whether it is a step of training.
    pub(super) fn trains(self) -> bool {
        matches!(self, Self::Train | Self::Accumulate)
    }

    /// Whether it takes the loss' gradient.
    pub(super) fn has_backward(self) -> bool {
        !matches!(self, Self::Evaluate | Self::Calibrate)
    }

    /// Whether it takes derivatives along a direction. Batch norms then go by their running statistics.
    pub(super) fn has_tangents(self) -> bool {
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
    /// Width of the output.
    pub classes: usize,
    /// Tensors in the activation arena.
    pub slots: Vec<Slot>,
    /// The calls in order.
    pub steps: Vec<PlanStep>,
    /// The model's output, alive to the end in mode [`Mode::Evaluate`].
    pub output: SlotId,
    /// What the schedule is for.
    pub mode: Mode,
    /// How activations, their gradients and the weights that the network sees are stored.
    pub element: Element,
}

impl Schedule {
    /// The calls of a batch of `batch` samples, all tensors in f32.
    ///
    /// # Errors
    /// As [`Schedule::stored`].
    pub fn new(graph: &Graph, batch: usize, mode: Mode) -> Result<Self, GraphError> {
        Self::stored(graph, batch, mode, Element::Word)
    }

    /// The calls of a batch of `batch` samples; activations and the weights that the network sees are stored as `element`,
    /// which for derivatives along a direction has to be f32.
    ///
    /// # Errors
    /// [`GraphError::NoLayers`], [`GraphError::NoBatch`], [`GraphError::Shape`] for an output that is an image or a
    /// batch that is too large, or [`GraphError::NoDerivative`] for an operation that no derivative is known of.
    pub fn stored(graph: &Graph, batch: usize, mode: Mode, element: Element) -> Result<Self, GraphError> {
        if graph.params().is_empty() {
            return Err(GraphError::NoLayers);
        }
        if batch == 0 {
            return Err(GraphError::NoBatch);
        }
        let graph = &graph.fused(!mode.has_tangents());
        let ValueShape::Features(classes) = graph.shape(graph.output()) else {
            let (operation, input) = ("the loss".to_owned(), graph.shape(graph.output()).to_string());
            return Err(GraphError::Shape { operation, input, reason: "the model has to end in features".to_owned() });
        };
        let input = graph.shape(graph.input());
        let mut schedule =
            Self { batch, input, classes, slots: Vec::new(), steps: Vec::new(), output: SlotId(0), mode, element };
        let forward = schedule.forward(graph)?;
        schedule.output = forward.values[graph.output().0];
        let grad_logits = schedule.slot("grad logits", classes);
        let row_stats = schedule.slot_words("row stats", 2 * batch);
        let logits = schedule.output;
        schedule.push("loss", Call::Loss { logits, grad_logits, row_stats });
        schedule.push("metrics", Call::Metrics { row_stats });
        if mode.has_backward() {
            Backward::new(graph, &forward, &mut schedule, grad_logits).run()?;
        }
        if mode.has_tangents() {
            tangent::differentiate(&mut schedule, graph.params().len())?;
        }
        Ok(schedule)
    }

    /// A new activation, or gradient of one, of `width` per row.
    pub(super) fn slot(&mut self, name: &str, width: usize) -> SlotId {
        self.slot_of(name, self.batch * width, self.element)
    }

    /// A new tensor of words, whatever the batch: sums, tables and indices.
    pub(super) fn slot_words(&mut self, name: &str, words: usize) -> SlotId {
        self.slot_of(name, words, Element::Word)
    }

    /// A new tensor of `len` elements.
    pub(super) fn slot_of(&mut self, name: &str, len: usize, element: Element) -> SlotId {
        self.slots.push(Slot { name: name.to_owned(), len, element });
        SlotId(self.slots.len() - 1)
    }

    pub(super) fn push(&mut self, name: &str, call: Call) {
        self.steps.push(PlanStep { name: name.to_owned(), call });
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

    /// Words that products and long sums keep for themselves, one after the other, on adapters of a class: enough for the
    /// ordinary variants too, which stand in where a device computes wrong by cooperative matrices.
    ///
    /// # Errors
    /// [`GpuError::Shape`] for a product past 2^32 elements.
    pub fn scratch_words(&self, class: AdapterClass) -> Result<usize, GpuError> {
        let mut most = 0;
        for class in [class, class.without_matrices()] {
            for step in &self.steps {
                most = most.max(match &step.call {
                    Call::Matmul(MatmulCall { shape: [m, n, k], .. }) => {
                        let shape = MatmulShape::new(*m, *n, *k)?;
                        class.matmul_variant(self.element, shape).scratch_words(shape)
                    }
                    Call::Conv(ConvCall { shape, pass, .. }) => {
                        class.conv_variant(self.element, shape, *pass).scratch_words(shape, *pass)
                    }
                    Call::ColumnSum { shape, .. } => column_sum_scratch_words(class, *shape),
                    Call::AffineGradient(AffineCall { shape, .. }) => shape.gradient_scratch_words(class),
                    Call::Gather { .. }
                    | Call::Pack { .. }
                    | Call::BatchNorm(_)
                    | Call::BatchNormGradient(_)
                    | Call::ChannelNormalise { .. }
                    | Call::GroupNormalise { .. }
                    | Call::GroupNormaliseGradient { .. }
                    | Call::GroupNormaliseCurvature { .. }
                    | Call::Affine(_)
                    | Call::Pool(_)
                    | Call::PoolSelect(_)
                    | Call::PoolGradient { .. }
                    | Call::Flatten { .. }
                    | Call::Dropout { .. }
                    | Call::Elementwise { .. }
                    | Call::Loss { .. }
                    | Call::LossTangent { .. }
                    | Call::Metrics { .. } => 0,
                });
            }
        }
        Ok(most)
    }

    /// Floating-point operations of the products.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.steps.iter().map(|step| step.call.flops()).sum()
    }
}

/// `fc1` of `fc1.weight`.
pub(super) fn module_name(graph: &Graph, param: ParamId) -> &str {
    let name = graph.params()[param.0].name.as_str();
    name.rsplit_once('.').map_or(name, |(module, _)| module)
}
