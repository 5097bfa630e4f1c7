//! Blocks of layers, and projections packed into one tensor.

use jostle::{
    graph::{Graph, GraphError, ValueId},
    kernels::Activation,
};

fn linear(graph: &mut Graph, input: ValueId, name: &str, features: usize) -> ValueId {
    graph.linear(input, name, features, Activation::Identity).unwrap()
}

#[test]
fn parameters_belong_to_the_block_that_is_open() {
    let (mut graph, input) = Graph::new(4).unwrap();
    let value = linear(&mut graph, input, "before", 4);
    graph.begin_block("h.0");
    let value = linear(&mut graph, value, "a", 4);
    graph.begin_block("h.1");
    let value = linear(&mut graph, value, "b", 4);
    graph.begin_block("h.0");
    let value = linear(&mut graph, value, "c", 4);
    graph.end_block();
    linear(&mut graph, value, "after", 4);
    let found: Vec<_> = graph.params().iter().map(|param| (param.name.as_str(), param.block)).collect();
    let expected = [("before", None), ("a", Some(0)), ("b", Some(1)), ("c", Some(0)), ("after", None)];
    let expected: Vec<_> = expected
        .into_iter()
        .flat_map(|(name, block)| [(format!("{name}.weight"), block), (format!("{name}.bias"), block)])
        .collect();
    let expected: Vec<_> = expected.iter().map(|(name, block)| (name.as_str(), *block)).collect();
    assert_eq!(found, expected);
    assert_eq!(graph.blocks(), ["h.0", "h.1"]);
}

#[test]
fn projections_part_the_rows_of_a_packed_tensor() {
    let (mut graph, input) = Graph::new(20).unwrap();
    linear(&mut graph, input, "attn", 60);
    graph.set_projections("attn.weight", &["q", "k", "v"]).unwrap();
    let [weight, bias] = graph.params() else { panic!("a weight and a bias") };
    assert_eq!(weight.projections, ["q", "k", "v"]);
    assert_eq!(weight.parts(), [0..400, 400..800, 800..1200]);
    assert_eq!(bias.parts(), [0..60; 1], "one part where nothing was said");
    graph.set_projections("attn.weight", &[]).unwrap();
    assert_eq!(graph.params()[0].parts(), [0..1200; 1]);
}

#[test]
fn projections_that_cannot_be_are_refused() {
    let (mut graph, input) = Graph::new(4).unwrap();
    linear(&mut graph, input, "attn", 8);
    let unknown = graph.set_projections("attn.wight", &["q", "k"]).unwrap_err();
    assert_eq!(unknown, GraphError::Param { name: "attn.wight".to_owned() });
    let uneven = graph.set_projections("attn.weight", &["q", "k", "v"]).unwrap_err();
    assert_eq!(uneven.to_string(), "attn.weight: 8 rows cannot be parted into 3 equal projections");
}
