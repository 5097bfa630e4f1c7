//! Values, parameters and operations.

use crate::kernels::{Activation, ArenaLayout, ConvOptions, Pool};

use super::{GraphError, ValueShape};

/// A value of a graph: one tensor, a batch of samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueId(pub(super) usize);

/// A parameter of a graph: its number in every arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamId(pub usize);

/// A tensor of running statistics: its number in their arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StatId(pub usize);

/// What a parameter is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamRole {
    /// A weight proper.
    Weight,
    /// A bias.
    Bias,
    /// The scale of a norm.
    Scale,
}

/// How a parameter starts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ParamInit {
    /// Uniform in +-1/sqrt(fan_in), where fan_in is the inputs of each output.
    Uniform {
        /// Inputs of each output.
        fan_in: usize,
    },
    /// One value throughout.
    Constant(f32),
}

/// A parameter tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Param {
    /// PyTorch's name, `fc1.weight`.
    pub name: String,
    /// PyTorch's layout: weight [out_features, in_features] or [out, in / groups, height, width], bias `[out]`.
    pub shape: Vec<usize>,
    /// Number of the module it belongs to.
    pub module: usize,
    /// Weight, bias or scale.
    pub role: ParamRole,
    /// How it starts.
    pub init: ParamInit,
}

/// A tensor of running statistics, `[channels]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Stat {
    /// PyTorch's name, `bn1.running_mean`.
    pub name: String,
    /// Channels.
    pub channels: usize,
    /// Its value at the start.
    pub initial: f32,
}

/// Parameters and settings of a batch norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BatchNormOp {
    /// `[channels]`
    pub weight: ParamId,
    /// `[channels]`
    pub bias: ParamId,
    /// Running mean and variance, `[channels]`.
    pub running: [StatId; 2],
    /// Added to the variance.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
}

/// Parameters and settings of a group norm or layer norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOp {
    /// `[channels]`, or the shape of a sample
    pub weight: ParamId,
    /// As the weight.
    pub bias: ParamId,
    /// Groups of channels.
    pub groups: usize,
    /// Whether every element of a sample has a weight of its own.
    pub per_pixel: bool,
    /// Added to the variance.
    pub eps: f32,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Op {
    /// output = activation(input weight' + bias)
    Linear {
        /// [out_features, in_features]
        weight: ParamId,
        /// `[out_features]`
        bias: ParamId,
        /// Applied in the product's epilogue.
        activation: Activation,
    },
    /// output = activation(input convolved with weight + bias)
    Conv {
        /// [out, in / groups, height, width]
        weight: ParamId,
        /// `[out]`
        bias: Option<ParamId>,
        /// Kernel, stride and so on.
        options: ConvOptions,
        /// Applied in the product's epilogue.
        activation: Activation,
    },
    /// output = activation(batch norm of the first input + the second input, where there is one)
    BatchNorm(BatchNormOp),
    /// output = norm over groups of channels of each sample
    Norm(NormOp),
    /// output = pool of the input
    Pool(Pool),
    /// An image as a row of features, channel first.
    Flatten,
    /// A row of features as the channels of an image of one pixel.
    Unflatten,
    /// Random zeros in training.
    Dropout {
        /// Chance of a zero.
        probability: f32,
        /// Number among the graph's dropouts: each has its own stream.
        layer: usize,
    },
    /// output = activation(input)
    Activate(Activation),
    /// output = left + right
    Add,
}

/// An operation at its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// From what.
    pub inputs: Vec<ValueId>,
    /// Into what.
    pub output: ValueId,
}

/// A model: operations in order, each reading values made before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Graph {
    pub(super) params: Vec<Param>,
    pub(super) stats: Vec<Stat>,
    pub(super) shapes: Vec<ValueShape>,
    pub(super) nodes: Vec<Node>,
    pub(super) modules: usize,
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

    pub(super) fn node(&mut self, op: Op, inputs: Vec<ValueId>, output: ValueId) -> ValueId {
        self.nodes.push(Node { op, inputs, output });
        output
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
        params.with_stats(self.stats.iter().map(|stat| stat.channels))
    }
}
