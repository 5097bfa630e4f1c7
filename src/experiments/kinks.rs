//! Where a network's loss has no second derivative.

use std::collections::BTreeSet;

use crate::graph::Graph;

/// What in a graph has kinks, such as ReLU and max pools, wherever they are.
pub(super) fn kinks(graph: &Graph) -> Vec<String> {
    let found: BTreeSet<&str> = graph.nodes().iter().filter_map(|node| node.op.kinks()).collect();
    found.into_iter().map(str::to_owned).collect()
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
