//! A model: its graph, under a description.

use std::fmt;

use crate::{
    graph::{Graph, ParamRole},
    noise::{NoisePart, NoiseTensor},
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
            block: param.block,
            projections: param.projections.len(),
            is_weight: param.role == ParamRole::Weight,
        };
        self.graph.params().iter().map(noise_tensor).collect()
    }

    /// A part of a parameter: `attn.weight` for all of it, `attn.weight[q]` for a projection that it packs, else its elements.
    #[must_use]
    pub fn part_name(&self, NoisePart { tensor, elements }: &NoisePart) -> String {
        let Some(param) = self.graph.params().get(*tensor) else { return format!("parameter {tensor}") };
        let name = &param.name;
        if *elements == (0..param.elements()) {
            return name.clone();
        }
        match param.parts().iter().zip(&param.projections).find(|(part, _)| *part == elements) {
            Some((_, projection)) => format!("{name}[{projection}]"),
            None => format!("{name}[{}..{}]", elements.start, elements.end),
        }
    }

    /// A group of parts: its block's name where it is one, else the names of its parts.
    #[must_use]
    pub fn group_name(&self, group: &[NoisePart]) -> String {
        let params = self.graph.params();
        let block = group.first().and_then(|part| params.get(part.tensor)?.block);
        let members = params.iter().enumerate().filter(|(_, param)| param.block.is_some() && param.block == block);
        let whole = members.map(|(tensor, param)| NoisePart { tensor, elements: 0..param.elements() });
        match block.and_then(|block| self.graph.blocks().get(block)) {
            Some(name) if whole.eq(group.iter().cloned()) => name.clone(),
            _ => group.iter().map(|part| self.part_name(part)).collect::<Vec<_>>().join(" + "),
        }
    }
}

impl fmt::Display for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.description)
    }
}
