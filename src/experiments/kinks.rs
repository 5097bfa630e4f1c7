//! Where a network's loss has no second derivative.

use std::collections::BTreeSet;

use crate::{
    graph::{Graph, Op},
    kernels::{Activation, Pool},
};

/// What in a graph has kinks: ReLU and max pools, wherever they are.
pub(super) fn kinks(graph: &Graph) -> Vec<String> {
    let mut found = BTreeSet::new();
    for node in graph.nodes() {
        let activation = match &node.op {
            Op::Linear { activation, .. } | Op::Conv { activation, .. } | Op::Activate(activation) => *activation,
            Op::BatchNorm(norm) => norm.activation,
            Op::Pool(Pool::Max { .. }) => {
                found.insert("max pools".to_owned());
                Activation::Identity
            }
            Op::Pool(Pool::Average { .. } | Pool::AdaptiveAverage { .. })
            | Op::Norm(_)
            | Op::Flatten
            | Op::Unflatten
            | Op::Dropout { .. }
            | Op::Add => Activation::Identity,
        };
        if activation == Activation::Relu {
            found.insert("ReLU".to_owned());
        }
    }
    found.into_iter().collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;
    use crate::nn::Model;

    /// By name all but the first passed for smooth.
    #[test]
    fn the_graph_is_asked_for_kinks() {
        for (model, expected) in [
            ("mlp:64-8-10", &["ReLU"][..]),
            ("mlp:64-8-10:relu", &["ReLU"]),
            ("mlp1", &["ReLU"]),
            ("cnn1", &["ReLU", "max pools"]),
            ("resnet18:4", &["ReLU"]),
            ("mlp:64-8-10:gelu", &[]),
            ("mlp:64-8-10:tanh", &[]),
        ] {
            assert_eq!(kinks(&model.parse::<Model>().unwrap().graph), expected, "{model}");
        }
    }
}
