//! Building a model layer by layer.

use std::{collections::HashMap, sync::Arc};

use toml::Table;

use crate::{
    graph::{Graph, GraphError, Op, ValueId, ValueShape},
    kernels::{Activation, ConvOptions},
    ops::{LayerError, LayerSite, Layers, LinearOptions, NormOptions, Pool},
};

use super::{Model, ModelError};

/// A model under construction, one layer after the other; errors wait until [`Sequential::build`].
///
/// ```
/// use jostle::{
///     graph::ValueShape,
///     kernels::ConvOptions,
///     nn::Sequential,
///     ops::Pool,
/// };
///
/// # fn main() -> Result<(), jostle::nn::ModelError> {
/// let model = Sequential::new(784).linear(500).relu().residual(|block| block.linear(500).gelu()).linear(10).build()?;
/// assert_eq!(model.graph.params()[0].name, "fc1.weight");
/// assert_eq!(model.graph.params()[0].shape, [500, 784]);
///
/// let image = ValueShape::Image { channels: 3, height: 32, width: 32 };
/// let model = Sequential::with_input(image)
///     .conv(16, ConvOptions::square(3).padding(1), false)
///     .batch_norm()
///     .relu()
///     .pool(Pool::global())
///     .flatten()
///     .linear(10)
///     .build()?;
/// assert_eq!(model.graph.params()[1].name, "bn1.weight");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sequential {
    state: Result<(Graph, ValueId), ModelError>,
    /// Layers so far by what their names begin with.
    counts: HashMap<&'static str, usize>,
    description: String,
}

impl Sequential {
    /// A model of inputs with `features` features.
    #[must_use]
    pub fn new(features: usize) -> Self {
        Self::with_input(ValueShape::Features(features))
    }

    /// A model of inputs of this shape.
    #[must_use]
    pub fn with_input(shape: ValueShape) -> Self {
        let state = Graph::with_input(shape).map_err(ModelError::from);
        let description = match shape {
            ValueShape::Features(features) => format!("custom:{features}"),
            ValueShape::Image { channels, height, width } => format!("custom:{channels}x{height}x{width}"),
            ValueShape::Sequence { length, features } => format!("custom:{length}x{features}"),
            ValueShape::Tokens { length, vocabulary } => format!("custom:{length} tokens below {vocabulary}"),
        };
        Self { state, counts: HashMap::new(), description }
    }

    /// The name of the next layer whose names begin with `stem`.
    fn next_name(&mut self, stem: &'static str) -> String {
        let count = self.counts.entry(stem).or_default();
        *count += 1;
        format!("{stem}{count}")
    }

    fn then(mut self, description: &str, add: impl FnOnce(&mut Graph, ValueId) -> Result<ValueId, GraphError>) -> Self {
        self.description.push_str(description);
        self.state = self.state.and_then(|(mut graph, value)| {
            let value = add(&mut graph, value)?;
            Ok((graph, value))
        });
        self
    }

    /// A linear layer with bias; the n-th is called `fc{n}`.
    #[must_use]
    pub fn linear(mut self, out_features: usize) -> Self {
        let name = self.next_name("fc");
        self.then(&format!("-{out_features}"), |graph, value| {
            graph.linear(value, &name, out_features, Activation::Identity)
        })
    }

    /// A linear layer with or without bias, counted with the others.
    #[must_use]
    pub fn linear_with(mut self, options: LinearOptions) -> Self {
        let name = self.next_name("fc");
        self.then(&format!("-{}", options.features), |graph, value| graph.linear_with(value, &name, options))
    }

    /// A linear layer without bias whose weight is an earlier parameter, such as `embedding1.weight`.
    #[must_use]
    pub fn tied_linear(self, param: &str) -> Self {
        self.then("-tied", |graph, value| graph.tied_linear(value, param))
    }

    /// A vector of `features` numbers for each token; the n-th is called `embedding{n}`.
    #[must_use]
    pub fn embedding(mut self, features: usize) -> Self {
        let name = self.next_name("embedding");
        self.then(&format!("-embedding{features}"), |graph, value| graph.embedding(value, &name, features))
    }

    /// A convolution to `channels` channels; the n-th is called `conv{n}`.
    #[must_use]
    pub fn conv(mut self, channels: usize, options: ConvOptions, bias: bool) -> Self {
        let name = self.next_name("conv");
        self.then(&format!("-conv{channels}"), |graph, value| graph.conv(value, &name, channels, options, bias))
    }

    /// A batch norm; the n-th is called `bn{n}`.
    #[must_use]
    pub fn batch_norm(mut self) -> Self {
        let name = self.next_name("bn");
        self.then("-bn", |graph, value| graph.batch_norm(value, &name))
    }

    /// A layer norm or RMS norm over each vector; the n-th is called `norm{n}`.
    #[must_use]
    pub fn norm_with(mut self, options: NormOptions) -> Self {
        let name = self.next_name("norm");
        self.then("-norm", |graph, value| graph.norm_with(value, &name, options))
    }

    /// An image as the sequence of its pixels.
    #[must_use]
    pub fn sequence(self) -> Self {
        self.then("-sequence", Graph::sequence)
    }

    /// A learned vector before a sequence; the n-th is called `cls_token{n}`.
    #[must_use]
    pub fn class_token(mut self) -> Self {
        let name = self.next_name("cls_token");
        self.then("-class", |graph, value| graph.class_token(value, &name))
    }

    /// Learned positions; the n-th are called `positions{n}`.
    #[must_use]
    pub fn positions(mut self) -> Self {
        let name = self.next_name("positions");
        self.then("-positions", |graph, value| graph.positions(value, &name))
    }

    /// One vector of a sequence.
    #[must_use]
    pub fn token(self, index: usize) -> Self {
        self.then(&format!("-token{index}"), |graph, value| graph.token(value, index))
    }

    /// silu(first half) * second half
    #[must_use]
    pub fn swiglu(self) -> Self {
        self.then("-swiglu", Graph::swiglu)
    }

    /// A pool.
    #[must_use]
    pub fn pool(self, pool: Pool) -> Self {
        self.then("-pool", |graph, value| graph.pool(value, pool))
    }

    /// An image as a row of features, channel first.
    #[must_use]
    pub fn flatten(self) -> Self {
        self.then("-flatten", Graph::flatten)
    }

    /// Random zeros in training.
    #[must_use]
    pub fn dropout(self, probability: f32) -> Self {
        self.then("-dropout", |graph, value| graph.dropout(value, probability))
    }

    /// Any operation, of the engine's or of one's own; its parameters are called after `name`.
    #[must_use]
    pub fn op(self, op: Arc<dyn Op>, name: &str) -> Self {
        let description = format!("-{}", op.name());
        self.then(&description, |graph, value| graph.add_op(op, name, &[value]))
    }

    /// A layer by the name and the keys that it has in files, such as `group-norm` with `groups`; `features` of a linear layer
    /// have to be given.
    #[must_use]
    pub fn layer(mut self, kind: &str, keys: Table) -> Self {
        let found = Layers::standard().kind(kind).copied();
        let name = found.as_ref().ok().and_then(|kind| kind.stem).map(|stem| self.next_name(stem));
        self.description.push_str(&format!("-{kind}"));
        self.state = self.state.and_then(|(mut graph, input)| {
            let name = name.as_deref().unwrap_or_default();
            let added =
                found.and_then(|kind| (kind.add)(LayerSite { graph: &mut graph, input, name, classes: 0 }, keys));
            let wrong =
                |error: LayerError| ModelError::Description { text: kind.to_owned(), reason: error.to_string() };
            added.map_err(wrong).map(|value| (graph, value))
        });
        self
    }

    /// An activation.
    #[must_use]
    pub fn activation(self, activation: Activation) -> Self {
        if activation == Activation::Identity {
            return self;
        }
        self.then(&format!("-{activation}"), |graph, value| graph.activate(value, activation))
    }

    /// max(x, 0)
    #[must_use]
    pub fn relu(self) -> Self {
        self.activation(Activation::Relu)
    }

    /// x Phi(x)
    #[must_use]
    pub fn gelu(self) -> Self {
        self.activation(Activation::Gelu)
    }

    /// 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
    #[must_use]
    pub fn gelu_tanh(self) -> Self {
        self.activation(Activation::GeluTanh)
    }

    /// tanh x
    #[must_use]
    pub fn tanh(self) -> Self {
        self.activation(Activation::Tanh)
    }

    /// 1 / (1 + exp(-x))
    #[must_use]
    pub fn sigmoid(self) -> Self {
        self.activation(Activation::Sigmoid)
    }

    /// x + block(x); the block must keep the width.
    #[must_use]
    pub fn residual(mut self, block: impl FnOnce(Self) -> Self) -> Self {
        let Ok((_, entry)) = self.state else { return self };
        self.description.push_str("-residual(");
        block(self).then(")", |graph, value| graph.add(entry, value))
    }

    /// The model.
    ///
    /// # Errors
    /// The first thing that was wrong: a width of 0, a residual block that changes the width, no layers.
    pub fn build(self) -> Result<Model, ModelError> {
        let (graph, _) = self.state?;
        if graph.params().is_empty() {
            return Err(GraphError::NoLayers.into());
        }
        Ok(Model { description: self.description, graph })
    }
}
