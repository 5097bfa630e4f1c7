//! Backward: the reverse of forward, gradients summed where a value is used twice.

use crate::kernels::{
    Activation, BatchNormShape, ConvOptions, ConvPass, Elementwise, Epilogue, MatmulLayout, NormShape,
};

use super::{
    Graph, GraphError, ParamId, ValueId,
    call::{AffineCall, BatchNormCall, BatchNormGradientCall, Call, ConvCall, MatmulCall, PoolCall, SlotId, Tensor},
    forward::{Forward, Kept, conv_shape, norm_shape, pool_shape},
    op::{BatchNormOp, Node, NormOp, Op},
    schedule::{Mode, Schedule, module_name},
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
    schedule: &'a mut Schedule,
    gradients: Vec<Option<Gradient>>,
    written: Vec<bool>,
    /// Whether derivatives of activations go into the products' epilogues.
    fuse: bool,
}

impl<'a> Backward<'a> {
    pub(super) fn new(graph: &'a Graph, forward: &'a Forward, schedule: &'a mut Schedule, grad_output: SlotId) -> Self {
        let mut gradients = vec![None; graph.value_count()];
        gradients[graph.output().0] = Some(Gradient { slot: grad_output, through_activation: false });
        let mode = schedule.mode;
        let written = vec![mode == Mode::Accumulate; graph.params().len()];
        Self { graph, forward, schedule, gradients, written, fuse: mode.trains() }
    }

    pub(super) fn run(mut self) -> Result<(), GraphError> {
        for (index, node) in self.graph.nodes().iter().enumerate().rev() {
            // A value that nothing used has no gradient, and its node nothing to pass on.
            if let Some(gradient) = self.gradients[node.output.0] {
                self.node(node, self.forward.kept[index], gradient)?;
            }
        }
        Ok(())
    }

    fn node(&mut self, node: &Node, kept: Kept, gradient: Gradient) -> Result<(), GraphError> {
        let input = node.inputs[0];
        let grad = gradient.slot;
        match node.op {
            Op::Linear { weight, bias, activation } => {
                let sums = self.before_activation(node, kept, activation, gradient);
                self.linear(node, [weight, bias], sums);
            }
            Op::Conv { weight, bias, options, activation } => {
                let sums = self.before_activation(node, kept, activation, gradient);
                self.conv(node, (weight, bias), &options, sums)?;
            }
            Op::BatchNorm(op) => match kept {
                Kept::BatchNorm(forward) => self.batch_norm(node, forward, grad),
                Kept::Normalised { xhat, .. } => self.fixed_norm(node, op, xhat, grad)?,
                Kept::Nothing | Kept::Saved(_) | Kept::Chosen(_) => return Err(self.not_kept(op.weight)),
            },
            Op::Norm(op) => {
                let Kept::Normalised { xhat, inv_std: Some(inv_std) } = kept else {
                    return Err(self.not_kept(op.weight));
                };
                self.norm(node, op, [xhat, inv_std], grad)?;
            }
            Op::Pool(pool) => {
                let chosen = if let Kept::Chosen(slot) = kept { Some(slot) } else { None };
                let shape = pool_shape(self.graph, self.schedule.batch, input, &pool)?;
                let saved = self.fusable_activation(input);
                if let Some((output, accumulate)) = self.target(input, saved.is_some()) {
                    let call = PoolCall { pool, shape, input: grad, output, chosen, accumulate };
                    self.schedule.push("pool backward", Call::PoolGradient { call, saved });
                }
            }
            Op::Flatten => {
                let of = self.graph.shape(input);
                let shape = [self.schedule.batch, of.pixels(), of.channels()];
                if let Some((output, accumulate)) = self.target(input, false) {
                    let call = Call::Flatten { input: grad, output, shape, back: true, accumulate };
                    self.schedule.push("flatten backward", call);
                }
            }
            Op::Unflatten => {
                let shape = [self.schedule.batch, 1, self.graph.features(input)];
                if let Some((output, accumulate)) = self.target(input, false) {
                    let call = Call::Flatten { input: grad, output, shape, back: false, accumulate };
                    self.schedule.push("unflatten backward", call);
                }
            }
            Op::Dropout { probability, layer } => {
                if let Some((output, accumulate)) = self.target(input, false) {
                    self.schedule.dropout([grad, output], probability, layer, accumulate);
                }
            }
            Op::Activate(activation) => {
                let saved = if let Kept::Saved(slot) = kept { Some(slot) } else { None };
                self.pass_on(input, Elementwise::ActivationGradient(activation), grad, saved);
            }
            Op::Add => {
                for input in &node.inputs {
                    self.pass_on(*input, Elementwise::Copy, grad, None);
                }
            }
        }
        Ok(())
    }

    /// That forward left nothing for the backward of a norm.
    fn not_kept(&self, weight: ParamId) -> GraphError {
        GraphError::NoDerivative { call: format!("{} forward", module_name(self.graph, weight)) }
    }

    /// The gradient of a product's sums, its activation undone where no epilogue has done it.
    fn before_activation(&mut self, node: &Node, kept: Kept, activation: Activation, gradient: Gradient) -> SlotId {
        let Kept::Saved(saved) = kept else { return gradient.slot };
        if gradient.through_activation || activation == Activation::Identity {
            return gradient.slot;
        }
        let output = self.schedule.slot("grad sums", self.graph.shape(node.output).words());
        let (operation, right) = (Elementwise::ActivationGradient(activation), Some(saved));
        let call = Call::Elementwise { operation, left: gradient.slot, right, output, accumulate: false };
        self.schedule.push(&format!("{activation} backward"), call);
        output
    }

    /// Whether a parameter's gradient adds to what is there.
    fn accumulates(&mut self, param: ParamId) -> bool {
        std::mem::replace(&mut self.written[param.0], true)
    }

    fn linear(&mut self, node: &Node, [weight, bias]: [ParamId; 2], grad_sums: SlotId) {
        let input = node.inputs[0];
        let [out_features, in_features] = [node.output, input].map(|value| self.graph.features(value));
        let batch = self.schedule.batch;
        let name = module_name(self.graph, weight).to_owned();
        let call = MatmulCall {
            layout: MatmulLayout::WeightGradient,
            shape: [out_features, in_features, batch],
            epilogue: Epilogue::Plain,
            accumulate: self.accumulates(weight),
            a: Tensor::Slot(grad_sums),
            b: Tensor::Slot(self.forward.values[input.0]),
            aux: None,
            c: Tensor::Grad(weight),
            pre: None,
        };
        self.schedule.push(&format!("{name} weight gradient"), Call::Matmul(call));
        let shape = [batch, out_features, out_features];
        let accumulate = self.accumulates(bias);
        let call = Call::ColumnSum { input: grad_sums, output: Tensor::Grad(bias), shape, accumulate };
        self.schedule.push(&format!("{name} bias gradient"), call);
        let fused = self.fusable_activation(input);
        if let Some((slot, accumulate)) = self.target(input, fused.is_some()) {
            let call = MatmulCall {
                layout: MatmulLayout::DataGradient,
                shape: [batch, in_features, out_features],
                epilogue: fused.map_or(Epilogue::Plain, |(activation, _)| Epilogue::ActivationGradient(activation)),
                accumulate,
                a: Tensor::Slot(grad_sums),
                b: Tensor::Weight(weight),
                aux: fused.map(|(_, saved)| Tensor::Slot(saved)),
                c: Tensor::Slot(slot),
                pre: None,
            };
            self.schedule.push(&format!("{name} data gradient"), Call::Matmul(call));
        }
    }

    fn conv(
        &mut self,
        node: &Node,
        (weight, bias): (ParamId, Option<ParamId>),
        options: &ConvOptions,
        grad_sums: SlotId,
    ) -> Result<(), GraphError> {
        let input = node.inputs[0];
        let shape = conv_shape(self.graph, self.schedule.batch, input, node.output, options)?;
        let name = module_name(self.graph, weight).to_owned();
        let call = ConvCall {
            pass: ConvPass::WeightGradient,
            shape,
            epilogue: Epilogue::Plain,
            accumulate: self.accumulates(weight),
            a: Tensor::Slot(grad_sums),
            b: Tensor::Slot(self.forward.values[input.0]),
            aux: None,
            c: Tensor::Grad(weight),
            pre: None,
        };
        self.schedule.push(&format!("{name} weight gradient"), call.into());
        if let Some(bias) = bias {
            self.conv_bias(&name, node.output, bias, grad_sums);
        }
        let fused = self.fusable_activation(input);
        if let Some((slot, accumulate)) = self.target(input, fused.is_some()) {
            let b = self.schedule.packed(&name, &shape, weight);
            let epilogue = fused.map_or(Epilogue::Plain, |(activation, _)| Epilogue::ActivationGradient(activation));
            let aux = fused.map(|(_, saved)| Tensor::Slot(saved));
            let (a, c) = (Tensor::Slot(grad_sums), Tensor::Slot(slot));
            let call = ConvCall { pass: ConvPass::DataGradient, shape, epilogue, accumulate, a, b, aux, c, pre: None };
            self.schedule.push(&format!("{name} data gradient"), call.into());
        }
        Ok(())
    }

    /// A sum over all pixels.
    fn conv_bias(&mut self, name: &str, output: ValueId, bias: ParamId, grad_sums: SlotId) {
        let of = self.graph.shape(output);
        let rows = self.schedule.batch * of.pixels();
        let shape = [rows, of.channels(), of.stride()];
        let accumulate = self.accumulates(bias);
        let call = Call::ColumnSum { input: grad_sums, output: Tensor::Grad(bias), shape, accumulate };
        self.schedule.push(&format!("{name} bias gradient"), call);
    }

    fn batch_norm(&mut self, node: &Node, forward: BatchNormCall, grad: SlotId) {
        let BatchNormCall { shape, op: BatchNormOp { weight, bias, .. }, .. } = forward;
        let shape: BatchNormShape = shape;
        let partials = self.schedule.slot_words("partial sums", shape.partial_words());
        let coefficients = self.schedule.slot_words("coefficients", shape.coefficient_words());
        let accumulate = self.accumulates(weight);
        self.written[bias.0] = true;
        let residual = node.inputs.get(1).and_then(|value| self.target(*value, false));
        // Nothing trains before the model's input, but the parameters' gradients come with this pass.
        let grad_x = self
            .target(node.inputs[0], false)
            .unwrap_or_else(|| (self.schedule.slot("gradient", self.graph.shape(node.inputs[0]).words()), false));
        let call = BatchNormGradientCall {
            forward,
            grad,
            partials,
            coefficients,
            grad_x,
            grad_residual: residual,
            accumulate,
        };
        let name = module_name(self.graph, weight).to_owned();
        self.schedule.push(&format!("{name} backward"), Call::BatchNormGradient(call));
    }

    /// The gradients of weight and bias, and that of what they were applied to.
    fn affine(
        &mut self,
        shape: NormShape,
        [weight, bias]: [ParamId; 2],
        xhat: SlotId,
        grad: SlotId,
        words: usize,
    ) -> SlotId {
        let name = module_name(self.graph, weight).to_owned();
        let accumulate = self.accumulates(weight);
        self.written[bias.0] = true;
        let (scale, shift) = (Tensor::Grad(weight), Some(Tensor::Grad(bias)));
        let call = AffineCall { shape, input: grad, other: xhat, scale, shift, accumulate };
        self.schedule.push(&format!("{name} affine gradient"), Call::AffineGradient(call));
        let output = self.schedule.slot("gradient", words);
        let (scale, shift) = (Tensor::Weight(weight), None);
        let call = AffineCall { shape, input: grad, other: output, scale, shift, accumulate: false };
        self.schedule.push(&format!("{name} backward"), Call::Affine(call));
        output
    }

    /// Batch norm by running statistics, which is a fixed map before its weight and bias.
    fn fixed_norm(&mut self, node: &Node, op: BatchNormOp, xhat: SlotId, grad: SlotId) -> Result<(), GraphError> {
        let input = node.inputs[0];
        let shape = norm_shape(self.graph, self.schedule.batch, input, 1, false, op.eps)?;
        let words = self.graph.shape(input).words();
        let grad_xhat = self.affine(shape, [op.weight, op.bias], xhat, grad, words);
        if let Some((output, accumulate)) = self.target(input, false) {
            let running = op.running;
            let call = Call::ChannelNormalise { shape, running, input: grad_xhat, output, centre: false, accumulate };
            self.schedule.push("normalise backward", call);
        }
        Ok(())
    }

    fn norm(&mut self, node: &Node, op: NormOp, [xhat, inv_std]: [SlotId; 2], grad: SlotId) -> Result<(), GraphError> {
        let input = node.inputs[0];
        let shape = norm_shape(self.graph, self.schedule.batch, input, op.groups, op.per_pixel, op.eps)?;
        let words = self.graph.shape(input).words();
        let grad = self.affine(shape, [op.weight, op.bias], xhat, grad, words);
        if let Some((output, accumulate)) = self.target(input, false) {
            let call = Call::GroupNormaliseGradient { shape, grad, xhat, inv_std, output, accumulate };
            self.schedule.push("normalise backward", call);
        }
        Ok(())
    }

    /// The activation of the product that made `value`, with what it saved, if this is the value's only use: then the
    /// derivative goes in where the gradient is made.
    fn fusable_activation(&self, value: ValueId) -> Option<(Activation, SlotId)> {
        let nodes = self.graph.nodes();
        let producer = nodes.iter().position(|node| node.output == value)?;
        let (Op::Linear { activation, .. } | Op::Conv { activation, .. }) = nodes[producer].op else { return None };
        if !self.fuse || activation == Activation::Identity || self.graph.uses(value) != 1 {
            return None;
        }
        if let Kept::Saved(saved) = self.forward.kept[producer] { Some((activation, saved)) } else { None }
    }

    /// The slot of a value's gradient, and whether something is in it already; none for the model's input.
    fn target(&mut self, value: ValueId, through_activation: bool) -> Option<(SlotId, bool)> {
        if value == self.graph.input() {
            return None;
        }
        if let Some(gradient) = self.gradients[value.0] {
            return Some((gradient.slot, true));
        }
        let slot = self.schedule.slot("gradient", self.graph.shape(value).words());
        self.gradients[value.0] = Some(Gradient { slot, through_activation });
        Some((slot, false))
    }

    fn pass_on(&mut self, input: ValueId, operation: Elementwise, left: SlotId, right: Option<SlotId>) {
        if let Some((output, accumulate)) = self.target(input, false) {
            self.schedule.push("gradient", Call::Elementwise { operation, left, right, output, accumulate });
        }
    }
}
