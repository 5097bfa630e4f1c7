//! Models as graphs of operations.

use std::sync::Arc;

use crate::kernels::{AdapterClass, ArenaLayout};

use super::{
    GraphError, Inputs, Node, Op, Param, ParamId, ParamInit, ParamSpec, Stat, StatId, StatSpec, ValueId, ValueShape,
};

/// A model: operations in order, each reading values made before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    pub(super) params: Vec<Param>,
    pub(super) stats: Vec<Stat>,
    pub(super) shapes: Vec<ValueShape>,
    pub(super) nodes: Vec<Node>,
    pub(super) modules: usize,
    pub(super) blocks: Vec<String>,
    pub(super) open_block: Option<usize>,
}

impl Graph {
    /// A graph whose input has `features` features.
    ///
    /// # Errors
    /// [`GraphError::Empty`] for none, [`GraphError::TooLarge`] past 2^32 - 1.
    pub fn new(features: usize) -> Result<(Self, ValueId), GraphError> {
        Self::with_input(ValueShape::Features(features))
    }

    /// A graph whose input has this shape.
    ///
    /// # Errors
    /// [`GraphError::Empty`] for an empty side, [`GraphError::TooLarge`] past 2^32 - 1 words.
    pub fn with_input(shape: ValueShape) -> Result<(Self, ValueId), GraphError> {
        let mut graph = Self::default();
        let input = graph.value("input", shape)?;
        Ok((graph, input))
    }

    pub(super) fn value(&mut self, operation: &str, shape: ValueShape) -> Result<ValueId, GraphError> {
        if shape.is_empty() {
            return Err(GraphError::Empty { operation: operation.to_owned() });
        }
        if !shape.is_indexable() {
            return Err(GraphError::TooLarge { operation: operation.to_owned(), shape: shape.to_string() });
        }
        self.shapes.push(shape);
        Ok(ValueId(self.shapes.len() - 1))
    }

    /// Adds an operation with the parameters that it brings, called `name.suffix`; an operation without parameters needs no
    /// name.
    ///
    /// # Errors
    /// [`GraphError::Shape`] for inputs that it cannot take, [`GraphError::Empty`] for an empty output,
    /// [`GraphError::TooLarge`] past 2^32 - 1 words, [`GraphError::Name`] for a name taken.
    pub fn add_op(&mut self, op: Arc<dyn Op>, name: &str, inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        let operation = if name.is_empty() { op.name().to_owned() } else { format!("{} {name}", op.name()) };
        let shapes: Vec<ValueShape> = inputs.iter().map(|input| self.shape(*input)).collect();
        let given = Inputs { operation: &operation, shapes: &shapes };
        let (shape, params) = brought(&*op, &given)?;
        let stats = op.stats(&given);
        let output = self.value(&operation, shape)?;
        let brings = !params.is_empty();
        let params = params.into_iter().map(|spec| self.param(name, spec)).collect::<Result<_, _>>()?;
        let stats = stats.into_iter().map(|spec| self.stat(name, spec)).collect();
        self.modules += usize::from(brings);
        self.nodes.push(Node { op, inputs: inputs.to_vec(), output, params, stats });
        Ok(output)
    }

    /// Adds an operation by parameters that the graph has already, in the place of those that it would bring: a parameter of
    /// several operations has the sum of their gradients, and is one to noise, updates and files.
    ///
    /// # Errors
    /// As [`Graph::add_op`]; [`GraphError::Shape`] for parameters of other shapes.
    pub fn add_tied(&mut self, op: Arc<dyn Op>, params: &[ParamId], inputs: &[ValueId]) -> Result<ValueId, GraphError> {
        let tied: Vec<&Param> = params.iter().filter_map(|param| self.params.get(param.0)).collect();
        let names: Vec<&str> = tied.iter().map(|param| param.name.as_str()).collect();
        let operation = format!("{} by {}", op.name(), names.join(", "));
        let shapes: Vec<ValueShape> = inputs.iter().map(|input| self.shape(*input)).collect();
        let given = Inputs { operation: &operation, shapes: &shapes };
        let (shape, needed) = brought(&*op, &given)?;
        let [found, needed]: [Vec<&[usize]>; 2] = [
            tied.iter().map(|param| param.shape.as_slice()).collect(),
            needed.iter().map(|spec| spec.shape.as_slice()).collect(),
        ];
        if found != needed {
            return Err(given.refusal(format!("it needs parameters of {needed:?} and not of {found:?}")));
        }
        let output = self.value(&operation, shape)?;
        self.nodes.push(Node { op, inputs: inputs.to_vec(), output, params: params.to_vec(), stats: Vec::new() });
        Ok(output)
    }

    fn param(&mut self, name: &str, spec: ParamSpec) -> Result<ParamId, GraphError> {
        let ParamSpec { suffix, shape, role, init } = spec;
        let name = if suffix.is_empty() { name.to_owned() } else { format!("{name}.{suffix}") };
        if self.params.iter().any(|other| other.name == name) {
            return Err(GraphError::Name { name });
        }
        let len = shape.iter().try_fold(1usize, |product, side| product.checked_mul(*side));
        if len.is_none_or(|len| u32::try_from(len).is_err()) {
            return Err(GraphError::TooLarge { operation: name, shape: format!("{shape:?}") });
        }
        let (module, block) = (self.modules, self.open_block);
        self.params.push(Param { name, shape, module, block, projections: Vec::new(), role, init });
        Ok(ParamId(self.params.len() - 1))
    }

    fn stat(&mut self, name: &str, StatSpec { suffix, channels, initial }: StatSpec) -> StatId {
        self.stats.push(Stat { name: format!("{name}.{suffix}"), channels, initial });
        StatId(self.stats.len() - 1)
    }

    /// Has a parameter start otherwise than its operation would have it; runs that have begun do not ask.
    ///
    /// # Errors
    /// [`GraphError::Param`] for the name of none.
    pub fn set_init(&mut self, param: &str, init: ParamInit) -> Result<(), GraphError> {
        let ParamId(found) = self.param_id(param)?;
        self.params[found].init = init;
        Ok(())
    }

    /// The parameter of a name.
    ///
    /// # Errors
    /// [`GraphError::Param`] for the name of none.
    pub fn param_id(&self, name: &str) -> Result<ParamId, GraphError> {
        let missing = || GraphError::Param { name: name.to_owned() };
        self.params.iter().position(|param| param.name == name).map(ParamId).ok_or_else(missing)
    }

    /// The same graph with other operations in the place of those that `other` gives one for, which take and make the same shapes
    /// by the same parameters.
    #[must_use]
    pub fn with_ops(&self, other: impl Fn(&dyn Op) -> Option<Arc<dyn Op>>) -> Self {
        let replaced = |node: &Node| Node { op: other(&*node.op).unwrap_or_else(|| node.op.clone()), ..node.clone() };
        Self { nodes: self.nodes.iter().map(replaced).collect(), ..self.clone() }
    }

    /// The same graph, each operation in the form that suits adapters of a class.
    #[must_use]
    pub fn suited(&self, class: AdapterClass) -> Self {
        self.with_ops(|op| op.suited(class))
    }

    /// The same graph, each operation in the form that no device has to be tested for.
    #[must_use]
    pub fn ordinary(&self) -> Self {
        self.with_ops(Op::ordinary)
    }

    /// Shape of a value.
    #[must_use]
    pub fn shape(&self, value: ValueId) -> ValueShape {
        self.shapes[value.0]
    }

    /// Features of a value.
    #[must_use]
    pub fn features(&self, value: ValueId) -> usize {
        self.shape(value).features()
    }

    /// Number of values.
    pub(super) fn value_count(&self) -> usize {
        self.shapes.len()
    }

    /// How many operations read a value.
    pub(super) fn uses(&self, value: ValueId) -> usize {
        self.nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == value).count()
    }

    /// The parameters, in the order of the arenas.
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
    }

    /// The running statistics, in the order of their arena.
    #[must_use]
    pub fn stats(&self) -> &[Stat] {
        &self.stats
    }

    /// The operations in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The model's input.
    #[must_use]
    pub fn input(&self) -> ValueId {
        ValueId(0)
    }

    /// The model's output: what the last operation makes.
    #[must_use]
    pub fn output(&self) -> ValueId {
        self.nodes.last().map_or(self.input(), |node| node.output)
    }

    /// The largest batch up to `most` whose largest value stays within `words`; at least 1.
    #[must_use]
    pub fn batch_within(&self, most: usize, words: usize) -> usize {
        let largest = self.shapes.iter().map(|shape| shape.words()).max().unwrap_or(1);
        most.min(words / largest.max(1)).max(1)
    }

    /// Where the parameters lie in every arena, and the running statistics in theirs.
    #[must_use]
    pub fn layout(&self) -> ArenaLayout {
        let params = ArenaLayout::new(self.params.iter().map(|param| param.shape.as_slice()));
        params.with_hidden(&self.hidden_matrices()).with_stats(self.stats.iter().map(|stat| stat.channels))
    }
}

/// What an operation makes of its inputs, and the parameters that it takes for that.
fn brought(op: &dyn Op, given: &Inputs<'_>) -> Result<(ValueShape, Vec<ParamSpec>), GraphError> {
    if !op.takes_tokens() && given.shapes.iter().any(|shape| matches!(shape, ValueShape::Tokens { .. })) {
        return Err(given.refusal("embed it first"));
    }
    Ok((op.infer(given)?, op.params(given)?))
}
