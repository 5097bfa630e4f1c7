//! A graph evaluated in f64, forward only: node by node as it was built, images channel-first, nothing fused.

use std::collections::HashMap;

use jostle::{
    graph::{Graph, Node, ValueId},
    kernels::{Activation, ConvOptions},
    ops,
    ops::Pool,
};

use super::{
    images::{conv_terms, largest, pool_windows},
    keeps,
    model::Params,
    norm::Norm,
    reference::{activate, linear},
};

/// How a graph is evaluated.
#[derive(Clone, Copy)]
pub enum Setting<'a> {
    /// Batch norms by the batch, dropouts by (seed, step).
    Training([u64; 2]),
    /// Batch norms by running statistics, no dropout.
    Evaluation(Params<'a>),
}

pub struct Interpreter<'a> {
    pub graph: &'a Graph,
    pub setting: Setting<'a>,
    pub params: Params<'a>,
    pub batch: usize,
    /// The least distance of a ReLU's argument from 0, or of a window's largest value from another: how far a value may
    /// move before the derivative jumps.
    pub margin: f64,
}

impl<'a> Interpreter<'a> {
    pub fn new(graph: &'a Graph, setting: Setting<'a>, params: Params<'a>) -> Self {
        Self { graph, setting, params, batch: 0, margin: f64::INFINITY }
    }

    /// The output's rows for samples [channels, height, width].
    pub fn run(&mut self, samples: &[Vec<f64>]) -> Vec<Vec<f64>> {
        self.batch = samples.len();
        let graph = self.graph;
        let mut values = HashMap::from([(graph.input(), samples.concat())]);
        for node in graph.nodes() {
            let output = self.node(node, &values);
            values.insert(node.output, output);
        }
        let output = &values[&graph.output()];
        output.chunks_exact(output.len() / self.batch).map(<[f64]>::to_vec).collect()
    }

    fn node(&mut self, node: &Node, values: &HashMap<ValueId, Vec<f64>>) -> Vec<f64> {
        let (id, x) = (node.inputs[0], &values[&node.inputs[0]]);
        let param = |place: usize| self.params[node.params[place].0].clone();
        if let Some(op) = node.op_as::<ops::Linear>() {
            let (weight, bias) = (param(0), if op.bias { param(1) } else { vec![0.0; op.out_features] });
            let rows = x.chunks_exact(self.graph.features(id));
            let sums = rows.flat_map(|row| linear(&weight, &bias, row)).collect();
            self.activate(op.activation, sums)
        } else if let Some(op) = node.op_as::<ops::Conv>() {
            let bias = op.bias.then(|| param(1));
            let sums = self.conv(node, x, &param(0), bias.as_deref(), &op.options);
            self.activate(op.activation, sums)
        } else if let Some(op) = node.op_as::<ops::BatchNorm>() {
            self.batch_norm(node, x, op)
        } else if let Some(op) = node.op_as::<ops::Norm>() {
            self.norm(node, x, op)
        } else if let Some(pool) = node.op_as::<Pool>() {
            self.pool(id, x, pool)
        } else if let Some(op) = node.op_as::<ops::Dropout>() {
            self.dropout(id, x, op.probability, op.layer)
        } else if let Some(op) = node.op_as::<ops::Activate>() {
            self.activate(op.0, x.clone())
        } else if node.op_as::<ops::Add>().is_some() {
            x.iter().zip(&values[&node.inputs[1]]).map(|(a, b)| a + b).collect()
        } else if node.op_as::<ops::Flatten>().is_some() || node.op_as::<ops::Unflatten>().is_some() {
            // Channel-first images are their own rows.
            x.clone()
        } else {
            panic!("no reference for {:?}", node.op)
        }
    }

    fn activate(&mut self, activation: Activation, x: Vec<f64>) -> Vec<f64> {
        if activation == Activation::Relu {
            // A zero is made by another ReLU or by dropout, and stays.
            let distances = x.iter().map(|x| x.abs()).filter(|distance| *distance > 0.0);
            self.margin = distances.fold(self.margin, f64::min);
        }
        x.into_iter().map(|x| activate(activation, x)).collect()
    }

    fn conv(&self, node: &Node, x: &[f64], weight: &[f64], bias: Option<&[f64]>, options: &ConvOptions) -> Vec<f64> {
        let [input, output] = [node.inputs[0], node.output].map(|id| self.graph.shape(id).image().unwrap());
        let at = |n: usize, [h, w, c]: [usize; 3], [y, x, i]: [usize; 3]| ((n * c + i) * h + y) * w + x;
        let pixels = output[0] * output[1];
        let mut sums: Vec<f64> =
            (0..self.batch * pixels * output[2]).map(|i| bias.map_or(0.0, |b| b[i / pixels % output[2]])).collect();
        for n in 0..self.batch {
            conv_terms(options, input, output, |from, tap, to| {
                sums[at(n, output, to)] += x[at(n, input, from)] * weight[tap];
            });
        }
        sums
    }

    fn batch_norm(&mut self, node: &Node, x: &[f64], op: &ops::BatchNorm) -> Vec<f64> {
        let shape = self.graph.shape(node.inputs[0]);
        let channels: Vec<usize> = (0..x.len()).map(|i| i / shape.pixels() % shape.channels()).collect();
        let (weight, bias, eps) = (&self.params[node.params[0].0], &self.params[node.params[1].0], f64::from(op.eps));
        let y = match self.setting {
            Setting::Training(_) => {
                Norm { sets: channels.clone(), params: channels, eps, about_zero: false }.forward(x, weight, bias)
            }
            Setting::Evaluation(stats) => {
                let [mean, var] = [0, 1].map(|place| &stats[node.stats[place].0]);
                let value = |(x, c): (&f64, &usize)| (x - mean[*c]) / (var[*c] + eps).sqrt() * weight[*c] + bias[*c];
                x.iter().zip(&channels).map(value).collect()
            }
        };
        self.activate(op.activation, y)
    }

    fn norm(&self, node: &Node, x: &[f64], op: &ops::Norm) -> Vec<f64> {
        let shape = self.graph.shape(node.inputs[0]);
        let (pixels, channels) = (shape.pixels(), shape.channels());
        let set = |i: usize| i / (channels * pixels) * op.groups + i / pixels % channels * op.groups / channels;
        let param = |i: usize| if op.per_pixel { i % (channels * pixels) } else { i / pixels % channels };
        let all = 0..x.len();
        let (sets, params) = (all.clone().map(set).collect(), all.map(param).collect());
        let norm = Norm { sets, params, eps: f64::from(op.eps), about_zero: false };
        assert_eq!((op.kind, op.bias), (ops::NormKind::Layer, true), "no other is among random networks");
        norm.forward(x, &self.params[node.params[0].0], &self.params[node.params[1].0])
    }

    fn pool(&mut self, id: ValueId, x: &[f64], pool: &Pool) -> Vec<f64> {
        let [height, width, _] = self.graph.shape(id).image().unwrap();
        let windows = pool_windows(pool, [height, width]);
        let mut output = Vec::new();
        for plane in x.chunks_exact(height * width) {
            for (pixels, count) in &windows {
                if pool.chooses() {
                    let best = plane[largest(pixels, |pixel| plane[pixel])];
                    // Equals are zeros of a ReLU, behind which nothing moves.
                    let gaps = pixels.iter().map(|pixel| best - plane[*pixel]).filter(|gap| *gap > 0.0);
                    self.margin = gaps.fold(self.margin, f64::min);
                    output.push(best);
                } else {
                    output.push(pixels.iter().map(|pixel| plane[*pixel]).sum::<f64>() / count);
                }
            }
        }
        output
    }

    /// Elements count in the device's order, padding too.
    fn dropout(&self, id: ValueId, x: &[f64], probability: f32, layer: usize) -> Vec<f64> {
        let Setting::Training(draw) = self.setting else { return x.to_vec() };
        let shape = self.graph.shape(id);
        let (pixels, channels) = (shape.pixels(), shape.channels());
        let element =
            |i: usize| (i / (channels * pixels) * pixels + i % pixels) * shape.stride() + i / pixels % channels;
        let value = |(i, x): (usize, &f64)| {
            if keeps(probability, draw, layer, element(i)) { x / (1.0 - f64::from(probability)) } else { 0.0 }
        };
        x.iter().enumerate().map(value).collect()
    }
}
