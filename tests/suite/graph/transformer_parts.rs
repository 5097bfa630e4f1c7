//! What transformers are made of beside attention: gradients, scores and curvature products of small models on the device against
//! f64 models written out by hand.

use crate::common::{
    reference::{activate, linear},
    samples,
    sequences::{Case, LENGTH, Params, SAMPLES, VOCABULARY, activated, by_row, embedded, next_tokens, text, words},
    wide,
};
use jostle::{
    data::{Dataset, SampleShape, Targets},
    graph::{Graph, GraphError, ValueId, ValueShape},
    kernels::{Activation, ConvOptions},
    ops::{Loss, NormKind, NormOptions},
};

fn tokens() -> (Graph, ValueId) {
    Graph::with_input(ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY }).unwrap()
}

/// The norm of a vector: weight, then bias where there is one.
fn norm(options: NormOptions, weight: &[f64], bias: Option<&[f64]>, row: &[f64]) -> Vec<f64> {
    let count = row.len() as f64;
    let mean = if options.kind == NormKind::Layer { row.iter().sum::<f64>() / count } else { 0.0 };
    let square = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let normalised = row.iter().map(|x| (x - mean) / (square + f64::from(options.eps)).sqrt());
    let shift = |i: usize| bias.map_or(0.0, |bias| bias[i]);
    normalised.zip(weight).enumerate().map(|(i, (x, w))| x * w + shift(i)).collect()
}

/// embedding (5) - norm - linear (6) - GELU by tanh - linear (vocabulary).
#[test]
fn norms_of_each_kind() {
    let (data, tokens) = text(next_tokens());
    for (kind, bias, eps) in [(NormKind::Layer, false, 1e-2), (NormKind::Rms, false, 1e-5), (NormKind::Rms, true, 0.3)]
    {
        let options = NormOptions { kind, eps, bias };
        let (mut graph, input) = self::tokens();
        let value = graph.embedding(input, "wte", 5).unwrap();
        let value = graph.norm_with(value, "norm", options).unwrap();
        let value = graph.linear(value, "fc1", 6, Activation::Identity).unwrap();
        let value = graph.activate(value, Activation::GeluTanh).unwrap();
        graph.linear(value, "fc2", VOCABULARY, Activation::Identity).unwrap();
        let names: Vec<_> = graph.params().iter().map(|param| param.name.as_str()).collect();
        assert_eq!(names.contains(&"norm.bias"), bias);
        let forward = |p: Params<'_>, sample: usize| {
            let (shift, rest) = if bias { (Some(p[2].as_slice()), 3) } else { (None, 2) };
            let vectors = embedded(&p[0], &tokens[sample * LENGTH..][..LENGTH]);
            let normalised = by_row(&vectors, 5, |row| norm(options, &p[1], shift, row));
            let hidden = by_row(&normalised, 5, |row| linear(&p[rest], &p[rest + 1], row));
            by_row(&activated(Activation::GeluTanh, hidden), 6, |row| linear(&p[rest + 2], &p[rest + 3], row))
        };
        let name = format!("{kind:?} norm, bias {bias}");
        Case { name: &name, graph, data: data.clone(), loss: Loss::Nll, forward: &forward }.check_all();
    }
}

#[test]
fn a_norm_without_eps_is_refused() {
    for eps in [0.0, -1e-5, f32::NAN, f32::INFINITY] {
        let (mut graph, input) = Graph::new(4).unwrap();
        let error = graph.norm_with(input, "norm", NormOptions { eps, ..NormOptions::RMS }).unwrap_err();
        assert!(matches!(&error, GraphError::Shape { reason, .. } if reason.contains("eps")), "{error}");
    }
}

fn swiglu(row: &[f64]) -> Vec<f64> {
    let (gates, values) = row.split_at(row.len() / 2);
    gates.iter().zip(values).map(|(gate, value)| activate(Activation::Silu, *gate) * value).collect()
}

fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// embedding (5) + positions - linear (6) - SwiGLU (3), beside a residual branch of the same - linear (vocabulary).
#[test]
fn positions_and_swiglu() {
    let (data, tokens) = text(next_tokens());
    let (mut graph, input) = self::tokens();
    let value = graph.embedding(input, "wte", 5).unwrap();
    let value = graph.positions(value, "wpe").unwrap();
    let wide_value = graph.linear(value, "gate", 6, Activation::Identity).unwrap();
    let once = graph.swiglu(wide_value).unwrap();
    // A value that several read: gradients are added to what is there.
    let twice = graph.swiglu(wide_value).unwrap();
    let value = graph.add(once, twice).unwrap();
    graph.linear(value, "head", VOCABULARY, Activation::Identity).unwrap();
    assert_eq!(graph.params()[1].name, "wpe.weight");
    let forward = |p: Params<'_>, sample: usize| {
        let placed = plus(&embedded(&p[0], &tokens[sample * LENGTH..][..LENGTH]), &p[1]);
        let gated = by_row(&by_row(&placed, 5, |row| linear(&p[2], &p[3], row)), 6, swiglu);
        by_row(&plus(&gated, &gated), 3, |row| linear(&p[4], &p[5], row))
    };
    for loss in [Loss::Nll, Loss::Mse] {
        Case { name: "positions", graph: graph.clone(), data: data.clone(), loss, forward: &forward }.check_all();
    }
}

/// Patches of 2 x 2 pixels of an image of 1 x 4 x 4 - class token - positions - linear (4) - tanh - the class token's vector, or
/// another - linear (3). Of channels that fill whole vec4s, and of others.
#[test]
fn a_class_token_answers() {
    let pixels = samples(310, SAMPLES * 16, 1.0);
    let shape = SampleShape { channels: 1, height: 4, width: 4 };
    let labels: Vec<u32> = words(311, SAMPLES).into_iter().map(|word| word % 3).collect();
    let targets = Targets::Classes { labels, classes: 3 };
    let data = Dataset::from_arrays("patches", pixels.clone(), targets, shape).unwrap();
    for (channels, index) in [(4, 0), (5, 0), (3, 2)] {
        let (mut graph, input) = Graph::with_input(ValueShape::Image { channels: 1, height: 4, width: 4 }).unwrap();
        let options = ConvOptions { stride: [2, 2], ..ConvOptions::square(2) };
        let value = graph.conv(input, "patch_embed.proj", channels, options, true).unwrap();
        let value = graph.sequence(value).unwrap();
        let value = graph.class_token(value, "cls_token").unwrap();
        let value = graph.positions_called(value, "pos_embed").unwrap();
        assert_eq!(graph.shape(value), ValueShape::Sequence { length: 5, features: channels });
        let value = graph.linear(value, "fc", 4, Activation::Identity).unwrap();
        let value = graph.activate(value, Activation::Tanh).unwrap();
        let value = graph.token(value, index).unwrap();
        graph.linear(value, "head", 3, Activation::Identity).unwrap();
        let found: Vec<_> = graph.params().iter().map(|param| (param.name.as_str(), param.shape.as_slice())).collect();
        assert_eq!(found[2..4], [("cls_token", &[1, 1, channels][..]), ("pos_embed", &[1, 5, channels][..])]);
        let forward = |p: Params<'_>, sample: usize| {
            let image = wide(&pixels[sample * 16..][..16]);
            let patch = |at: usize| {
                let corner = at / 2 * 8 + at % 2 * 2;
                linear(&p[0], &p[1], &[0, 1, 4, 5].map(|offset| image[corner + offset]))
            };
            let patches = (0..4).flat_map(patch);
            let sequence: Vec<f64> = p[2].iter().copied().chain(patches).collect();
            let placed = plus(&sequence, &p[3]);
            let hidden = activated(Activation::Tanh, by_row(&placed, channels, |row| linear(&p[4], &p[5], row)));
            linear(&p[6], &p[7], &hidden[index * 4..][..4])
        };
        let name = format!("patches of {channels} channels");
        Case { name: &name, graph, data: data.clone(), loss: Loss::Nll, forward: &forward }.check_all();
    }
}

/// Gradients of a sequence are added to where others read it too: a class token and single vectors of one value.
#[test]
fn vectors_of_one_sequence_are_read_several_times() {
    let (data, tokens) =
        text(Targets::Classes { labels: words(312, SAMPLES).iter().map(|w| w % 3).collect(), classes: 3 });
    let (mut graph, input) = self::tokens();
    let value = graph.embedding(input, "wte", 5).unwrap();
    let value = graph.linear(value, "fc", 4, Activation::Identity).unwrap();
    let longer = graph.class_token(value, "cls_token").unwrap();
    let [first, again] = [0, 2].map(|index| graph.token(longer, index).unwrap());
    let [last, same] = [3, 1].map(|index| graph.token(value, index).unwrap());
    let left = graph.add(first, last).unwrap();
    let right = graph.add(again, same).unwrap();
    let sum = graph.add(left, right).unwrap();
    let sum = graph.activate(sum, Activation::Tanh).unwrap();
    graph.linear(sum, "head", 3, Activation::Identity).unwrap();
    let forward = |p: Params<'_>, sample: usize| {
        let vectors = embedded(&p[0], &tokens[sample * LENGTH..][..LENGTH]);
        let hidden = by_row(&vectors, 5, |row| linear(&p[1], &p[2], row));
        let vector = |t: usize| &hidden[4 * t..][..4];
        let sum = plus(&plus(&p[3], vector(3)), &plus(vector(1), vector(1)));
        linear(&p[4], &p[5], &activated(Activation::Tanh, sum))
    };
    Case { name: "vectors", graph, data, loss: Loss::Nll, forward: &forward }.check_all();
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    let refused = |found: Result<ValueId, GraphError>, expected: &str| {
        assert!(matches!(&found, Err(GraphError::Shape { reason, .. }) if reason.contains(expected)), "{found:?}");
    };
    let (mut rows, value) = Graph::new(5).unwrap();
    refused(rows.swiglu(value), "as many gates as values");
    refused(rows.positions(value, "wpe"), "a sequence");
    refused(rows.class_token(value, "cls_token"), "a sequence");
    refused(rows.token(value, 0), "a sequence");
    refused(rows.sequence(value), "an image");
    let (mut graph, value) = Graph::with_input(ValueShape::Sequence { length: 3, features: 4 }).unwrap();
    refused(graph.token(value, 3), "no vector 3");
    refused(graph.sequence(value), "an image");
    graph.positions(value, "wpe").unwrap();
    assert!(matches!(graph.positions(value, "wpe"), Err(GraphError::Name { .. })));
}
