//! The paper's convolutional networks and their kin, with PyTorch's parameter names.

use crate::{
    graph::{Graph, GraphError, ValueId, ValueShape},
    kernels::{Activation, ConvOptions},
    ops::Pool,
};

/// What goes into a model and what comes out, as MLflow's model signature says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Signature {
    /// Shape of a sample.
    pub input: ValueShape,
    /// Classes to tell apart.
    pub classes: usize,
}

impl Default for Signature {
    /// CIFAR-10.
    fn default() -> Self {
        Self { input: ValueShape::Image { channels: 3, height: 32, width: 32 }, classes: 10 }
    }
}

/// What may be chosen of a model beside its description.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ModelOptions {
    /// Chance of a zero in every dropout of a model that has some by its description; its own where not given.
    pub dropout: Option<f32>,
}

/// A network by name.
pub(super) struct Entry {
    pub(super) name: &'static str,
    /// Channels of the first stage, for networks that can be had in any width.
    pub(super) width: Option<usize>,
    /// Builds it in a width.
    pub(super) build: fn(&Signature, usize) -> Result<Graph, GraphError>,
}

const fn fixed(name: &'static str, build: fn(&Signature, usize) -> Result<Graph, GraphError>) -> Entry {
    Entry { name, width: None, build }
}

const fn scaled(name: &'static str, width: usize, build: fn(&Signature, usize) -> Result<Graph, GraphError>) -> Entry {
    Entry { name, width: Some(width), build }
}

/// The networks by name.
pub(super) const ZOO: [Entry; 9] = [
    fixed("cnn1", |signature, _| cnn1(signature)),
    fixed("cnn2", |signature, _| cnn(signature, &[])),
    fixed("cnn3", |signature, _| cnn(signature, &[5000])),
    scaled("resnet18", 64, |signature, width| resnet(signature, width, &[2, 2, 2, 2])),
    scaled("resnet34", 64, |signature, width| resnet(signature, width, &[3, 4, 6, 3])),
    scaled("resnet20", 16, |signature, width| resnet(signature, width, &[3, 3, 3])),
    scaled("resnet56", 16, |signature, width| resnet(signature, width, &[9, 9, 9])),
    scaled("vgg11-bn", 64, |signature, width| vgg(signature, width, &[&[1], &[2], &[4; 2], &[8; 2], &[8; 2]])),
    scaled("vgg16-bn", 64, |signature, width| vgg(signature, width, &[&[1; 2], &[2; 2], &[4; 3], &[8; 3], &[8; 3]])),
];

fn three() -> ConvOptions {
    ConvOptions::square(3).padding(1)
}

/// Linear layers `fc1`, `fc2`, ... (or `fc` if there is one) with ReLU between, the last to the classes.
fn fully_connected(graph: &mut Graph, mut value: ValueId, hidden: &[usize], classes: usize) -> Result<(), GraphError> {
    let widths: Vec<usize> = hidden.iter().copied().chain([classes]).collect();
    for (layer, width) in widths.iter().enumerate() {
        let name = if widths.len() == 1 { "fc".to_owned() } else { format!("fc{}", layer + 1) };
        value = graph.linear(value, &name, *width, Activation::Identity)?;
        if layer + 1 < widths.len() {
            value = graph.activate(value, Activation::Relu)?;
        }
    }
    Ok(())
}

/// The paper's CNN1: two 5 x 5 convolutions to 6 and 16 channels, each with ReLU and max pool, then 120-84.
fn cnn1(signature: &Signature) -> Result<Graph, GraphError> {
    let (mut graph, mut value) = Graph::with_input(signature.input)?;
    for (layer, channels) in [6, 16].into_iter().enumerate() {
        value = graph.conv(value, &format!("conv{}", layer + 1), channels, ConvOptions::square(5), true)?;
        value = graph.activate(value, Activation::Relu)?;
        value = graph.pool(value, Pool::max(2))?;
    }
    value = graph.flatten(value)?;
    fully_connected(&mut graph, value, &[120, 84], signature.classes)?;
    Ok(graph)
}

/// The paper's CNN2 and CNN3: four 3 x 3 convolutions to 32, 128, 128, 128 channels, each with ReLU and max pool, a mean
/// over what is left, then linear layers.
fn cnn(signature: &Signature, hidden: &[usize]) -> Result<Graph, GraphError> {
    let (mut graph, mut value) = Graph::with_input(signature.input)?;
    for (layer, channels) in [32, 128, 128, 128].into_iter().enumerate() {
        value = graph.conv(value, &format!("conv{}", layer + 1), channels, three(), true)?;
        value = graph.activate(value, Activation::Relu)?;
        value = graph.pool(value, Pool::max(2))?;
    }
    value = graph.pool(value, Pool::global())?;
    value = graph.flatten(value)?;
    fully_connected(&mut graph, value, hidden, signature.classes)?;
    Ok(graph)
}

/// A residual network in CIFAR form: a 3 x 3 stem without pool, stages of basic blocks whose width doubles as the image
/// halves, projections (1 x 1 convolution and batch norm) where the shape changes, a mean, `linear`.
///
/// Source: He, Zhang, Ren, Sun, "Deep residual learning", CVPR 2016.
fn resnet(signature: &Signature, width: usize, stages: &[usize]) -> Result<Graph, GraphError> {
    let (mut graph, input) = Graph::with_input(signature.input)?;
    let mut value = graph.conv(input, "conv1", width, three(), false)?;
    value = graph.batch_norm(value, "bn1")?;
    value = graph.activate(value, Activation::Relu)?;
    for (stage, blocks) in stages.iter().enumerate() {
        for block in 0..*blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            value = basic_block(&mut graph, value, &format!("layer{}.{block}", stage + 1), width << stage, stride)?;
        }
    }
    value = graph.pool(value, Pool::global())?;
    value = graph.flatten(value)?;
    graph.linear(value, "linear", signature.classes, Activation::Identity)?;
    Ok(graph)
}

/// relu(bn2(conv2(relu(bn1(conv1(x))))) + shortcut(x)); parameters in the order of PyTorch's modules.
fn basic_block(
    graph: &mut Graph,
    input: ValueId,
    name: &str,
    channels: usize,
    stride: usize,
) -> Result<ValueId, GraphError> {
    let mut value = graph.conv(input, &format!("{name}.conv1"), channels, three().stride(stride), false)?;
    value = graph.batch_norm(value, &format!("{name}.bn1"))?;
    value = graph.activate(value, Activation::Relu)?;
    value = graph.conv(value, &format!("{name}.conv2"), channels, three(), false)?;
    value = graph.batch_norm(value, &format!("{name}.bn2"))?;
    let mut shortcut = input;
    if stride != 1 || graph.shape(input).channels() != channels {
        let one = ConvOptions::square(1).stride(stride);
        shortcut = graph.conv(input, &format!("{name}.shortcut.0"), channels, one, false)?;
        shortcut = graph.batch_norm(shortcut, &format!("{name}.shortcut.1"))?;
    }
    value = graph.add(value, shortcut)?;
    graph.activate(value, Activation::Relu)
}

/// A VGG with batch norm: stages of 3 x 3 convolutions, each stage ending in a max pool, then two linear layers of 64
/// `width` (4096 as published) with dropout. `stages` are multiples of `width`.
/// Numbers of the modules are those of torchvision's `features` and `classifier`.
///
/// Source: Simonyan & Zisserman, "Very deep convolutional networks", ICLR 2015.
fn vgg(signature: &Signature, width: usize, stages: &[&[usize]]) -> Result<Graph, GraphError> {
    let (mut graph, mut value) = Graph::with_input(signature.input)?;
    let mut index = 0;
    for stage in stages {
        for factor in *stage {
            value = graph.conv(value, &format!("features.{index}"), factor * width, three(), true)?;
            value = graph.batch_norm(value, &format!("features.{}", index + 1))?;
            value = graph.activate(value, Activation::Relu)?;
            index += 3;
        }
        value = graph.pool(value, Pool::max(2))?;
        index += 1;
    }
    value = graph.flatten(value)?;
    for layer in [0, 3] {
        value = graph.linear(value, &format!("classifier.{layer}"), 64 * width, Activation::Identity)?;
        value = graph.activate(value, Activation::Relu)?;
        value = graph.dropout(value, 0.5)?;
    }
    graph.linear(value, "classifier.6", signature.classes, Activation::Identity)?;
    Ok(graph)
}
