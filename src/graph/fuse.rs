//! The same computation in fewer operations.

use crate::kernels::Activation;

use super::{
    Graph, ValueId,
    op::{BatchNormOp, Node, Op},
};

impl Graph {
    /// Each activation that is the only reader of a linear layer's or convolution's output is taken into that layer; with
    /// `batch_norm`, sums and activations after a batch norm are taken into that. Values so skipped remain as values
    /// that no operation makes.
    pub(super) fn fused(&self, batch_norm: bool) -> Self {
        let mut nodes: Vec<Node> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let fused = match node.op {
                Op::Activate(activation) => self.with_activation(&mut nodes, node, activation, batch_norm),
                Op::Add if batch_norm => self.with_residual(&mut nodes, node),
                _ => None,
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
        batch_norm: bool,
    ) -> Option<Node> {
        let at = self.sole_maker(nodes, node.inputs[0])?;
        let op = match nodes[at].op {
            Op::Linear { weight, bias, activation: Activation::Identity } => Op::Linear { weight, bias, activation },
            // The epilogue that activates adds a bias too.
            Op::Conv { weight, bias: bias @ Some(_), options, activation: Activation::Identity } => {
                Op::Conv { weight, bias, options, activation }
            }
            // Its backward has only the output to go by.
            Op::BatchNorm(BatchNormOp { activation: Activation::Identity, .. }) if activation.saves_input() => {
                return None;
            }
            Op::BatchNorm(of @ BatchNormOp { activation: Activation::Identity, .. }) if batch_norm => {
                Op::BatchNorm(BatchNormOp { activation, ..of })
            }
            _ => return None,
        };
        Some(Node { op, inputs: nodes.remove(at).inputs, output: node.output })
    }

    fn with_residual(&self, nodes: &mut Vec<Node>, node: &Node) -> Option<Node> {
        for (value, other) in [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])] {
            let Some(at) = self.sole_maker(nodes, value) else { continue };
            let plain = matches!(nodes[at].op, Op::BatchNorm(BatchNormOp { activation: Activation::Identity, .. }));
            // Two gradients into one tensor at once would lose one of them.
            if plain && nodes[at].inputs.len() == 1 && nodes[at].inputs[0] != other {
                let of = nodes.remove(at);
                return Some(Node { op: of.op, inputs: vec![of.inputs[0], other], output: node.output });
            }
        }
        None
    }
}
