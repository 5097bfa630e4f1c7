//! Which parameters are matrices in a network's midst.

use super::{Graph, Node, ParamId};

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
        let is_hidden = |param: ParamId| {
            let mut uses = self.nodes().iter().filter(|node| node.params.contains(&param)).peekable();
            uses.peek().is_some() && uses.all(|node| matrix(node) == Some(param) && inside(node))
        };
        (0..self.params().len()).map(|param| is_hidden(ParamId(param))).collect()
    }
}
