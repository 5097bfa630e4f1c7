//! A model: its graph, under a description.

use std::fmt;

use crate::{
    graph::{Graph, ParamRole},
    noise::NoiseTensor,
};

/// A model: its graph and how it was described.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// Such as `mlp:784-500-10`.
    pub description: String,
    /// Operations and parameters.
    pub graph: Graph,
}

impl Model {
    /// Features of an input.
    #[must_use]
    pub fn features(&self) -> usize {
        self.graph.features(self.graph.input())
    }

    /// Width of the output: of each of its vectors where it is a sequence.
    #[must_use]
    pub fn classes(&self) -> usize {
        self.graph.shape(self.graph.output()).channels()
    }

    /// Vectors of the output of a sample: the length of a sequence, else 1.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.graph.shape(self.graph.output()).pixels()
    }

    /// Shape of the outputs of so many samples: [samples, classes], with the positions of a sample between them where it has
    /// several.
    #[must_use]
    pub fn outputs_shape(&self, samples: usize) -> Vec<usize> {
        match self.positions() {
            1 => vec![samples, self.classes()],
            positions => vec![samples, positions, self.classes()],
        }
    }

    /// What the noise has to know of each parameter.
    #[must_use]
    pub fn noise_tensors(&self) -> Vec<NoiseTensor> {
        let noise_tensor = |param: &crate::graph::Param| NoiseTensor {
            module: param.module,
            is_weight: param.role == ParamRole::Weight,
        };
        self.graph.params().iter().map(noise_tensor).collect()
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}
