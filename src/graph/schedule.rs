//! A graph as an ordered list of calls over named tensors, before any device is involved.

use crate::kernels::{Elementwise, Epilogue, MatmulLayout};

use super::{
    Graph, GraphError, ParamId,
    autodiff::Backward,
    memory::{self, Life, Placement},
    op::{Node, Op},
    tangent,
};

/// A tensor in the activation arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SlotId(pub(super) usize);

/// What is known of a tensor in the activation arena.
#[derive(Clone, Debug)]
pub struct Slot {
    /// For people.
    pub name: String,
    /// Size in words.
    pub words: usize,
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
}

/// The loss that training minimises.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Loss {
    /// Negative log likelihood of a softmax: `torch.nn.CrossEntropyLoss`.
    #[default]
    Nll,
    /// Mean squared error against the one-hot label.
    Mse,
}

impl std::str::FromStr for Loss {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nll" => Ok(Self::Nll),
            "mse" => Ok(Self::Mse),
            _ => Err(format!("unknown loss {text:?}, expected one of nll, mse")),
        }
    }
}

/// A matrix product to be.
#[derive(Clone, Copy, Debug)]
pub struct MatmulCall {
    /// How the operands lie.
    pub layout: MatmulLayout,
    /// m, n, k.
    pub shape: [usize; 3],
    /// What happens to the sums.
    pub epilogue: Epilogue,
    /// Whether they add to what is there.
    pub accumulate: bool,
    /// Left operand.
    pub a: Tensor,
    /// Right operand.
    pub b: Tensor,
    /// Bias or what forward saved.
    pub aux: Option<Tensor>,
    /// Result.
    pub c: Tensor,
    /// Pre-activation kept for backward.
    pub pre: Option<SlotId>,
}

/// One dispatch to be.
#[derive(Clone, Debug)]
pub enum Call {
    /// The batch from the data set.
    Gather {
        /// [batch, features]
        output: SlotId,
    },
    /// A matrix product.
    Matmul(MatmulCall),
    /// An elementwise step.
    Elementwise {
        /// Which.
        operation: Elementwise,
        /// First operand.
        left: SlotId,
        /// Second operand, where there is one.
        right: Option<SlotId>,
        /// Result.
        output: SlotId,
        /// Whether it adds to what is there.
        accumulate: bool,
    },
    /// The gradient of a bias.
    ColumnSum {
        /// [rows, columns]
        input: SlotId,
        /// [columns]
        output: Tensor,
        /// rows, columns.
        shape: [usize; 2],
        /// Whether it adds to what is there.
        accumulate: bool,
    },
    /// Loss, correct answers and the gradient of the mean loss.
    Loss {
        /// [batch, classes]
        logits: SlotId,
        /// [batch, classes]
        grad_logits: SlotId,
        /// [batch, 2]
        row_stats: SlotId,
    },
    /// The tangent of the loss' gradient: the loss' own Hessian times the tangent of the outputs.
    LossTangent {
        /// [batch, classes]
        logits: SlotId,
        /// [batch, classes]
        tangent: SlotId,
        /// [batch, classes]
        output: SlotId,
    },
    /// The batch's sums into the metrics ring.
    Metrics {
        /// [batch, 2]
        row_stats: SlotId,
    },
}

impl Call {
    /// The slots it touches.
    fn slots(&self) -> Vec<SlotId> {
        let of = |tensor: &Tensor| match tensor {
            Tensor::Slot(slot) => Some(*slot),
            _ => None,
        };
        match self {
            Self::Gather { output } => vec![*output],
            Self::Matmul(MatmulCall { a, b, aux, c, pre, .. }) => {
                [Some(a), Some(b), aux.as_ref(), Some(c)].into_iter().flatten().filter_map(of).chain(*pre).collect()
            }
            Self::Elementwise { left, right, output, .. } => {
                [Some(*left), *right, Some(*output)].into_iter().flatten().collect()
            }
            Self::ColumnSum { input, .. } => vec![*input],
            Self::LossTangent { logits, tangent, output } => vec![*logits, *tangent, *output],
            Self::Loss { logits, grad_logits, row_stats } => vec![*logits, *grad_logits, *row_stats],
            Self::Metrics { row_stats } => vec![*row_stats],
        }
    }
}

/// A call with a name for people.
#[derive(Clone, Debug)]
pub struct PlanStep {
    /// Such as `fc1 forward`.
    pub name: String,
    /// The call.
    pub call: Call,
}

/// What the schedule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Forward, loss, backward.
    Train,
    /// Forward and loss.
    Evaluate,
    /// The Hessian of the mean loss times a direction.
    HessianProduct,
    /// The Gauss-Newton part of that Hessian times a direction.
    GaussNewtonProduct,
}

/// The calls of one batch, and the tensors between them.
#[derive(Clone, Debug)]
pub struct Schedule {
    /// Rows of a batch.
    pub batch: usize,
    /// Features of an input.
    pub features: usize,
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
}

/// What forward leaves for backward.
#[derive(Debug)]
pub(super) struct Forward {
    /// Slot of each value.
    pub(super) values: Vec<SlotId>,
    /// What the activation of each node saved.
    pub(super) saved: Vec<Option<SlotId>>,
}

impl Schedule {
    /// The calls of a batch of `batch` samples.
    ///
    /// # Errors
    /// [`GraphError::NoLayers`] or [`GraphError::NoBatch`].
    pub fn new(graph: &Graph, batch: usize, mode: Mode) -> Result<Self, GraphError> {
        if graph.params().is_empty() {
            return Err(GraphError::NoLayers);
        }
        if batch == 0 {
            return Err(GraphError::NoBatch);
        }
        let graph = &graph.fused();
        let (features, classes) = (graph.features(graph.input()), graph.features(graph.output()));
        let mut schedule =
            Self { batch, features, classes, slots: Vec::new(), steps: Vec::new(), output: SlotId(0), mode };
        let forward = schedule.forward(graph);
        schedule.output = forward.values[graph.output().0];
        let grad_logits = schedule.slot("grad logits", classes);
        let row_stats = schedule.slot("row stats", 2);
        let logits = schedule.output;
        schedule.push("loss", Call::Loss { logits, grad_logits, row_stats });
        schedule.push("metrics", Call::Metrics { row_stats });
        match mode {
            Mode::Evaluate => {}
            Mode::Train => Backward::new(graph, &forward, grad_logits, true).run(&mut schedule),
            Mode::HessianProduct | Mode::GaussNewtonProduct => {
                Backward::new(graph, &forward, grad_logits, false).run(&mut schedule);
                tangent::differentiate(&mut schedule, graph.params().len());
            }
        }
        Ok(schedule)
    }

    /// A new tensor of `width` per row.
    pub(super) fn slot(&mut self, name: &str, width: usize) -> SlotId {
        self.slots.push(Slot { name: name.to_owned(), words: self.batch * width });
        SlotId(self.slots.len() - 1)
    }

    pub(super) fn push(&mut self, name: &str, call: Call) {
        self.steps.push(PlanStep { name: name.to_owned(), call });
    }

    fn forward(&mut self, graph: &Graph) -> Forward {
        let input = self.slot("input", self.features);
        self.push("gather", Call::Gather { output: input });
        // A value that no operation makes (its activation was fused) keeps the input's slot: nothing reads it.
        let mut forward = Forward { values: vec![input; graph.value_count()], saved: Vec::new() };
        for node in graph.nodes() {
            let output = self.slot("activation", graph.features(node.output));
            forward.values[node.output.0] = output;
            let saved = self.forward_node(graph, node, &forward.values);
            forward.saved.push(saved);
        }
        forward
    }

    fn forward_node(&mut self, graph: &Graph, node: &Node, values: &[SlotId]) -> Option<SlotId> {
        let output = values[node.output.0];
        let input = values[node.inputs[0].0];
        match node.op {
            Op::Linear { weight, bias, activation } => {
                let n = graph.features(node.output);
                let store_pre = self.mode != Mode::Evaluate && activation.saves_input();
                let pre = store_pre.then(|| self.slot("pre-activation", n));
                let name = module_name(graph, weight);
                let call = Call::Matmul(MatmulCall {
                    layout: MatmulLayout::Forward,
                    shape: [self.batch, n, graph.features(node.inputs[0])],
                    epilogue: Epilogue::BiasActivation { activation, store_pre },
                    accumulate: false,
                    a: Tensor::Slot(input),
                    b: Tensor::Weight(weight),
                    aux: Some(Tensor::Weight(bias)),
                    c: Tensor::Slot(output),
                    pre,
                });
                self.push(&format!("{name} forward"), call);
                pre.or(Some(output))
            }
            Op::Activate(activation) => {
                let operation = Elementwise::Activate(activation);
                let name = format!("{activation} forward");
                self.push(&name, Call::Elementwise { operation, left: input, right: None, output, accumulate: false });
                Some(if activation.saves_input() { input } else { output })
            }
            Op::Add => {
                let right = Some(values[node.inputs[1].0]);
                let operation = Elementwise::Add;
                self.push(
                    "add forward",
                    Call::Elementwise { operation, left: input, right, output, accumulate: false },
                );
                None
            }
        }
    }

    /// When each slot is alive.
    #[must_use]
    pub fn lives(&self) -> Vec<Life> {
        let mut lives: Vec<_> =
            self.slots.iter().map(|slot| Life { words: slot.words, first: usize::MAX, last: 0 }).collect();
        for (step, PlanStep { call, .. }) in self.steps.iter().enumerate() {
            for SlotId(slot) in call.slots() {
                lives[slot].first = lives[slot].first.min(step);
                lives[slot].last = step;
            }
        }
        if self.mode == Mode::Evaluate {
            lives[self.output.0].last = self.steps.len();
        }
        lives
    }

    /// Where each slot lies in the activation arena.
    #[must_use]
    pub fn placement(&self) -> Placement {
        memory::place(&self.lives())
    }

    /// Floating-point operations of the products.
    #[must_use]
    pub fn flops(&self) -> u64 {
        self.steps
            .iter()
            .map(|step| match step.call {
                Call::Matmul(MatmulCall { shape, .. }) => 2 * shape.iter().map(|side| *side as u64).product::<u64>(),
                _ => 0,
            })
            .sum()
    }
}

impl Schedule {
    /// Bytes of every operand, each counted once a call: the least traffic without reuse between calls.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let slot = |slot: &SlotId| self.slots[slot.0].words;
        let words: usize = self
            .steps
            .iter()
            .map(|step| match &step.call {
                // A byte a feature comes in, a word goes out.
                Call::Gather { output } => slot(output) + slot(output) / 4,
                Call::Matmul(call) => {
                    let [m, n, k] = call.shape;
                    m * k + k * n + m * n
                }
                Call::ColumnSum { shape: [rows, columns], .. } => rows * columns + columns,
                Call::Elementwise { .. } | Call::Loss { .. } | Call::LossTangent { .. } | Call::Metrics { .. } => {
                    step.call.slots().iter().map(slot).sum()
                }
            })
            .sum();
        words as u64 * crate::gpu::WORD_BYTES
    }
}

/// `fc1` of `fc1.weight`.
pub(super) fn module_name(graph: &Graph, param: ParamId) -> &str {
    let name = graph.params()[param.0].name.as_str();
    name.rsplit_once('.').map_or(name, |(module, _)| module)
}
