//! The networks, built as jostle builds them.

use burn::{
    module::{Module, ModuleVisitor, Param},
    nn::{
        BatchNorm, BatchNormConfig, Dropout, DropoutConfig, Linear, LinearConfig, PaddingConfig2d, Relu,
        conv::{Conv2d, Conv2dConfig},
        pool::{AdaptiveAvgPool2d, AdaptiveAvgPool2dConfig, MaxPool2d, MaxPool2dConfig},
    },
    tensor::{Device, Tensor, activation::relu},
};

use crate::Failure;

/// Channels, height and width of an image: those of CIFAR-10.
pub const IMAGE: [usize; 3] = [3, 32, 32];
/// Of an image network.
const CLASSES: usize = 10;

/// A batch: rows of features, or images.
#[derive(Clone, Debug)]
pub enum Input {
    Rows(Tensor<2>),
    Images(Tensor<4>),
}

/// What maps images to images.
#[derive(Debug, Module)]
pub enum Part {
    Conv(Conv2d),
    Norm(BatchNorm),
    Relu(Relu),
    Pool(MaxPool2d),
    Mean(AdaptiveAvgPool2d),
    Block(Block),
}

/// A residual block; without parts the shortcut is the identity.
#[derive(Debug, Module)]
pub struct Block {
    main: Vec<Part>,
    shortcut: Vec<Part>,
}

/// Linear layers with a ReLU after each but the last, and perhaps dropout behind it.
#[derive(Debug, Module)]
struct Head {
    layers: Vec<Linear>,
    dropout: Option<Dropout>,
}

#[derive(Debug, Module)]
pub struct Network {
    trunk: Vec<Part>,
    head: Head,
}

/// What data a network takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shape {
    /// Features of a row; none if the network takes images.
    pub features: Option<usize>,
    pub classes: usize,
}

impl Part {
    fn forward(&self, value: Tensor<4>) -> Tensor<4> {
        match self {
            Self::Conv(part) => part.forward(value),
            Self::Norm(part) => part.forward(value),
            Self::Relu(part) => part.forward(value),
            Self::Pool(part) => part.forward(value),
            Self::Mean(part) => part.forward(value),
            Self::Block(part) => part.forward(value),
        }
    }
}

fn chain(parts: &[Part], input: Tensor<4>) -> Tensor<4> {
    parts.iter().fold(input, |value, part| part.forward(value))
}

impl Block {
    fn forward(&self, input: Tensor<4>) -> Tensor<4> {
        relu(chain(&self.main, input.clone()) + chain(&self.shortcut, input))
    }
}

impl Head {
    fn new(widths: &[usize], device: &Device) -> Self {
        let layers = widths.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device)).collect();
        Self { layers, dropout: None }
    }

    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(input, |value, (index, layer)| {
            let value = layer.forward(value);
            match &self.dropout {
                _ if index == last => value,
                Some(dropout) => dropout.forward(relu(value)),
                None => relu(value),
            }
        })
    }
}

impl Network {
    /// The network of that name.
    pub fn new(name: &str, device: &Device) -> Result<(Self, Shape), Failure> {
        let (trunk, head) = match name {
            "cnn1" => (cnn1(device), Head::new(&[400, 120, 84, CLASSES], device)),
            "cnn2" => (cnn2(device), Head::new(&[128, CLASSES], device)),
            "resnet18" => (resnet(64, &[2; 4], device), Head::new(&[512, CLASSES], device)),
            "resnet20" => (resnet(16, &[3; 3], device), Head::new(&[64, CLASSES], device)),
            "vgg11-bn" => {
                let trunk = vgg(&[&[64], &[128], &[256; 2], &[512; 2], &[512; 2]], device);
                let dropout = Some(DropoutConfig::new(0.5).init());
                (trunk, Head { dropout, ..Head::new(&[512, 4096, 4096, CLASSES], device) })
            }
            other => {
                let widths = widths(other)?;
                let shape = Shape { features: Some(widths[0]), classes: widths[widths.len() - 1] };
                return Ok((Self { trunk: Vec::new(), head: Head::new(&widths, device) }, shape));
            }
        };
        Ok((Self { trunk, head }, Shape { features: None, classes: CLASSES }))
    }

    pub fn forward(&self, input: Input) -> Tensor<2> {
        self.head.forward(match input {
            Input::Rows(rows) => rows,
            Input::Images(images) => chain(&self.trunk, images).flatten(1, 3),
        })
    }

    /// How many numbers the optimizer changes. Burn draws a weight when it is first asked for, which this does.
    pub fn parameters(&self) -> usize {
        let mut count = Count(0);
        self.visit(&mut count);
        count.0
    }
}

/// Burn's own `num_params` counts the running statistics of batch norms too.
struct Count(usize);

impl ModuleVisitor for Count {
    fn visit_float<const D: usize>(&mut self, parameter: &Param<Tensor<D>>) {
        let value = parameter.val();
        if value.is_require_grad() {
            self.0 += value.shape().num_elements();
        }
    }
}

/// A square convolution that keeps the image's size, but for its stride.
fn same([inputs, outputs]: [usize; 2], side: usize, stride: usize, bias: bool, device: &Device) -> Part {
    let margin = side / 2;
    let config = Conv2dConfig::new([inputs, outputs], [side; 2])
        .with_stride([stride; 2])
        .with_padding(PaddingConfig2d::Explicit(margin, margin, margin, margin))
        .with_bias(bias);
    Part::Conv(config.init(device))
}

fn norm(channels: usize, device: &Device) -> Part {
    Part::Norm(BatchNormConfig::new(channels).init(device))
}

fn max_pool() -> Part {
    Part::Pool(MaxPool2dConfig::new([2, 2]).init())
}

fn mean() -> Part {
    Part::Mean(AdaptiveAvgPool2dConfig::new([1, 1]).init())
}

fn cnn1(device: &Device) -> Vec<Part> {
    let conv = |channels| Part::Conv(Conv2dConfig::new(channels, [5, 5]).init(device));
    [[IMAGE[0], 6], [6, 16]].into_iter().flat_map(|pair| [conv(pair), Part::Relu(Relu::new()), max_pool()]).collect()
}

fn cnn2(device: &Device) -> Vec<Part> {
    let layer = |pair: &[usize]| [same([pair[0], pair[1]], 3, 1, true, device), Part::Relu(Relu::new()), max_pool()];
    [IMAGE[0], 32, 128, 128, 128].windows(2).flat_map(layer).chain([mean()]).collect()
}

fn resnet(width: usize, stages: &[usize], device: &Device) -> Vec<Part> {
    let mut parts = vec![same([IMAGE[0], width], 3, 1, false, device), norm(width, device), Part::Relu(Relu::new())];
    let mut inputs = width;
    for (stage, blocks) in stages.iter().enumerate() {
        for block in 0..*blocks {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            parts.push(Part::Block(basic_block([inputs, width << stage], stride, device)));
            inputs = width << stage;
        }
    }
    parts.push(mean());
    parts
}

fn basic_block([inputs, outputs]: [usize; 2], stride: usize, device: &Device) -> Block {
    let main = vec![
        same([inputs, outputs], 3, stride, false, device),
        norm(outputs, device),
        Part::Relu(Relu::new()),
        same([outputs; 2], 3, 1, false, device),
        norm(outputs, device),
    ];
    let mut shortcut = Vec::new();
    if stride != 1 || inputs != outputs {
        shortcut = vec![same([inputs, outputs], 1, stride, false, device), norm(outputs, device)];
    }
    Block { main, shortcut }
}

fn vgg(stages: &[&[usize]], device: &Device) -> Vec<Part> {
    let mut parts = Vec::new();
    let mut inputs = IMAGE[0];
    for stage in stages {
        for outputs in *stage {
            let conv = same([inputs, *outputs], 3, 1, true, device);
            parts.extend([conv, norm(*outputs, device), Part::Relu(Relu::new())]);
            inputs = *outputs;
        }
        parts.push(max_pool());
    }
    parts
}

/// Of an MLP, from its features to its classes.
fn widths(model: &str) -> Result<Vec<usize>, Failure> {
    let text = match model {
        "mlp1" => "784-500-500-500-10",
        "mlp2" => "784-5000-5000-5000-10",
        "mlp3" => "784-1000-1000-1000-1000-1000-10",
        other => other.strip_prefix("mlp:").ok_or_else(|| format!("unknown model {other:?}"))?,
    };
    let widths: Vec<usize> = text.split('-').map(str::parse).collect::<Result<_, _>>()?;
    if widths.len() < 2 || widths.contains(&0) {
        return Err(format!("{model:?} has no layers, or a width of 0").into());
    }
    Ok(widths)
}
