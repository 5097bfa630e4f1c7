//! Convolutional networks drawn at random, which between them hold every operation and every fusion.

use std::collections::BTreeSet;

use crate::common::hash;
use jostle::{
    graph::{Call, Graph, Node, PlanMode, Schedule, ValueId, ValueShape},
    kernels::{Activation, ConvOptions, ConvPass, Epilogue},
    ops::{self, BatchNormBackward, BatchNormForward, ConvProduct, Loss, Pool, PoolBackward},
};

/// Those that networks are drawn with; GELU stands for both of its forms.
const ACTIVATIONS: [Activation; 6] =
    [Activation::Identity, Activation::Relu, Activation::Gelu, Activation::Tanh, Activation::Sigmoid, Activation::Silu];

/// As many seeds draw all that there is.
pub const NETWORKS: u64 = 16;
pub const CLASSES: usize = 3;
pub const BATCH: usize = 6;

/// Choices drawn from a seed.
struct Draw {
    seed: u64,
    drawn: u64,
}

impl Draw {
    fn below(&mut self, count: usize) -> usize {
        self.drawn += 1;
        (hash(self.seed, 1000 + self.drawn) % count as u64) as usize
    }

    fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    fn pair(&mut self, least: usize, most: usize) -> [usize; 2] {
        [(); 2].map(|()| least + self.below(most - least + 1))
    }
}

/// A network under construction.
struct Builder {
    draw: Draw,
    graph: Graph,
    value: ValueId,
    layers: usize,
}

impl Builder {
    fn name(&mut self) -> String {
        self.layers += 1;
        format!("layer{}", self.layers)
    }

    fn image(&self) -> [usize; 3] {
        self.graph.shape(self.value).image().unwrap()
    }

    fn conv(&mut self, channels: usize, options: ConvOptions) {
        let (name, bias) = (self.name(), self.draw.below(2) == 0);
        self.value = self.graph.conv(self.value, &name, channels, options, bias).unwrap();
    }

    fn random_conv(&mut self, depthwise: bool) {
        let [height, width, inputs] = self.image();
        let groups = if depthwise { inputs } else { self.draw.pick(&[1, 1, 2, 3]) };
        let groups = if inputs.is_multiple_of(groups) { groups } else { 1 };
        let options = ConvOptions {
            kernel: self.draw.pair(1, 3),
            stride: self.draw.pair(1, 2),
            padding: self.draw.pair(0, 2),
            dilation: self.draw.pair(1, 2),
            groups,
        };
        let fits = options.output_size([height, width]).is_some();
        let options = if fits { options } else { ConvOptions { groups, ..ConvOptions::square(1) } };
        let per_group = 1 + self.draw.below(if groups == 1 { 7 } else { 2 });
        self.conv(groups * per_group, options);
    }

    fn batch_norm(&mut self) {
        let name = self.name();
        self.value = self.graph.batch_norm(self.value, &name).unwrap();
    }

    fn norm(&mut self) {
        let name = self.name();
        let channels = self.graph.shape(self.value).channels();
        self.value = match self.draw.below(5) {
            0 | 1 => self.graph.batch_norm(self.value, &name),
            2 => {
                let groups = self.draw.pick(&[1, 2, 3]);
                self.graph.group_norm(self.value, &name, if channels.is_multiple_of(groups) { groups } else { 1 })
            }
            3 => self.graph.layer_norm(self.value, &name),
            _ => Ok(self.value),
        }
        .unwrap();
    }

    fn activate(&mut self) {
        let activation = match self.draw.pick(&ACTIVATIONS) {
            // Either form of it, so near to each other that the network stays what it is.
            Activation::Gelu if self.graph.nodes().len().is_multiple_of(2) => Activation::GeluTanh,
            activation => activation,
        };
        self.value = self.graph.activate(self.value, activation).unwrap();
    }

    fn pool(&mut self) {
        let [height, width, _] = self.image();
        let (kernel, stride, count_padding) = (self.draw.pair(1, 3), self.draw.pair(1, 2), self.draw.below(2) == 0);
        let padding = kernel.map(|side| self.draw.below(side / 2 + 1));
        let pool = match self.draw.below(2) {
            0 => Pool::Max { kernel, stride, padding },
            _ => Pool::Average { kernel, stride, padding, count_padding },
        };
        let pool = if pool.output_size([height, width]).is_some() { pool } else { Pool::max(1) };
        self.value = self.graph.pool(self.value, pool).unwrap();
    }

    /// ResNet's block, its sum and last activation to be taken into the batch norm, the skip on either side of the sum.
    fn residual(&mut self) {
        let (skip, [.., channels]) = (self.value, self.image());
        self.conv(channels, ConvOptions::square(3).padding(1));
        self.batch_norm();
        if self.draw.below(2) == 0 {
            self.activate();
            self.conv(channels, ConvOptions { dilation: [2, 1], padding: [2, 1], ..ConvOptions::square(3) });
            self.batch_norm();
        }
        let sides = if self.draw.below(2) == 0 { [self.value, skip] } else { [skip, self.value] };
        self.value = self.graph.add(sides[0], sides[1]).unwrap();
        let activation = self.draw.pick(&[Activation::Relu, Activation::Relu, Activation::Gelu, Activation::Tanh]);
        self.value = self.graph.activate(self.value, activation).unwrap();
        if self.draw.below(2) == 0 {
            // Once more: its gradient comes from here before it comes from the block.
            self.value = self.graph.add(self.value, skip).unwrap();
        }
    }

    /// The block that begins with its norm and activation, or is a norm alone: the skip reads what its norm reads.
    fn pre_activation(&mut self) {
        let (skip, [.., channels]) = (self.value, self.image());
        self.norm();
        if self.draw.below(2) == 0 {
            self.activate();
            self.conv(channels, ConvOptions { groups: channels, ..ConvOptions::square(3).padding(1) });
        }
        self.value = self.graph.add(skip, self.value).unwrap();
    }

    fn dropout(&mut self) {
        let probability = self.draw.pick(&[0.1, 0.3, 0.5]);
        self.value = self.graph.dropout(self.value, probability).unwrap();
    }
}

pub fn network(seed: u64) -> Graph {
    let mut draw = Draw { seed, drawn: 0 };
    let ([height, width], channels) = (draw.pair(5, 8), 1 + draw.below(5));
    let (graph, value) = Graph::with_input(ValueShape::Image { channels, height, width }).unwrap();
    let mut net = Builder { draw, graph, value, layers: 0 };
    net.random_conv(false);
    net.activate();
    for block in 0..3 {
        match (seed + block * 3 + net.draw.below(2) as u64) % 6 {
            0 | 1 => {
                let depthwise = net.draw.below(2) == 0;
                net.random_conv(depthwise);
                net.norm();
                net.activate();
            }
            2 | 3 => net.residual(),
            4 => net.pre_activation(),
            _ => net.dropout(),
        }
        if block == 1 {
            net.pool();
        }
    }
    if net.draw.below(2) == 0 {
        let output = net.draw.pair(1, 3);
        net.value = net.graph.pool(net.value, Pool::AdaptiveAverage { output }).unwrap();
    }
    net.value = net.graph.flatten(net.value).unwrap();
    if net.draw.below(2) == 0 {
        let (name, features) = (net.name(), 5 + net.draw.below(4));
        net.value = net.graph.linear(net.value, &name, features, Activation::Identity).unwrap();
        if net.draw.below(2) == 0 {
            net.batch_norm()
        } else {
            net.norm()
        }
        net.activate();
        net.dropout();
    }
    net.graph.linear(net.value, "out", CLASSES, Activation::Identity).unwrap();
    net.graph
}
/// Whether `value` is a batch norm of one of `inputs`.
fn normalises(graph: &Graph, value: ValueId, inputs: &[ValueId]) -> bool {
    let mut norms = graph.nodes().iter().filter(|node| node.op_as::<ops::BatchNorm>().is_some());
    norms.any(|node| node.output == value && inputs.contains(&node.inputs[0]))
}

/// What the networks have to hold of a node.
fn operation(graph: &Graph, node: &Node) -> Option<String> {
    if let Some(ops::Conv { options, .. }) = node.op_as() {
        let [.., channels] = graph.shape(node.inputs[0]).image().unwrap();
        let kind = match options.groups {
            1 => "conv",
            groups if groups == channels => "depthwise",
            _ => "grouped",
        };
        return Some(kind.to_owned());
    }
    if let Some(pool) = node.op_as::<Pool>() {
        return Some(match pool {
            Pool::Max { .. } => "max pool".to_owned(),
            Pool::Average { count_padding, .. } => format!("average pool {count_padding}"),
            Pool::AdaptiveAverage { .. } => "adaptive pool".to_owned(),
        });
    }
    if let Some(ops::Activate(activation)) = node.op_as() {
        return Some(activation.name().to_owned());
    }
    let added = node.op_as::<ops::Add>().is_some();
    if added && node.inputs.iter().any(|value| normalises(graph, *value, &node.inputs)) {
        return Some("batch norm and its own input added".to_owned());
    }
    let name = node.op.name();
    ["layer norm", "group norm", "dropout", "unflatten"].contains(&name).then(|| name.to_owned())
}

/// What the networks have to hold of a call.
fn fusion(call: &Call) -> Option<String> {
    if let Some(BatchNormForward { residual, activation, .. }) = call.kernel_as() {
        let residual = if *residual { " with residual" } else { "" };
        return Some(format!("batch norm{residual}, {activation}"));
    }
    if let Some(BatchNormBackward { residual, .. }) = call.kernel_as() {
        let residual = *residual && call.adds(BatchNormBackward::GRAD_RESIDUAL);
        let input = call.adds(BatchNormBackward::GRAD_INPUT);
        return match (input, residual) {
            (true, _) => Some("batch norm's gradient added".to_owned()),
            (false, true) => Some("residual's gradient added".to_owned()),
            (false, false) => None,
        };
    }
    if let Some(ConvProduct { pass, epilogue, .. }) = call.kernel_as() {
        if matches!(epilogue, Epilogue::ActivationGradient(_)) {
            return Some("conv's gradient, activation".to_owned());
        }
        let added = *pass == ConvPass::DataGradient && call.operands[2].adds();
        return added.then(|| "conv's gradient added".to_owned());
    }
    let pool: &PoolBackward = call.kernel_as()?;
    (pool.activation != Activation::Identity).then(|| "pool's gradient, activation".to_owned())
}

/// The seeds draw every operation and every fusion.
#[test]
fn the_networks_hold_every_operation() {
    let mut found = BTreeSet::new();
    for seed in 0..NETWORKS {
        let graph = network(seed);
        for node in graph.nodes() {
            let Some(kind) = operation(&graph, node) else { continue };
            found.insert(kind);
        }
        for step in Schedule::new(&graph, BATCH, PlanMode::Train, Loss::Nll).unwrap().steps {
            let Some(fused) = fusion(&step.call) else { continue };
            found.insert(fused);
        }
    }
    let expected = "adaptive pool; average pool false; average pool true; batch norm with residual, identity; \
                    batch norm with residual, relu; batch norm with residual, tanh; batch norm, identity; \
                    batch norm and its own input added; batch norm, relu; batch norm, tanh; batch norm's gradient added; conv; conv's gradient added; \
                    conv's gradient, activation; depthwise; dropout; gelu; gelu_tanh; group norm; grouped; identity; layer norm; \
                    max pool; pool's gradient, activation; relu; residual's gradient added; sigmoid; silu; tanh; \
                    unflatten";
    let missing: Vec<&str> = expected.split("; ").filter(|name| !found.contains(*name)).collect();
    assert!(missing.is_empty(), "{missing:?} of {found:?}");
}
