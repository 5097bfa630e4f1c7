//! Which parameters are hidden matrices.

use jostle::{
    graph::{Graph, ValueShape},
    kernels::Activation,
    nn::{Model, Signature},
    ops::LinearOptions,
};

fn hidden(graph: &Graph) -> Vec<String> {
    let marked = graph.params().iter().zip(graph.hidden_matrices());
    marked.filter(|(_, hidden)| *hidden).map(|(param, _)| param.name.clone()).collect()
}

fn model(text: &str, input: ValueShape) -> Graph {
    Model::build(text, &Signature { input, classes: 10 }).unwrap().graph
}

#[test]
fn matrices_between_the_first_and_the_last_are_hidden() {
    let features = ValueShape::Features(64);
    assert_eq!(hidden(&model("mlp:64-10", features)), [""; 0]);
    assert_eq!(hidden(&model("mlp:64-24-10", features)), [""; 0]);
    assert_eq!(hidden(&model("mlp:64-24-16-10", features)), ["fc2.weight"]);
    let resnet = model("resnet18", ValueShape::Image { channels: 3, height: 32, width: 32 });
    let found = hidden(&resnet);
    assert!(found.iter().all(|name| name.contains("conv") || name.contains("shortcut") || name.contains("downsample")));
    let convolutions = resnet.params().iter().filter(|param| param.shape.len() == 4).count();
    assert_eq!(found.len(), convolutions - 1, "all but the first: {found:?}");
}

#[test]
fn embeddings_positions_and_heads_are_not() {
    let text = ValueShape::Tokens { length: 8, vocabulary: 11 };
    let gpt = model("gpt:2x2x16@8", text);
    let found = hidden(&gpt);
    assert_eq!(found.len(), 8, "four matrices a block: {found:?}");
    assert!(found.iter().all(|name| name.ends_with(".weight") && !name.contains("wte") && !name.contains("wpe")));
    let vit = model("vit:2x2x16/4", ValueShape::Image { channels: 3, height: 8, width: 8 });
    let found = hidden(&vit);
    assert_eq!(found.len(), 8, "four matrices a block: {found:?}");
}

/// A matrix of two layers, one of which is the last, is none.
#[test]
fn a_matrix_is_hidden_wherever_it_is_used() {
    let tied = |again: bool| {
        let (mut graph, input) = Graph::new(4).unwrap();
        let value = graph.linear(input, "first", 5, Activation::Tanh).unwrap();
        let value = graph.linear_with(value, "middle", LinearOptions { features: 5, bias: false }).unwrap();
        if again {
            graph.tied_linear(value, "middle.weight").unwrap();
        } else {
            graph.linear(value, "last", 3, Activation::Identity).unwrap();
        }
        graph
    };
    assert_eq!(hidden(&tied(false)), ["middle.weight"]);
    assert_eq!(hidden(&tied(true)), [""; 0]);
}
