//! The activation arena of training steps at batch 128: how near it is to what no order of backward can do without, and
//! that it fits buffers of 128 MiB.

use std::collections::HashSet;

use crate::common::{device, images::hashed_images};
use jostle::{
    gpu::{Element, Limits},
    graph::{Graph, Node, Op, Plan, PlanMode, Schedule, ValueId, memory},
    kernels::{Activation, Arena, ConvShape, Target},
    nn::{Model, Signature},
    ops::{self, Loss, Pool},
    optim::OptimizerKind,
    train::{DeviceData, Footprint},
};

const BATCH: usize = 128;
const WORD: usize = 4;
const BUFFER_BYTES: u64 = 128 << 20;
/// The arena may be larger than the bound by this factor.
const MARGIN: f64 = 1.15;

fn model(name: &str) -> Model {
    Model::build(name, &Signature::default()).unwrap()
}

fn is<O: Op>(node: &Node) -> bool {
    node.op_as::<O>().is_some()
}

/// Backward in the order of the nodes, each op taking what its own derivative needs: nothing is computed twice.
struct Backward<'a> {
    graph: &'a Graph,
}

impl Backward<'_> {
    /// Bytes of values, images with their channels padded to 4.
    fn bytes<'v>(&self, values: impl IntoIterator<Item = &'v ValueId>) -> usize {
        values.into_iter().map(|value| BATCH * WORD * self.graph.shape(*value).words()).sum()
    }

    /// The value that a node's backward reads: a product or norm its input, a ReLU the sign of its output, which mostly is
    /// the input of the next; after a norm it finds that sign again from the norm's input. A sum, a mean and a flattening read
    /// none, nor does a dropout, whose mask is drawn again.
    fn saved(&self, node: &Node) -> Option<ValueId> {
        let identity = |activation: Activation| activation == Activation::Identity;
        let product = node.op_as::<ops::Linear>().is_some_and(|op| identity(op.activation))
            || node.op_as::<ops::Conv>().is_some_and(|op| identity(op.activation));
        if product || node.op_as::<ops::BatchNorm>().is_some() {
            Some(node.inputs[0])
        } else if node.op_as::<ops::Activate>() == Some(&ops::Activate(Activation::Relu)) {
            let mut norms = self.graph.nodes().iter().filter(|node| is::<ops::BatchNorm>(node));
            norms.all(|norm| norm.output != node.inputs[0]).then_some(node.output)
        } else {
            let others = [is::<Pool>(node), is::<ops::Add>(node), is::<ops::Flatten>(node), is::<ops::Dropout>(node)];
            assert!(others.contains(&true), "not in these networks: {:?}", node.op);
            None
        }
    }

    /// What is kept beside values: a byte for each choice of a max pool, mean and deviation of each channel, and for a data
    /// gradient the weights as forward's kernel has read them, packed.
    fn beside(&self, node: &Node) -> usize {
        if node.op_as::<Pool>().is_some_and(Pool::chooses) {
            BATCH * self.graph.features(node.output)
        } else if let Some(conv) = node.op_as::<ops::Conv>().filter(|_| node.inputs[0] != self.graph.input()) {
            let input = self.graph.shape(node.inputs[0]).image().unwrap();
            let shape = ConvShape::new(BATCH, input, conv.channels, &conv.options).unwrap();
            if shape.reads_packed() { WORD * shape.packed_words() } else { 0 }
        } else if is::<ops::BatchNorm>(node) {
            2 * WORD * self.graph.shape(node.output).channels()
        } else {
            0
        }
    }

    /// Bytes that the backward of the nodes up to `last` still needs from forward.
    fn kept(&self, last: usize) -> usize {
        let nodes = &self.graph.nodes()[..=last];
        let values: HashSet<ValueId> = nodes.iter().filter_map(|node| self.saved(node)).collect();
        self.bytes(&values) + nodes.iter().map(|node| self.beside(node)).sum::<usize>()
    }

    /// Bytes while a node's backward runs. A pool's two gradients are there at once; a product is done with its input
    /// before it makes the gradient of that; the other ops work by elements, in place. The gradient that waits at the
    /// other end of a residual connection is left out.
    fn during(&self, last: usize, node: &Node) -> usize {
        let [input, output] = [node.inputs[0], node.output].map(|value| self.bytes([&value]));
        let own = self.kept(last) + output;
        if is::<Pool>(node) {
            own + input
        } else if last > 0 && (is::<ops::Linear>(node) || is::<ops::Conv>(node)) {
            own.max(self.kept(last - 1) + output + input)
        } else {
            own
        }
    }

    /// Bytes kept when the loss is reached, and the most at any point from there on.
    fn bounds(&self) -> [usize; 2] {
        let nodes = self.graph.nodes();
        let most = nodes.iter().enumerate().map(|(last, node)| self.during(last, node)).max();
        [self.kept(nodes.len() - 1), most.unwrap()]
    }
}

fn check(name: &str) {
    let graph = model(name).graph;
    let schedule = Schedule::new(&graph, BATCH, PlanMode::Train, Loss::Nll).unwrap();
    let [at_loss, most] = Backward { graph: &graph }.bounds();
    let whole = WORD * schedule.placement(usize::MAX / 64 * 64).words;
    let banked = WORD * schedule.placement(memory::bank_words(BUFFER_BYTES)).words;
    let ratio = |bytes: usize, bound: usize| bytes as f64 / bound as f64;
    let [loss_ratio, whole_ratio, banked_ratio] = [ratio(whole, at_loss), ratio(whole, most), ratio(banked, most)];
    println!(
        "{name}: {at_loss} B kept at the loss, {most} B at most; arena {whole} B, {loss_ratio:.3} and {whole_ratio:.3} times"
    );
    assert!(at_loss <= most && most <= whole, "{name}: the bound is none");
    assert!(whole_ratio <= MARGIN && banked_ratio <= MARGIN, "{name}: {whole_ratio}, in buffers {banked_ratio}");
}

#[test]
fn the_arena_is_near_what_backward_needs() {
    for name in ["resnet18", "cnn2", "vgg11-bn"] {
        check(name);
    }
}

/// Parts of sums that are put off lie where backward has left room.
#[test]
fn deferred_sums_take_little_memory() {
    for name in ["resnet18", "cnn2", "vgg11-bn"] {
        let model = model(name);
        let schedule = Schedule::new(&model.graph, BATCH, PlanMode::Train, Loss::Nll).unwrap();
        let class = Target::GENERIC.class;
        let bytes = |schedule: &Schedule| {
            WORD * (schedule.placement(usize::MAX / 64 * 64).words + schedule.scratch_words(class).unwrap())
        };
        let [at_once, deferred] = [bytes(&schedule), bytes(&schedule.clone().with_deferred_sums(class).unwrap())];
        println!("{name}: {at_once} B of activations and scratch, {deferred} B with sums put off");
        assert!(deferred as f64 <= MARGIN * at_once as f64, "{name}: {deferred} for {at_once}");
    }
}

#[test]
fn no_tensor_lies_in_two_buffers() {
    for name in ["resnet18", "vgg11-bn"] {
        let model = model(name);
        let schedule = Schedule::new(&model.graph, BATCH, PlanMode::Train, Loss::Nll).unwrap();
        let placement = schedule.placement(memory::bank_words(BUFFER_BYTES));
        let banks: Vec<usize> = placement.banks().collect();
        assert!(banks.len() > 1, "{name}: nothing to cut");
        assert!(banks.iter().all(|words| (words * WORD) as u64 <= BUFFER_BYTES), "{name}: {banks:?}");
        for (slot, planned) in schedule.slots.iter().enumerate() {
            let (bank, start) = placement.place_of(slot);
            assert!(start + planned.words() <= banks[bank], "{name}: {} does not end in its buffer", planned.name);
        }
        assert!((model.graph.layout().words() * WORD) as u64 <= BUFFER_BYTES, "{name}: the weights");
    }
}

/// What WebGPU grants everywhere holds a step, though not its activations in one buffer.
#[test]
fn default_limits_hold_resnet18() {
    let limits =
        Limits { buffer_bytes: 256 << 20, binding_bytes: 128 << 20, workgroups: 65_535, workgroup_bytes: 16 << 10 };
    let refusal = |name: &str, batch| {
        Footprint::new(&model(name), batch, OptimizerKind::Sgd, Element::Word, &Target::GENERIC)
            .unwrap()
            .0
            .excess(limits)
    };
    assert_eq!(refusal("resnet18", BATCH), None);
    assert!(refusal("resnet18", 1024).unwrap().contains("largest tensor"));
    assert!(refusal("mlp:9000-9000-10", 1).unwrap().contains("a buffer holds"));
}

/// Binds every call of a step on the device, which allocates all of its memory.
#[test]
fn a_step_of_resnet18_is_planned() {
    let (gpu, model) = (device(), model("resnet18"));
    let schedule = Schedule::new(&model.graph, BATCH, PlanMode::Train, Loss::Nll).unwrap();
    let arena = Arena::new(gpu, model.graph.layout(), &vec![0.0; model.graph.params().len()]).unwrap();
    let data = DeviceData::new(gpu, hashed_images(1, BATCH), BATCH, &[[0.0, 1.0]]).unwrap();
    let metrics = gpu.buffer("metrics", 2).unwrap();
    Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view()).unwrap();
}
