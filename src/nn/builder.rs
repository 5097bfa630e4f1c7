//! Building a model layer by layer.

use crate::{
    graph::{Graph, ValueId},
    kernels::Activation,
};

use super::{Model, ModelError};

/// A model under construction, one layer after the other; errors wait until [`Sequential::build`].
///
/// ```
/// use jostle::nn::Sequential;
///
/// # fn main() -> Result<(), jostle::nn::ModelError> {
/// let model = Sequential::new(784).linear(500).relu().residual(|block| block.linear(500).gelu()).linear(10).build()?;
/// assert_eq!(model.graph.params()[0].name, "fc1.weight");
/// assert_eq!(model.graph.params()[0].shape, [500, 784]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sequential {
    state: Result<(Graph, ValueId), ModelError>,
    linears: usize,
    description: String,
}

impl Sequential {
    /// A model of inputs with `features` features.
    #[must_use]
    pub fn new(features: usize) -> Self {
        let state = Graph::new(features).map_err(ModelError::from);
        Self { state, linears: 0, description: format!("custom:{features}") }
    }

    fn then(
        mut self,
        description: &str,
        add: impl FnOnce(&mut Graph, ValueId) -> Result<ValueId, crate::graph::GraphError>,
    ) -> Self {
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
        self.linears += 1;
        let name = format!("fc{}", self.linears);
        self.then(&format!("-{out_features}"), |graph, value| {
            graph.linear(value, &name, out_features, Activation::Identity)
        })
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
            return Err(crate::graph::GraphError::NoLayers.into());
        }
        Ok(Model { description: self.description, graph })
    }
}
