//! Linear layers without biases, and parameters of several operations: their gradients and products add up.

use crate::common::{
    reference::{layer_norm, linear},
    sequences::{Case, LENGTH, Params, VOCABULARY, activated, by_row, embedded, next_tokens, text},
};
use jostle::{
    graph::{Graph, GraphError, PlanMode, Schedule, ValueId, ValueShape},
    kernels::Activation,
    nn::Model,
    ops::{LinearOptions, Loss},
};

fn tokens() -> (Graph, ValueId) {
    Graph::with_input(ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY }).unwrap()
}

/// weight x; weight is [out, in].
fn product(weight: &[f64], x: &[f64]) -> Vec<f64> {
    linear(weight, &vec![0.0; weight.len() / x.len()], x)
}

/// embedding (5) - layer norm - linear without bias (5) - GELU - the embedding's table as output head.
fn tied_model() -> Graph {
    let (mut graph, input) = tokens();
    let value = graph.embedding(input, "wte", 5).unwrap();
    let value = graph.layer_norm(value, "ln").unwrap();
    let value = graph.linear_with(value, "fc", LinearOptions { features: 5, bias: false }).unwrap();
    let value = graph.activate(value, Activation::Gelu).unwrap();
    graph.tied_linear(value, "wte.weight").unwrap();
    graph
}

#[test]
fn a_head_is_tied_to_an_embedding() {
    let (data, tokens) = text(next_tokens());
    let forward = |p: Params<'_>, sample: usize| {
        let vectors = embedded(&p[0], &tokens[sample * LENGTH..][..LENGTH]);
        let normalised = by_row(&vectors, 5, |row| layer_norm(&p[1], &p[2], row));
        let hidden = activated(Activation::Gelu, by_row(&normalised, 5, |row| product(&p[3], row)));
        by_row(&hidden, 5, |row| product(&p[0], row))
    };
    for loss in [Loss::Nll, Loss::Mse] {
        let case = Case { name: "tied head", graph: tied_model(), data: data.clone(), loss, forward: &forward };
        case.check_all();
    }
}

/// Two layers of one matrix: both weight gradients are products, whose sums may be put off.
#[test]
fn layers_are_tied_to_each_other() {
    let (data, tokens) = text(next_tokens());
    let (mut graph, input) = self::tokens();
    let value = graph.embedding(input, "wte", 5).unwrap();
    let value = graph.linear_with(value, "fc", LinearOptions { features: 5, bias: false }).unwrap();
    let value = graph.activate(value, Activation::Tanh).unwrap();
    let value = graph.tied_linear(value, "fc.weight").unwrap();
    let value = graph.activate(value, Activation::Tanh).unwrap();
    graph.linear(value, "head", VOCABULARY, Activation::Identity).unwrap();
    let forward = |p: Params<'_>, sample: usize| {
        let vectors = embedded(&p[0], &tokens[sample * LENGTH..][..LENGTH]);
        let once = activated(Activation::Tanh, by_row(&vectors, 5, |row| product(&p[1], row)));
        let twice = activated(Activation::Tanh, by_row(&once, 5, |row| product(&p[1], row)));
        by_row(&twice, 5, |row| linear(&p[2], &p[3], row))
    };
    Case { name: "tied layers", graph, data, loss: Loss::Nll, forward: &forward }.check_all();
}

/// One tensor of its module to layout and noise, and one line of the text that checkpoints hash.
#[test]
fn a_tied_parameter_is_one() {
    let graph = tied_model();
    let names: Vec<_> = graph.params().iter().map(|param| param.name.as_str()).collect();
    assert_eq!(names, ["wte.weight", "ln.weight", "ln.bias", "fc.weight"]);
    assert_eq!(graph.layout().parameters(), VOCABULARY * 5 + 5 + 5 + 25);
    let model = Model { description: "tied".to_owned(), graph: graph.clone() };
    let modules: Vec<_> = model.noise_tensors().iter().map(|tensor| tensor.module).collect();
    assert_eq!(modules, [0, 1, 1, 2]);
    let text = graph.canonical_text();
    let operations: Vec<_> = text.lines().filter(|line| line.starts_with("operation linear")).collect();
    let expected = [
        "operation linear weight 3 bias none activation identity from 2 into 3",
        "operation linear weight 0 bias none activation identity from 4 into 5",
    ];
    assert_eq!(operations, expected);
    let schedule = Schedule::new(&graph, 2, PlanMode::Train, Loss::Nll).unwrap();
    let steps: Vec<_> = schedule.steps.iter().map(|step| step.name.as_str()).collect();
    assert!(steps.contains(&"wte forward") && steps.contains(&"wte tied forward"), "{steps:?}");
}

#[test]
fn what_does_not_fit_is_refused() {
    let (mut graph, input) = tokens();
    let value = graph.embedding(input, "wte", 5).unwrap();
    let value = graph.linear(value, "fc", 6, Activation::Identity).unwrap();
    let error = graph.tied_linear(value, "head.weight").unwrap_err();
    assert_eq!(error, GraphError::Param { name: "head.weight".to_owned() });
    for (param, expected) in [("wte.weight", "[[7, 6]] and not of [[7, 5]]"), ("fc.bias", "[[6, 6]] and not of [[6]]")]
    {
        let text = graph.tied_linear(value, param).unwrap_err().to_string();
        assert!(text.starts_with(&format!("linear by {param} cannot take a sequence of 4 x 6")), "{text}");
        assert!(text.contains(expected), "{text}");
    }
    assert!(graph.tied_linear(input, "wte.weight").unwrap_err().to_string().contains("embed it first"));
}
