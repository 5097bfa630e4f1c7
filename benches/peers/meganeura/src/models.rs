//! The networks, built as jostle builds them, of what Meganeura trains: it has no batch norm, and its max pool's gradient is
//! that of a mean.

use meganeura::{Graph, NodeId};

use crate::Failure;

/// A tensor that training changes.
#[derive(Clone, Debug)]
pub struct Parameter {
    pub name: String,
    pub len: usize,
    /// Terms of each sum that it is in.
    pub fan_in: usize,
}

/// A network with its loss, for one size of batch.
pub struct Network {
    pub graph: Graph,
    pub parameters: Vec<Parameter>,
    /// Of a sample.
    pub features: usize,
    pub classes: usize,
}

/// A network under construction.
struct Builder {
    graph: Graph,
    parameters: Vec<Parameter>,
    batch: usize,
}

/// Images [batch, channels, side, side], flat.
#[derive(Clone, Copy)]
struct Images {
    node: NodeId,
    channels: usize,
    side: usize,
}

impl Builder {
    fn parameter(&mut self, name: String, shape: &[usize], fan_in: usize) -> NodeId {
        let node = self.graph.parameter(&name, shape);
        self.parameters.push(Parameter { name, len: shape.iter().product(), fan_in });
        node
    }

    /// x W + b
    fn linear(&mut self, name: &str, x: NodeId, [inputs, outputs]: [usize; 2]) -> NodeId {
        let weight = self.parameter(format!("{name}.weight"), &[inputs, outputs], inputs);
        let bias = self.parameter(format!("{name}.bias"), &[outputs], inputs);
        let product = self.graph.matmul(x, weight);
        self.graph.bias_add(product, bias)
    }

    /// A square convolution that keeps the image's size, but for its stride.
    fn conv(&mut self, name: &str, x: Images, outputs: usize, kernel: usize, stride: usize) -> Images {
        let fan_in = x.channels * kernel * kernel;
        let weight = self.parameter(format!("{name}.weight"), &[outputs * fan_in], fan_in);
        let bias = self.parameter(format!("{name}.bias"), &[outputs], fan_in);
        let [batch, inputs, side, out, kernel, step] =
            [self.batch, x.channels, x.side, outputs, kernel, stride].map(|size| size as u32);
        let padding = kernel / 2;
        let node = self.graph.conv2d(x.node, weight, batch, inputs, side, side, out, kernel, kernel, step, padding);
        let side = x.side.div_ceil(stride);
        let node = self.graph.add_per_channel(node, bias, out, (side * side) as u32);
        Images { node, channels: outputs, side }
    }

    fn relu(&mut self, x: Images) -> Images {
        Images { node: self.graph.relu(x.node), ..x }
    }

    /// Two convolutions beside a shortcut, a 1 x 1 convolution where sizes differ.
    fn block(&mut self, name: &str, x: Images, outputs: usize, stride: usize) -> Images {
        let inner = self.conv(&format!("{name}.conv1"), x, outputs, 3, stride);
        let inner = self.relu(inner);
        let inner = self.conv(&format!("{name}.conv2"), inner, outputs, 3, 1);
        let shortcut = if stride != 1 || x.channels != outputs {
            self.conv(&format!("{name}.shortcut"), x, outputs, 1, stride)
        } else {
            x
        };
        let sum = self.graph.add(inner.node, shortcut.node);
        self.relu(Images { node: sum, ..inner })
    }

    fn finish(mut self, logits: NodeId, [features, classes]: [usize; 2]) -> Network {
        let labels = self.graph.input("labels", &[self.batch, classes]);
        let loss = self.graph.cross_entropy_loss(logits, labels);
        self.graph.set_outputs(vec![loss]);
        Network { graph: self.graph, parameters: self.parameters, features, classes }
    }
}

impl Network {
    /// The network of that name.
    pub fn new(name: &str, batch: usize) -> Result<Self, Failure> {
        let builder = Builder { graph: Graph::new(), parameters: Vec::new(), batch };
        match name {
            "resnet18-plain" => Ok(resnet18(builder)),
            other => Ok(mlp(builder, &widths(other)?)),
        }
    }
}

/// Linear layers with a ReLU after each but the last.
fn mlp(mut builder: Builder, widths: &[usize]) -> Network {
    let mut x = builder.graph.input("x", &[builder.batch, widths[0]]);
    for (layer, pair) in widths.windows(2).enumerate() {
        if layer > 0 {
            x = builder.graph.relu(x);
        }
        x = builder.linear(&format!("linear{layer}"), x, [pair[0], pair[1]]);
    }
    builder.finish(x, [widths[0], widths[widths.len() - 1]])
}

/// ResNet-18 in CIFAR form without norms, each convolution with a bias: `models/resnet18-plain.toml`.
fn resnet18(mut builder: Builder) -> Network {
    let features = 3 * 32 * 32;
    let node = builder.graph.input("x", &[builder.batch * features]);
    let mut x = builder.conv("conv1", Images { node, channels: 3, side: 32 }, 64, 3, 1);
    x = builder.relu(x);
    for stage in 0..4 {
        for block in 0..2 {
            let stride = if stage > 0 && block == 0 { 2 } else { 1 };
            x = builder.block(&format!("layer{}.{block}", stage + 1), x, 64 << stage, stride);
        }
    }
    let [batch, spatial] = [builder.batch, x.side * x.side].map(|size| size as u32);
    let pooled = builder.graph.global_avg_pool(x.node, batch, x.channels as u32, spatial);
    let logits = builder.linear("linear", pooled, [x.channels, 10]);
    builder.finish(logits, [features, 10])
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
