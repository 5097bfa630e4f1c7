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
//! Whatever decides what the graph computes, or which parameters belong to a module, is in it; how parameters start
//! is not, since a run that has begun does not ask. Neither are blocks and projections, names for parts of what is there already: a
//! model that gets them later is the model that it was. An option that is added later is written only where it is not what the
//! graphs of before had, so that their text stays. Any other change needs another version in the first line, and a
//! checkpoint's format of its own. An operation's own text is [`Op::canonical_text`](super::Op::canonical_text).

use super::{Graph, Node, Param, ParamRole, Stat, ValueId, ValueShape};

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
        ValueShape::Sequence { length, features } => format!("sequence {length}x{features}"),
        ValueShape::Tokens { length, vocabulary } => format!("tokens {length} below {vocabulary}"),
    }
}

fn parameter(number: usize, Param { name, shape, module, role, block: _, projections: _, init: _ }: &Param) -> String {
    let role = match role {
        ParamRole::Weight => "weight",
        ParamRole::Bias => "bias",
        ParamRole::Scale => "scale",
    };
    let shape: Vec<_> = shape.iter().map(ToString::to_string).collect();
    format!("parameter {number} {name} [{}] {role} of module {module}", shape.join(", "))
}

fn operation(node: &Node) -> String {
    let inputs: Vec<_> = node.inputs.iter().map(|ValueId(input)| input.to_string()).collect();
    let ValueId(output) = node.output;
    format!("operation {} from {} into {output}", node.canonical_text(), inputs.join(" "))
}
