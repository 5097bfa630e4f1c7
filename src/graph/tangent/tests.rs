#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::{
    graph::{Graph, Mode, Schedule, ValueShape},
    kernels::{Activation, ConvOptions, Pool},
    ops::Loss,
};

/// A convolution with `middle` after it, then a linear layer.
fn graph(middle: impl FnOnce(&mut Graph, crate::graph::ValueId) -> crate::graph::ValueId) -> Graph {
    let image = ValueShape::Image { channels: 1, height: 4, width: 4 };
    let (mut graph, input) = Graph::with_input(image).unwrap();
    let value = graph.conv(input, "conv1", 4, ConvOptions::square(1), true).unwrap();
    let value = middle(&mut graph, value);
    let value = graph.flatten(value).unwrap();
    graph.linear(value, "fc", 3, Activation::Identity).unwrap();
    graph
}

/// Schedules of training hold calls that those of products do not: each is refused by its name, where its part of the
/// product would be 0.
#[test]
fn a_call_without_a_rule_is_an_error_that_names_it() {
    let dropout = graph(|graph, value| graph.dropout(value, 0.5).unwrap());
    let norm = graph(|graph, value| graph.batch_norm(value, "bn1").unwrap());
    let pool = graph(|graph, value| {
        let value = graph.activate(value, Activation::Relu).unwrap();
        graph.pool(value, Pool::max(2)).unwrap()
    });
    for (graph, call) in [(dropout, "dropout"), (norm, "bn1 forward"), (pool, "pool backward")] {
        let mut training = Schedule::new(&graph, 2, Mode::Train, Loss::Nll).unwrap();
        let error = differentiate(&mut training).unwrap_err();
        assert_eq!(error, GraphError::NoDerivative { call: call.to_owned() });
        for mode in [Mode::HessianProduct, Mode::GaussNewtonProduct] {
            Schedule::new(&graph, 2, mode, Loss::Nll).unwrap();
        }
    }
}
