//! Which parameters are matrices in a network's midst.

use super::{Graph, Node};

impl Graph {
    /// Per parameter whether it is a hidden matrix: one that an operation multiplies its input by, with such an operation before it and
    /// another behind, wherever it is used. So neither embeddings and what the network begins with are, nor what it ends with.
    #[must_use]
    pub fn hidden_matrices(&self) -> Vec<bool> {
        let matrix = |node: &Node| node.op.matrix().and_then(|place| node.params.get(place).copied());
        let weighted = |node: &Node| !node.params.is_empty() && (node.op.takes_tokens() || matrix(node).is_some());
        let (mut before, mut behind) = (vec![false; self.value_count()], vec![false; self.value_count()]);
        for node in self.nodes() {
            before[node.output.0] = weighted(node) || node.inputs.iter().any(|input| before[input.0]);
        }
        for node in self.nodes().iter().rev() {
            if weighted(node) || behind[node.output.0] {
                node.inputs.iter().for_each(|input| behind[input.0] = true);
            }
        }
        let inside = |node: &Node| node.inputs.iter().any(|input| before[input.0]) && behind[node.output.0];
        let mut hidden = vec![true; self.params().len()];
        for node in self.nodes() {
            let (matrix, inside) = (matrix(node), inside(node));
            node.params.iter().for_each(|param| hidden[param.0] &= matrix == Some(*param) && inside);
        }
        hidden
    }
}
