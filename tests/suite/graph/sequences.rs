//! Texts, sequences and vectors: gradients, scores and products with the Hessian of models on the device against f64 models
//! written out by hand.

use crate::common::{
    device,
    reference::{layer_norm, linear},
    samples,
    sequences::{Case, LENGTH, Params, SAMPLES, VOCABULARY, activated, by_row, embedded, next_tokens, text, words},
    wide,
};
use jostle::{
    data::{Dataset, SampleShape, Targets},
    gpu::GpuError,
    graph::{Graph, GraphError, Plan, PlanMode, Schedule, ValueShape},
    kernels::{Activation, Arena},
    ops::Loss,
    train::DeviceData,
};

/// embedding (5) - layer norm - linear (6) - tanh - linear (vocabulary) at every position.
fn language_model() -> Graph {
    let (mut graph, input) = Graph::with_input(ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY }).unwrap();
    let mut value = graph.embedding(input, "embedding", 5).unwrap();
    value = graph.layer_norm(value, "ln").unwrap();
    value = graph.linear(value, "fc1", 6, Activation::Identity).unwrap();
    value = graph.activate(value, Activation::Tanh).unwrap();
    graph.linear(value, "fc2", VOCABULARY, Activation::Identity).unwrap();
    graph
}

fn language_outputs(p: Params<'_>, tokens: &[u32]) -> Vec<f64> {
    let normalised = by_row(&embedded(&p[0], tokens), 5, |row| layer_norm(&p[1], &p[2], row));
    let hidden = by_row(&normalised, 5, |row| linear(&p[3], &p[4], row));
    by_row(&activated(Activation::Tanh, hidden), 6, |row| linear(&p[5], &p[6], row))
}

#[test]
fn a_token_is_predicted_at_every_position() {
    let (data, tokens) = text(next_tokens());
    let forward = |p: Params<'_>, sample: usize| language_outputs(p, &tokens[sample * LENGTH..][..LENGTH]);
    for loss in [Loss::Nll, Loss::Mse] {
        let case =
            Case { name: "language model", graph: language_model(), data: data.clone(), loss, forward: &forward };
        case.check();
        case.check_hessian();
    }
}

#[test]
fn a_text_is_classified() {
    let labels: Vec<u32> = words(304, SAMPLES).into_iter().map(|word| word % 3).collect();
    let (data, tokens) = text(Targets::Classes { labels, classes: 3 });
    let (mut graph, input) = Graph::with_input(ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY }).unwrap();
    let mut value = graph.embedding(input, "embedding", 5).unwrap();
    value = graph.activate(value, Activation::Gelu).unwrap();
    value = graph.flatten(value).unwrap();
    assert_eq!(graph.shape(value), ValueShape::Features(5 * LENGTH));
    graph.linear(value, "fc", 3, Activation::Identity).unwrap();
    let forward = |p: Params<'_>, sample: usize| {
        let vectors = embedded(&p[0], &tokens[sample * LENGTH..][..LENGTH]);
        linear(&p[1], &p[2], &activated(Activation::Gelu, vectors))
    };
    let case = Case { name: "classes of texts", graph, data, loss: Loss::Nll, forward: &forward };
    case.check();
    case.check_hessian();
}

#[test]
fn vectors_are_fitted() {
    let inputs = samples(305, SAMPLES * LENGTH * 3, 1.0);
    let shape = SampleShape { channels: 1, height: LENGTH, width: 3 };
    // A vector of a sample, and one of every position.
    for (name, per_row) in [("vectors of samples", false), ("vectors of positions", true)] {
        let input = if per_row {
            ValueShape::Sequence { length: LENGTH, features: 3 }
        } else {
            ValueShape::Features(LENGTH * 3)
        };
        let (mut graph, mut value) = Graph::with_input(input).unwrap();
        value = graph.linear(value, "fc1", 5, Activation::Identity).unwrap();
        value = graph.activate(value, Activation::Gelu).unwrap();
        graph.linear(value, "fc2", 2, Activation::Identity).unwrap();
        let width = if per_row { 2 * LENGTH } else { 2 };
        let targets = Targets::vectors(samples(306, SAMPLES * width, 1.0), width);
        let data = Dataset::from_arrays("curve", inputs.clone(), targets, shape).unwrap();
        let forward = |p: Params<'_>, sample: usize| {
            let row = wide(&inputs[sample * LENGTH * 3..][..LENGTH * 3]);
            let width = if per_row { 3 } else { LENGTH * 3 };
            let hidden = activated(Activation::Gelu, by_row(&row, width, |row| linear(&p[0], &p[1], row)));
            by_row(&hidden, 5, |row| linear(&p[2], &p[3], row))
        };
        let case = Case { name, graph, data, loss: Loss::Mse, forward: &forward };
        case.check();
        case.check_hessian();
    }
}

/// What is bound to a model that does not take it is refused in a sentence, not read as something else.
#[test]
fn what_does_not_fit_is_refused() {
    let (text, _) = text(next_tokens());
    let shape = SampleShape { channels: 1, height: 1, width: LENGTH };
    let numbers = |targets: Targets| {
        Dataset::from_arrays("numbers", samples(307, SAMPLES * LENGTH, 1.0), targets, shape).unwrap()
    };
    let (mut rows, value) = Graph::new(LENGTH).unwrap();
    rows.linear(value, "fc", VOCABULARY, Activation::Identity).unwrap();
    let classes = || Targets::Classes { labels: vec![0; SAMPLES], classes: VOCABULARY };
    let mut large = text.clone();
    large.samples = vec![VOCABULARY as u32; SAMPLES * LENGTH].into();
    // Twice as long, with a class each; and a plane where a sequence has rows.
    let (tokens, wide) = (words(308, SAMPLES * 2 * LENGTH), SampleShape { channels: 1, height: 1, width: 2 * LENGTH });
    let long = Dataset::from_arrays("long", tokens, classes(), wide).unwrap();
    let (mut rows_of_two, value) = Graph::with_input(ValueShape::Sequence { length: 2, features: LENGTH / 2 }).unwrap();
    rows_of_two.linear(value, "fc", 1, Activation::Identity).unwrap();
    let cases: [(&str, &Graph, Dataset, Loss); 9] = [
        ("a text has another length", &language_model(), long, Loss::Nll),
        ("a row for each vector", &rows_of_two, numbers(Targets::vectors(vec![0.0; 2 * SAMPLES], 2)), Loss::Mse),
        ("where the model takes numbers", &rows, text.clone(), Loss::Nll),
        ("the samples are none", &language_model(), numbers(next_tokens()), Loss::Nll),
        ("past the model's vocabulary", &language_model(), large, Loss::Nll),
        ("each row needs a label", &rows, numbers(next_tokens()), Loss::Nll),
        ("each row needs a label", &language_model(), Dataset { targets: classes(), ..text }, Loss::Nll),
        ("take loss mse", &rows, numbers(Targets::vectors(vec![0.0; SAMPLES], 1)), Loss::Nll),
        ("a number for each output", &rows, numbers(Targets::vectors(vec![0.0; SAMPLES], 1)), Loss::Mse),
    ];
    let gpu = device();
    for (reason, graph, data, loss) in cases {
        let arena = Arena::new(gpu, graph.layout(), &vec![1.0; graph.params().len()]).unwrap();
        let data = DeviceData::new(gpu, data, SAMPLES, &[]).unwrap();
        let schedule = Schedule::new(graph, SAMPLES, PlanMode::Train, loss).unwrap();
        let metrics = gpu.buffer("metrics", 2).unwrap();
        let found = Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view()).err();
        assert!(matches!(&found, Some(GpuError::Shape { .. })), "{reason}: {found:?}");
        let text = found.unwrap().to_string();
        assert!(text.contains(reason), "{reason}: {text}");
    }
}

#[test]
fn tokens_are_no_numbers() {
    let (mut graph, input) = Graph::with_input(ValueShape::Tokens { length: 3, vocabulary: 5 }).unwrap();
    let refused = [
        graph.linear(input, "fc", 2, Activation::Identity),
        graph.activate(input, Activation::Relu),
        graph.dropout(input, 0.5),
        graph.layer_norm(input, "norm"),
    ];
    for found in refused {
        assert!(matches!(&found, Err(GraphError::Shape { reason, .. }) if reason.contains("embed")), "{found:?}");
    }
    let (mut rows, value) = Graph::new(3).unwrap();
    assert!(rows.embedding(value, "embedding", 2).is_err());
    assert!(graph.embedding(input, "embedding", 0).is_err());
}
