//! Forward: each operation as its calls, and what they leave for backward.

use std::sync::Arc;

use super::{
    Access, Call, Graph, GraphError, Kernel, Mode, Node, Operand, Saved, Schedule, SlotId, Tensor, ValueShape,
};

/// What forward leaves for backward.
#[derive(Debug)]
pub(super) struct ForwardValues {
    /// Slot of each value.
    pub(super) values: Vec<SlotId>,
    /// What each node keeps.
    pub(super) saved: Vec<Saved>,
}

/// The forward pass at one operation: what an [`Op`](super::Op) pushes its calls on.
#[derive(Debug)]
pub struct Forward<'a> {
    pub(super) graph: &'a Graph,
    pub(super) node: &'a Node,
    pub(super) values: &'a [SlotId],
    pub(super) schedule: &'a mut Schedule,
}

impl Forward<'_> {
    /// Samples of a batch.
    #[must_use]
    pub fn batch(&self) -> usize {
        self.schedule.batch
    }

    /// What the schedule is for.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.schedule.mode
    }

    /// What parameters are called before their suffix, `fc1`; the operation's name where it brings none.
    #[must_use]
    pub fn name(&self) -> String {
        module_name(self.graph, self.node)
    }

    /// How many inputs the operation has.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.node.inputs.len()
    }

    /// An input, read. An operation is given as many inputs as it was added with.
    #[must_use]
    pub fn input(&self, place: usize) -> Operand {
        let slot = self.values[self.node.inputs[place].0];
        self.schedule.operand(Tensor::Slot(slot), Access::Read)
    }

    /// The output, written.
    #[must_use]
    pub fn output(&self) -> Operand {
        let slot = self.values[self.node.output.0];
        self.schedule.operand(Tensor::Slot(slot), Access::Write)
    }

    /// Shape of an input.
    #[must_use]
    pub fn input_shape(&self, place: usize) -> ValueShape {
        self.graph.shape(self.node.inputs[place])
    }

    /// Shape of the output.
    #[must_use]
    pub fn output_shape(&self) -> ValueShape {
        self.graph.shape(self.node.output)
    }

    /// A parameter as the network sees it, read.
    #[must_use]
    pub fn param(&self, place: usize) -> Operand {
        self.schedule.operand(Tensor::Weight(self.node.params[place]), Access::Read)
    }

    /// Whether the operation has a parameter in this place.
    #[must_use]
    pub fn has_param(&self, place: usize) -> bool {
        place < self.node.params.len()
    }

    /// A tensor of running statistics.
    #[must_use]
    pub fn stat(&self, place: usize, access: Access) -> Operand {
        self.schedule.operand(Tensor::Stat(self.node.stats[place]), access)
    }

    /// A new activation of `width` elements a sample, written.
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

    /// That the operation cannot take its first input.
    #[must_use]
    pub fn refusal(&self, reason: &dyn std::fmt::Display) -> GraphError {
        refusal(self.graph, self.node, reason)
    }
}

pub(super) fn refusal(graph: &Graph, node: &Node, reason: &dyn std::fmt::Display) -> GraphError {
    let (operation, input) = (node.op.name().to_owned(), graph.shape(node.inputs[0]).to_string());
    GraphError::Shape { operation, input, reason: reason.to_string() }
}

/// `fc1` of `fc1.weight`.
pub(super) fn module_name(graph: &Graph, node: &Node) -> String {
    let Some(param) = node.params.first() else { return node.op.name().to_owned() };
    let name = graph.params()[param.0].name.as_str();
    name.rsplit_once('.').map_or(name, |(module, _)| module).to_owned()
}

impl Operand {
    /// The same tensor, read.
    #[must_use]
    pub fn read(self) -> Self {
        Self { access: Access::Read, ..self }
    }

    /// The same tensor as a result, which adds to what is there or not.
    #[must_use]
    pub fn result(self, adds: bool) -> Self {
        Self { access: Access::result(adds), ..self }
    }

    /// Its slot in the activation arena, where it lies there.
    #[must_use]
    pub fn slot(&self) -> Option<SlotId> {
        self.tensor.slot()
    }
}

impl Schedule {
    pub(super) fn forward(&mut self, graph: &Graph) -> Result<ForwardValues, GraphError> {
        let input = self.push_gather();
        // A value that no operation makes (its maker was fused) keeps the input's slot: nothing reads it.
        let mut forward = ForwardValues { values: vec![input; graph.value_count()], saved: Vec::new() };
        for node in graph.nodes() {
            let output = self.activation("activation", graph.shape(node.output).words());
            forward.values[node.output.0] = output.slot().unwrap_or(input);
            let mut pass = Forward { graph, node, values: &forward.values, schedule: self };
            let saved = node.op.forward(&mut pass)?;
            forward.saved.push(saved);
        }
        Ok(forward)
    }
}
