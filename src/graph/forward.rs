//! Forward: each operation as its calls, and what they leave for backward.

use crate::kernels::{
    Activation, BatchNormShape, ConvOptions, ConvPass, ConvShape, Elementwise, Epilogue, MatmulLayout, NormShape, Pool,
    PoolShape,
};

use super::{
    Graph, GraphError, Mode, ParamId, Schedule, ValueId,
    call::{AffineCall, BatchNormCall, Call, ConvCall, MatmulCall, PoolCall, SlotId, Tensor},
    op::{BatchNormOp, Node, NormOp, Op},
    schedule::module_name,
};

/// What a node keeps beside its output.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    /// Nothing.
    Nothing,
    /// What the derivative of its activation takes.
    Saved(SlotId),
    /// All of a batch norm.
    BatchNorm(BatchNormCall),
    /// What a norm made before its weight and bias; 1 / standard deviation where it is of the sample.
    Normalised { xhat: SlotId, inv_std: Option<SlotId> },
    /// Where a max pool found its values.
    Chosen(SlotId),
}

/// What forward leaves for backward.
#[derive(Debug)]
pub(super) struct Forward {
    /// Slot of each value.
    pub(super) values: Vec<SlotId>,
    /// What each node keeps.
    pub(super) kept: Vec<Kept>,
}

fn refused(graph: &Graph, operation: &str, input: ValueId) -> impl Fn(crate::gpu::GpuError) -> GraphError {
    let (operation, input) = (operation.to_owned(), graph.shape(input).to_string());
    move |error| GraphError::Shape { operation: operation.clone(), input: input.clone(), reason: error.to_string() }
}

/// A convolution of `input` with every size known.
pub(super) fn conv_shape(
    graph: &Graph,
    batch: usize,
    input: ValueId,
    output: ValueId,
    options: &ConvOptions,
) -> Result<ConvShape, GraphError> {
    let image = graph.shape(input).image().unwrap_or_default();
    ConvShape::new(batch, image, graph.shape(output).channels(), options).map_err(refused(graph, "conv", input))
}

/// A pool of `input` with every size known.
pub(super) fn pool_shape(graph: &Graph, batch: usize, input: ValueId, pool: &Pool) -> Result<PoolShape, GraphError> {
    let image = graph.shape(input).image().unwrap_or_default();
    PoolShape::new(batch, image, pool).map_err(refused(graph, "pool", input))
}

/// How a norm sees a value.
pub(super) fn norm_shape(
    graph: &Graph,
    batch: usize,
    value: ValueId,
    groups: usize,
    per_pixel: bool,
    eps: f32,
) -> Result<NormShape, GraphError> {
    let of = graph.shape(value);
    NormShape::new([batch, of.pixels(), of.channels(), of.stride()], groups, per_pixel, eps)
        .map_err(refused(graph, "norm", value))
}

impl Schedule {
    pub(super) fn forward(&mut self, graph: &Graph) -> Result<Forward, GraphError> {
        let input = self.slot("input", graph.shape(graph.input()).words());
        self.push("gather", Call::Gather { output: input });
        // A value that no operation makes (its maker was fused) keeps the input's slot: nothing reads it.
        let mut forward = Forward { values: vec![input; graph.value_count()], kept: Vec::new() };
        for node in graph.nodes() {
            let output = self.slot("activation", graph.shape(node.output).words());
            forward.values[node.output.0] = output;
            let kept = self.forward_node(graph, node, &forward.values)?;
            forward.kept.push(kept);
        }
        Ok(forward)
    }

    fn forward_node(&mut self, graph: &Graph, node: &Node, values: &[SlotId]) -> Result<Kept, GraphError> {
        let (input, output) = (values[node.inputs[0].0], values[node.output.0]);
        Ok(match node.op {
            Op::Linear { weight, bias, activation } => {
                self.linear(graph, node, [input, output], [weight, bias], activation)
            }
            Op::Conv { weight, bias, options, activation } => {
                let shape = conv_shape(graph, self.batch, node.inputs[0], node.output, &options)?;
                self.conv(graph, &shape, [input, output], (weight, bias), activation, graph.shape(node.output).words())
            }
            Op::BatchNorm(op) => {
                let residual = node.inputs.get(1).map(|value| values[value.0]);
                self.batch_norm(graph, node, op, residual, [input, output])?
            }
            Op::Norm(op) => self.norm(graph, node, op, [input, output])?,
            Op::Pool(pool) => {
                let shape = pool_shape(graph, self.batch, node.inputs[0], &pool)?;
                let chosen =
                    pool.chooses().then(|| self.slot_words("chosen", self.batch * graph.shape(node.output).words()));
                let call = PoolCall { pool, shape, input, output, chosen, accumulate: false };
                self.push("pool forward", Call::Pool(call));
                chosen.map_or(Kept::Nothing, Kept::Chosen)
            }
            Op::Flatten => {
                let of = graph.shape(node.inputs[0]);
                let shape = [self.batch, of.pixels(), of.channels()];
                self.push("flatten forward", Call::Flatten { input, output, shape, back: false, accumulate: false });
                Kept::Nothing
            }
            Op::Unflatten => {
                let shape = [self.batch, 1, graph.features(node.inputs[0])];
                self.push("unflatten forward", Call::Flatten { input, output, shape, back: true, accumulate: false });
                Kept::Nothing
            }
            Op::Dropout { probability, layer } => {
                self.dropout([input, output], probability, layer, false);
                Kept::Nothing
            }
            Op::Activate(activation) => {
                let operation = Elementwise::Activate(activation);
                let name = format!("{activation} forward");
                self.push(&name, Call::Elementwise { operation, left: input, right: None, output, accumulate: false });
                Kept::Saved(if activation.saves_input() { input } else { output })
            }
            Op::Add => {
                let right = Some(values[node.inputs[1].0]);
                let operation = Elementwise::Add;
                self.push(
                    "add forward",
                    Call::Elementwise { operation, left: input, right, output, accumulate: false },
                );
                Kept::Nothing
            }
        })
    }

    /// A dropout in training, a copy otherwise; backward is the same.
    pub(super) fn dropout(&mut self, [input, output]: [SlotId; 2], probability: f32, layer: usize, accumulate: bool) {
        let call = if self.mode.trains() {
            Call::Dropout { input, output, layer, probability, accumulate }
        } else {
            Call::Elementwise { operation: Elementwise::Copy, left: input, right: None, output, accumulate }
        };
        self.push("dropout", call);
    }

    /// A slot for the pre-activation where backward will want it.
    fn pre_activation(&mut self, activation: Activation, words: usize) -> Option<SlotId> {
        (self.mode.has_backward() && activation.saves_input()).then(|| self.slot("pre-activation", words))
    }

    fn linear(
        &mut self,
        graph: &Graph,
        node: &Node,
        [input, output]: [SlotId; 2],
        [weight, bias]: [ParamId; 2],
        activation: Activation,
    ) -> Kept {
        let n = graph.features(node.output);
        let pre = self.pre_activation(activation, n);
        let call = Call::Matmul(MatmulCall {
            layout: MatmulLayout::Forward,
            shape: [self.batch, n, graph.features(node.inputs[0])],
            epilogue: Epilogue::BiasActivation { activation, store_pre: pre.is_some() },
            accumulate: false,
            a: Tensor::Slot(input),
            b: Tensor::Weight(weight),
            aux: Some(Tensor::Weight(bias)),
            c: Tensor::Slot(output),
            pre,
        });
        self.push(&format!("{} forward", module_name(graph, weight)), call);
        Kept::Saved(pre.unwrap_or(output))
    }

    fn conv(
        &mut self,
        graph: &Graph,
        shape: &ConvShape,
        [input, output]: [SlotId; 2],
        (weight, bias): (ParamId, Option<ParamId>),
        activation: Activation,
        words: usize,
    ) -> Kept {
        let name = module_name(graph, weight);
        let b = self.packed(name, shape, weight);
        let pre = self.pre_activation(activation, words);
        let epilogue = if bias.is_none() && activation == Activation::Identity {
            Epilogue::Plain
        } else {
            Epilogue::BiasActivation { activation, store_pre: pre.is_some() }
        };
        let aux = bias.map(Tensor::Weight);
        let (a, c) = (Tensor::Slot(input), Tensor::Slot(output));
        let (pass, shape) = (ConvPass::Forward, *shape);
        let call = ConvCall { pass, shape, epilogue, accumulate: false, a, b, aux, c, pre };
        self.push(&format!("{name} forward"), call.into());
        Kept::Saved(pre.unwrap_or(output))
    }

    /// A convolution's weights as its products read them: packed or as they are. Packed weights are packed again
    /// for backward rather than kept, which costs one sweep over the weights and saves their memory in between.
    pub(super) fn packed(&mut self, name: &str, shape: &ConvShape, weight: ParamId) -> Tensor {
        if !shape.reads_packed() {
            return Tensor::Weight(weight);
        }
        let output = self.slot_of("packed weights", shape.packed_words(), self.element);
        let call = Call::Pack { weight: Tensor::Weight(weight), output, shape: *shape };
        self.push(&format!("{name} pack"), call);
        Tensor::Slot(output)
    }

    fn batch_norm(
        &mut self,
        graph: &Graph,
        node: &Node,
        op: BatchNormOp,
        residual: Option<SlotId>,
        [x, y]: [SlotId; 2],
    ) -> Result<Kept, GraphError> {
        let name = module_name(graph, op.weight).to_owned();
        let of = graph.shape(node.inputs[0]);
        if self.mode.has_tangents() {
            let shape = norm_shape(graph, self.batch, node.inputs[0], 1, false, op.eps)?;
            let xhat = self.slot("normalised", of.words());
            let running = op.running;
            let call =
                Call::ChannelNormalise { shape, running, input: x, output: xhat, centre: true, accumulate: false };
            self.push(&format!("{name} normalise"), call);
            self.affine(&name, shape, [xhat, y], [op.weight, op.bias]);
            return Ok(Kept::Normalised { xhat, inv_std: None });
        }
        let shape = BatchNormShape { batch: self.batch, pixels: of.pixels(), channels: of.channels() };
        let partials = (self.mode != Mode::Evaluate).then(|| self.slot_words("partial sums", shape.partial_words()));
        let table = self.slot_words("batch norm table", shape.table_words());
        let call = BatchNormCall { shape, op, x, residual, partials, table, y };
        self.push(&format!("{name} forward"), Call::BatchNorm(call));
        Ok(Kept::BatchNorm(call))
    }

    fn affine(&mut self, name: &str, shape: NormShape, [xhat, y]: [SlotId; 2], [weight, bias]: [ParamId; 2]) {
        let (scale, shift) = (Tensor::Weight(weight), Some(Tensor::Weight(bias)));
        let call = AffineCall { shape, input: xhat, other: y, scale, shift, accumulate: false };
        self.push(&format!("{name} affine"), Call::Affine(call));
    }

    fn norm(&mut self, graph: &Graph, node: &Node, op: NormOp, [x, y]: [SlotId; 2]) -> Result<Kept, GraphError> {
        let name = module_name(graph, op.weight).to_owned();
        let shape = norm_shape(graph, self.batch, node.inputs[0], op.groups, op.per_pixel, op.eps)?;
        let xhat = self.slot("normalised", graph.shape(node.inputs[0]).words());
        let inv_std = self.slot_words("inverse deviations", shape.group_count());
        self.push(&format!("{name} normalise"), Call::GroupNormalise { shape, input: x, xhat, inv_std });
        self.affine(&name, shape, [xhat, y], [op.weight, op.bias]);
        Ok(Kept::Normalised { xhat, inv_std: Some(inv_std) })
    }
}
