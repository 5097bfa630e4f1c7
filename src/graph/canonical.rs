//! A graph as text that stays the same from version to version: what a checkpoint's hash of its model is taken over.
//!
//! Version 1, a line each, values and parameters by their numbers:
//!
//! ```text
//! jostle graph 1
//! value 0 image 1x8x8
//! value 1 features 10
//! parameter 0 fc1.weight [10, 64] weight of module 0
//! statistic 0 bn1.running_mean [4]
//! operation linear weight 0 bias 1 activation relu from 0 into 1
//! ```
//!
//! Whatever decides what the graph computes, or which parameters noise takes for a group, is in it; how parameters start
//! is not, since a run that has begun does not ask. An option that is added later is written only where it is not what the
//! graphs of before had, so that their text stays. Any other change needs another version in the first line, and a
//! checkpoint's format of its own.

use crate::kernels::{ConvOptions, Pool};

use super::{
    Graph, ValueId, ValueShape,
    op::{BatchNormOp, Node, NormOp, Op, Param, ParamId, ParamRole, Stat, StatId},
};

const FIRST_LINE: &str = "jostle graph 1";

impl Graph {
    /// The graph as text; see the module `graph::canonical` for its lines.
    #[must_use]
    pub fn canonical_text(&self) -> String {
        let values = self.shapes.iter().enumerate().map(|(number, shape)| format!("value {number} {}", sides(shape)));
        let params = self.params.iter().enumerate().map(|(number, param)| parameter(number, param));
        let stats = self
            .stats
            .iter()
            .enumerate()
            .map(|(number, Stat { name, channels, initial: _ })| format!("statistic {number} {name} [{channels}]"));
        let lines = [FIRST_LINE.to_owned()].into_iter().chain(values).chain(params).chain(stats);
        lines.chain(self.nodes.iter().map(operation)).map(|line| line + "\n").collect()
    }
}

fn sides(shape: &ValueShape) -> String {
    match shape {
        ValueShape::Features(features) => format!("features {features}"),
        ValueShape::Image { channels, height, width } => format!("image {channels}x{height}x{width}"),
    }
}

fn parameter(number: usize, Param { name, shape, module, role, init: _ }: &Param) -> String {
    let role = match role {
        ParamRole::Weight => "weight",
        ParamRole::Bias => "bias",
        ParamRole::Scale => "scale",
    };
    let shape: Vec<_> = shape.iter().map(ToString::to_string).collect();
    format!("parameter {number} {name} [{}] {role} of module {module}", shape.join(", "))
}

fn operation(Node { op, inputs, output: ValueId(output) }: &Node) -> String {
    let inputs: Vec<_> = inputs.iter().map(|ValueId(input)| input.to_string()).collect();
    format!("operation {} from {} into {output}", settings(op), inputs.join(" "))
}

/// An operation with its settings. Numbers of 32 bits are written with as many digits as tell them apart.
fn settings(op: &Op) -> String {
    match op {
        Op::Linear { weight: ParamId(weight), bias: ParamId(bias), activation } => {
            format!("linear weight {weight} bias {bias} activation {activation}")
        }
        Op::Conv { weight: ParamId(weight), bias, options, activation } => {
            let bias = bias.map_or("none".to_owned(), |ParamId(bias)| bias.to_string());
            format!("conv weight {weight} bias {bias} {} activation {activation}", window(options))
        }
        Op::BatchNorm(BatchNormOp { weight: ParamId(weight), bias: ParamId(bias), running, eps, activation }) => {
            let [StatId(mean), StatId(variance)] = running;
            format!(
                "batch-norm weight {weight} bias {bias} running {mean} {variance} eps {eps} activation {activation}"
            )
        }
        Op::Norm(NormOp { weight: ParamId(weight), bias: ParamId(bias), groups, per_pixel, eps }) => {
            format!("norm weight {weight} bias {bias} groups {groups} per-pixel {per_pixel} eps {eps}")
        }
        Op::Pool(pool) => self::pool(pool),
        Op::Flatten => "flatten".to_owned(),
        Op::Unflatten => "unflatten".to_owned(),
        Op::Dropout { probability, layer } => format!("dropout probability {probability} layer {layer}"),
        Op::Activate(activation) => format!("activate {activation}"),
        Op::Add => "add".to_owned(),
    }
}

fn window(ConvOptions { kernel, stride, padding, dilation, groups }: &ConvOptions) -> String {
    let [kernel, stride, padding, dilation] = [kernel, stride, padding, dilation].map(pair);
    format!("kernel {kernel} stride {stride} padding {padding} dilation {dilation} groups {groups}")
}

fn pool(pool: &Pool) -> String {
    match pool {
        Pool::Max { kernel, stride, padding } => {
            format!("max-pool kernel {} stride {} padding {}", pair(kernel), pair(stride), pair(padding))
        }
        Pool::Average { kernel, stride, padding, count_padding } => {
            let [kernel, stride, padding] = [kernel, stride, padding].map(pair);
            format!("average-pool kernel {kernel} stride {stride} padding {padding} count-padding {count_padding}")
        }
        Pool::AdaptiveAverage { output } => format!("adaptive-average-pool output {}", pair(output)),
    }
}

fn pair([rows, columns]: &[usize; 2]) -> String {
    format!("{rows}x{columns}")
}
