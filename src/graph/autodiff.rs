//! Backward: the reverse of forward, gradients summed where a value is used twice.

use crate::kernels::{Activation, Elementwise, Epilogue, MatmulLayout};

use super::{
    Graph, ParamId, ValueId,
    op::{Node, Op},
    schedule::{Call, Forward, MatmulCall, Schedule, SlotId, Tensor, module_name},
};

/// A gradient while backward runs.
#[derive(Clone, Copy, Debug)]
struct Gradient {
    slot: SlotId,
    /// Whether the derivative of the producer's activation is already in it.
    through_activation: bool,
}

#[derive(Debug)]
pub(super) struct Backward<'a> {
    graph: &'a Graph,
    forward: &'a Forward,
    gradients: Vec<Option<Gradient>>,
    written: Vec<bool>,
    /// Whether derivatives of activations go into the products' epilogues.
    fuse: bool,
}

impl<'a> Backward<'a> {
    pub(super) fn new(graph: &'a Graph, forward: &'a Forward, grad_output: SlotId, fuse: bool) -> Self {
        let mut gradients = vec![None; graph.value_count()];
        gradients[graph.output().0] = Some(Gradient { slot: grad_output, through_activation: false });
        Self { graph, forward, gradients, written: vec![false; graph.params().len()], fuse }
    }

    pub(super) fn run(mut self, schedule: &mut Schedule) {
        for (index, node) in self.graph.nodes().iter().enumerate().rev() {
            // A value that nothing used has no gradient, and its node nothing to pass on.
            let Some(gradient) = self.gradients[node.output.0] else { continue };
            match node.op {
                Op::Linear { weight, bias, activation } => {
                    let slot = self.before_activation(schedule, index, node, activation, gradient);
                    self.linear(schedule, node, [weight, bias], slot);
                }
                Op::Activate(activation) => {
                    let operation = Elementwise::ActivationGradient(activation);
                    self.pass_on(schedule, node.inputs[0], operation, gradient.slot, self.forward.saved[index]);
                }
                Op::Add => {
                    for input in &node.inputs {
                        self.pass_on(schedule, *input, Elementwise::Copy, gradient.slot, None);
                    }
                }
            }
        }
    }

    /// The gradient of a linear layer's sums, its activation undone where no epilogue has done it.
    fn before_activation(
        &self,
        schedule: &mut Schedule,
        index: usize,
        node: &Node,
        activation: Activation,
        gradient: Gradient,
    ) -> SlotId {
        if gradient.through_activation || activation == Activation::Identity {
            return gradient.slot;
        }
        let output = schedule.slot("grad sums", self.graph.features(node.output));
        let operation = Elementwise::ActivationGradient(activation);
        let right = self.forward.saved[index];
        let call = Call::Elementwise { operation, left: gradient.slot, right, output, accumulate: false };
        schedule.push(&format!("{activation} backward"), call);
        output
    }

    fn linear(&mut self, schedule: &mut Schedule, node: &Node, [weight, bias]: [ParamId; 2], grad_sums: SlotId) {
        let input = node.inputs[0];
        let [out_features, in_features] = [node.output, input].map(|value| self.graph.features(value));
        let name = module_name(self.graph, weight).to_owned();
        let batch = schedule.batch;
        schedule.push(
            &format!("{name} weight gradient"),
            Call::Matmul(MatmulCall {
                layout: MatmulLayout::WeightGradient,
                shape: [out_features, in_features, batch],
                epilogue: Epilogue::Plain,
                accumulate: self.written[weight.0],
                a: Tensor::Slot(grad_sums),
                b: Tensor::Slot(self.forward.values[input.0]),
                aux: None,
                c: Tensor::Grad(weight),
                pre: None,
            }),
        );
        let shape = [batch, out_features];
        let accumulate = self.written[bias.0];
        let call = Call::ColumnSum { input: grad_sums, output: Tensor::Grad(bias), shape, accumulate };
        schedule.push(&format!("{name} bias gradient"), call);
        self.written[weight.0] = true;
        self.written[bias.0] = true;
        if input != self.graph.input() {
            self.data_gradient(schedule, &name, input, weight, [out_features, in_features], grad_sums);
        }
    }

    fn data_gradient(
        &mut self,
        schedule: &mut Schedule,
        name: &str,
        input: ValueId,
        weight: ParamId,
        [out_features, in_features]: [usize; 2],
        grad_sums: SlotId,
    ) {
        let fused = self.fusable_activation(input);
        let (slot, accumulate) = self.gradient_slot(schedule, input, fused.is_some());
        let epilogue = fused.map_or(Epilogue::Plain, |(activation, _)| Epilogue::ActivationGradient(activation));
        schedule.push(
            &format!("{name} data gradient"),
            Call::Matmul(MatmulCall {
                layout: MatmulLayout::DataGradient,
                shape: [schedule.batch, in_features, out_features],
                epilogue,
                accumulate,
                a: Tensor::Slot(grad_sums),
                b: Tensor::Weight(weight),
                aux: fused.map(|(_, saved)| Tensor::Slot(saved)),
                c: Tensor::Slot(slot),
                pre: None,
            }),
        );
    }

    /// The activation of the linear layer that made `value`, with what it saved, if this is the value's only use:
    /// then the derivative goes into the product's epilogue.
    fn fusable_activation(&self, value: ValueId) -> Option<(Activation, SlotId)> {
        let nodes = self.graph.nodes();
        let uses: usize = nodes.iter().map(|node| node.inputs.iter().filter(|input| **input == value).count()).sum();
        let producer = nodes.iter().position(|node| node.output == value)?;
        match nodes[producer].op {
            Op::Linear { activation, .. } if self.fuse && activation != Activation::Identity && uses == 1 => {
                self.forward.saved[producer].map(|saved| (activation, saved))
            }
            _ => None,
        }
    }

    /// The slot of a value's gradient, and whether something is in it already.
    fn gradient_slot(&mut self, schedule: &mut Schedule, value: ValueId, through_activation: bool) -> (SlotId, bool) {
        if let Some(gradient) = self.gradients[value.0] {
            return (gradient.slot, true);
        }
        let slot = schedule.slot("gradient", self.graph.features(value));
        self.gradients[value.0] = Some(Gradient { slot, through_activation });
        (slot, false)
    }

    fn pass_on(
        &mut self,
        schedule: &mut Schedule,
        input: ValueId,
        operation: Elementwise,
        left: SlotId,
        right: Option<SlotId>,
    ) {
        if input == self.graph.input() {
            return;
        }
        let (output, accumulate) = self.gradient_slot(schedule, input, false);
        schedule.push("gradient", Call::Elementwise { operation, left, right, output, accumulate });
    }
}
