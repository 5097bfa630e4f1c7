//! The same computation in fewer operations.

use super::{Fusion, Graph, Node, ValueId};
use crate::kernels::Activation;

impl Graph {
    /// Each activation that is the only reader of an operation that takes activations along is taken into that, and each sum
    /// into one that takes residuals; values so skipped remain as values that no operation makes. In schedules that are
    /// differentiated sums stay what they are.
    pub(super) fn fused(&self, differentiated: bool) -> Self {
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let fused = match node.op.fusion() {
                Fusion::Activation(activation) => self.with_activation(&mut nodes, node, activation, differentiated),
                Fusion::Sum if !differentiated => self.with_residual(&mut nodes, node),
                Fusion::Sum | Fusion::None => None,
            };
            nodes.push(fused.unwrap_or_else(|| node.clone()));
        }
        Self { nodes, ..self.clone() }
    }

    /// Where the only reader of `value` finds its maker.
    fn sole_maker(&self, nodes: &[Node], value: ValueId) -> Option<usize> {
        if self.uses(value) == 1 { nodes.iter().position(|before| before.output == value) } else { None }
    }

    fn with_activation(
        &self,
        nodes: &mut Vec<Node>,
        node: &Node,
        activation: Activation,
        differentiated: bool,
    ) -> Option<Node> {
        let at = self.sole_maker(nodes, node.inputs[0])?;
        let op = nodes[at].op.with_activation(activation, differentiated)?;
        Some(Node { op, output: node.output, ..nodes.remove(at) })
    }

    fn with_residual(&self, nodes: &mut Vec<Node>, node: &Node) -> Option<Node> {
        for (value, other) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
            let Some(at) = self.sole_maker(nodes, value) else { continue };
            // Two gradients into one tensor at once would lose one of them.
            if nodes[at].inputs.len() == 1
                && nodes[at].inputs[0] != other
                && let Some(op) = nodes[at].op.with_residual()
            {
                let maker = nodes.remove(at);
                return Some(Node { op, inputs: vec![maker.inputs[0], other], output: node.output, ..maker });
            }
        }
        None
    }
}
