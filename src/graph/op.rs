//! Values, parameters and operations, with shape inference.

use crate::kernels::{Activation, ArenaLayout};

use super::GraphError;

/// A value of a graph: one tensor [batch, features].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ValueId(pub(super) usize);

/// A parameter of a graph: its number in every arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ParamId(pub usize);

/// What a parameter is to its module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParamRole {
    /// A weight proper.
    Weight,
    /// A bias.
    Bias,
}

/// A parameter tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// PyTorch's name, `fc1.weight`.
    pub name: String,
    /// PyTorch's layout: weight [out_features, in_features], bias [out_features].
    pub shape: Vec<usize>,
    /// Number of the module it belongs to.
    pub module: usize,
    /// Weight or bias.
    pub role: ParamRole,
    /// Inputs of each output: initialisation is uniform in +-1/sqrt(fan_in).
    pub fan_in: usize,
}

/// An operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// output = activation(input weight' + bias)
    Linear {
        /// [out_features, in_features]
        weight: ParamId,
        /// [out_features]
        bias: ParamId,
        /// Applied in the product's epilogue.
        activation: Activation,
    },
    /// output = activation(input)
    Activate(Activation),
    /// output = left + right
    Add,
}

/// An operation at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What is computed.
    pub op: Op,
    /// From what.
    pub inputs: Vec<ValueId>,
    /// Into what.
    pub output: ValueId,
}

/// A model: operations in order, each reading values made before.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Graph {
    params: Vec<Param>,
    features: Vec<usize>,
    nodes: Vec<Node>,
    modules: usize,
}

impl Graph {
    /// A graph whose input has `features` features.
    ///
    /// # Errors
    /// [`GraphError::Empty`] for none.
    pub fn new(features: usize) -> Result<(Self, ValueId), GraphError> {
        let mut graph = Self::default();
        let input = graph.value("input", features)?;
        Ok((graph, input))
    }

    fn value(&mut self, operation: &str, features: usize) -> Result<ValueId, GraphError> {
        if features == 0 {
            return Err(GraphError::Empty { operation: operation.to_owned() });
        }
        self.features.push(features);
        Ok(ValueId(self.features.len() - 1))
    }

    /// Adds a linear layer `name` with parameters `name.weight` and `name.bias`.
    ///
    /// # Errors
    /// [`GraphError::Empty`] for a width of 0, [`GraphError::Name`] for a name taken.
    pub fn linear(
        &mut self,
        input: ValueId,
        name: &str,
        out_features: usize,
        activation: Activation,
    ) -> Result<ValueId, GraphError> {
        let in_features = self.features(input);
        let output = self.value(&format!("linear {name}"), out_features)?;
        let module = self.modules;
        self.modules += 1;
        let mut param = |kind: &str, shape: Vec<usize>, role| {
            let param = Param { name: format!("{name}.{kind}"), shape, module, role, fan_in: in_features };
            if self.params.iter().any(|other| other.name == param.name) {
                return Err(GraphError::Name { name: param.name });
            }
            self.params.push(param);
            Ok(ParamId(self.params.len() - 1))
        };
        let weight = param("weight", vec![out_features, in_features], ParamRole::Weight)?;
        let bias = param("bias", vec![out_features], ParamRole::Bias)?;
        self.nodes.push(Node { op: Op::Linear { weight, bias, activation }, inputs: vec![input], output });
        Ok(output)
    }

    /// Adds an activation. A schedule takes it into the product of the linear layer before it where nothing else reads
    /// that layer's output; the value activated stays what it was.
    ///
    /// # Errors
    /// None in practice: the width is that of the input.
    pub fn activate(&mut self, input: ValueId, activation: Activation) -> Result<ValueId, GraphError> {
        let output = self.value("activation", self.features(input))?;
        self.nodes.push(Node { op: Op::Activate(activation), inputs: vec![input], output });
        Ok(output)
    }

    /// The same computation, each activation that is the only reader of a linear layer's output taken into that layer.
    /// The outputs of such layers remain as values that no operation makes.
    pub(super) fn fused(&self) -> Self {
        let uses = |value| self.nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == value).count();
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let mut node = node.clone();
            if let Op::Activate(activation) = node.op
                && let Some(at) = nodes.iter().position(|before| before.output == node.inputs[0])
                && let Op::Linear { weight, bias, activation: Activation::Identity } = nodes[at].op
                && uses(node.inputs[0]) == 1
            {
                let inputs = nodes.remove(at).inputs;
                node = Node { op: Op::Linear { weight, bias, activation }, inputs, output: node.output };
            }
            nodes.push(node);
        }
        Self { nodes, ..self.clone() }
    }

    /// Adds a sum of two values, a residual connection.
    ///
    /// # Errors
    /// [`GraphError::Features`] if they differ in width.
    pub fn add(&mut self, left: ValueId, right: ValueId) -> Result<ValueId, GraphError> {
        let (l, r) = (self.features(left), self.features(right));
        if l != r {
            return Err(GraphError::Features { operation: "add".to_owned(), left: l, right: r });
        }
        let output = self.value("add", l)?;
        self.nodes.push(Node { op: Op::Add, inputs: vec![left, right], output });
        Ok(output)
    }

    /// Features of a value.
    #[must_use]
    pub fn features(&self, value: ValueId) -> usize {
        self.features[value.0]
    }

    /// Number of values.
    pub(super) fn value_count(&self) -> usize {
        self.features.len()
    }

    /// The parameters, in the order of the arenas.
    #[must_use]
    pub fn params(&self) -> &[Param] {
        &self.params
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

    /// Where the parameters lie in every arena.
    #[must_use]
    pub fn layout(&self) -> ArenaLayout {
        ArenaLayout::new(self.params.iter().map(|param| param.shape.as_slice()))
    }
}
