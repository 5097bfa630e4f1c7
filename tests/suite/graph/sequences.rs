//! Texts, sequences and vectors: gradients, scores and products with the Hessian of models on the device against f64 models
//! written out by hand.

use crate::common::{
    ROUNDOFF, assert_close, central_difference, device, hash,
    network::{get, padding, set},
    reference::{activate, argmax, linear, mse, nll, one_hot},
    samples, wide,
};
use jostle::{
    analysis::{Curvature, CurvatureProduct, Subject},
    data::{Dataset, SampleShape, Targets},
    gpu::GpuError,
    graph::{BatchInfo, Graph, GraphError, Plan, PlanMode, Schedule, ValueShape},
    kernels::{Activation, Arena},
    nn::Model,
    ops::Loss,
    train::{DeviceData, Evaluator},
};

const SAMPLES: usize = 6;
const LENGTH: usize = 4;
const VOCABULARY: usize = 7;

type Params<'a> = &'a [Vec<f64>];
/// (parameters, number of a sample) to its outputs, row after row.
type Forward<'a> = &'a dyn Fn(Params<'_>, usize) -> Vec<f64>;

struct Case<'a> {
    name: &'a str,
    graph: Graph,
    data: Dataset,
    loss: Loss,
    forward: Forward<'a>,
}

fn words(seed: u64, count: usize) -> Vec<u32> {
    (0..count).map(|i| (hash(seed, i as u64) % VOCABULARY as u64) as u32).collect()
}

/// Samples that are texts, and the same as numbers of tokens.
fn text(targets: Targets) -> (Dataset, Vec<u32>) {
    let tokens = words(301, SAMPLES * LENGTH);
    let shape = SampleShape { channels: 1, height: 1, width: LENGTH };
    (Dataset::from_arrays("text", tokens.clone(), targets, shape).unwrap(), tokens)
}

fn next_tokens() -> Targets {
    Targets::Tokens { tokens: words(302, SAMPLES * LENGTH), length: LENGTH, vocabulary: VOCABULARY }
}

/// A layer on each row of `width`.
fn by_row(rows: &[f64], width: usize, layer: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    rows.chunks_exact(width).flat_map(layer).collect()
}

fn activated(kind: Activation, values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|x| activate(kind, x)).collect()
}

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

fn embedded(table: &[f64], tokens: &[u32]) -> Vec<f64> {
    tokens.iter().flat_map(|token| table[*token as usize * 5..][..5].to_vec()).collect()
}

fn language_outputs(p: Params<'_>, tokens: &[u32]) -> Vec<f64> {
    let normalised = by_row(&embedded(&p[0], tokens), 5, |row| layer_norm(&p[1], &p[2], row));
    let hidden = by_row(&normalised, 5, |row| linear(&p[3], &p[4], row));
    by_row(&activated(Activation::Tanh, hidden), 6, |row| linear(&p[5], &p[6], row))
}

fn layer_norm(weight: &[f64], bias: &[f64], row: &[f64]) -> Vec<f64> {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let normalised = row.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt());
    normalised.zip(weight).zip(bias).map(|((x, w), b)| x * w + b).collect()
}

impl Case<'_> {
    /// Loss of a sample, summed over its rows, and how many of them are right.
    fn score(&self, p: Params<'_>, sample: usize) -> (f64, f64) {
        let outputs = (self.forward)(p, sample);
        let per_sample = self.data.targets.per_sample();
        let rows = self.model().positions();
        if let Targets::Vectors { values, .. } = &self.data.targets {
            let wanted = wide(&values[sample * per_sample..][..per_sample]);
            return (mse(&outputs, &wanted) * rows as f64, 0.0);
        }
        let labels = &self.data.targets.labels()[sample * per_sample..][..per_sample];
        let width = outputs.len() / rows;
        outputs.chunks_exact(width).zip(labels).fold((0.0, 0.0), |(loss, right), (row, label)| {
            let label = *label as usize;
            let own = match self.loss {
                Loss::Nll => nll(row, label),
                Loss::Mse => mse(row, &one_hot(width, label)),
            };
            (loss + own, right + f64::from(u8::from(argmax(row) == label)))
        })
    }

    fn mean_loss(&self, p: Params<'_>, samples: &[usize]) -> f64 {
        samples.iter().map(|sample| self.score(p, *sample).0).sum::<f64>()
            / (samples.len() * self.model().positions()) as f64
    }

    fn params(&self) -> Vec<Vec<f32>> {
        let values = |(i, p): (usize, &jostle::graph::Param)| samples(303 + i as u64, p.shape.iter().product(), 0.8);
        self.graph.params().iter().enumerate().map(values).collect()
    }

    fn model(&self) -> Model {
        Model { description: self.name.to_owned(), graph: self.graph.clone() }
    }

    fn arena(&self) -> Arena {
        let arena = Arena::new(device(), self.graph.layout(), &vec![1.0; self.graph.params().len()]).unwrap();
        set(device(), &arena, &arena.weights_eff, &self.params());
        set(device(), &arena, &arena.weights, &self.params());
        arena
    }

    fn check(&self) {
        for resident in [true, false] {
            for (batch, first, valid) in [(SAMPLES, 0, SAMPLES), (4, 1, 3), (1, 5, 1)] {
                self.check_gradients(resident, [batch, first, valid]);
            }
        }
        self.check_scores();
    }

    fn check_gradients(&self, resident: bool, [batch, first, valid]: [usize; 3]) {
        let (gpu, arena) = (device(), self.arena());
        let mut data = DeviceData::with_residency(gpu, self.data.clone(), batch, &[], resident).unwrap();
        let order: Vec<u32> = (0..SAMPLES as u32).rev().collect();
        data.set_order(gpu, order).unwrap();
        let schedule = Schedule::new(&self.graph, batch, PlanMode::Train, self.loss).unwrap();
        let metrics = gpu.upload("metrics", &[f32::NAN; 2]).unwrap();
        let plan = Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view()).unwrap();
        let poison: Vec<Vec<f32>> = self.params().iter().map(|param| vec![f32::NAN; param.len()]).collect();
        set(gpu, &arena, &arena.grads, &poison);
        let staged = data.stage(gpu, first, valid).unwrap();
        let mut recorder = gpu.record();
        plan.record(&mut recorder, BatchInfo::new(staged, valid as u32, 0));
        recorder.submit().unwrap();

        let samples: Vec<usize> = (first..first + valid).map(|position| SAMPLES - 1 - position).collect();
        let params: Vec<Vec<f64>> = self.params().iter().map(|param| wide(param)).collect();
        let found = get(gpu, &arena, &arena.grads);
        for tensor in 0..params.len() {
            let loss_at = |x: &[f64]| {
                let mut moved = params.clone();
                moved[tensor] = x.to_vec();
                self.mean_loss(&moved, &samples)
            };
            // As in the tests of rows of features: truncation, rounding, and some 300 roundings of the device.
            let expected = central_difference(loss_at, &params[tensor], 1e-5);
            let size = expected.iter().fold(1.0_f64, |m, g| m.max(g.abs()));
            let name = format!("{} {valid} of {batch}: {}", self.name, self.graph.params()[tensor].name);
            assert_close(&name, &found[tensor], &expected, 2e-8 + 300.0 * ROUNDOFF * size, 0.0);
        }
        assert!(padding(gpu, &arena, &arena.grads).iter().all(|x| *x == 0.0), "{}", self.name);
        let sums: Vec<f32> = gpu.read(&metrics.view()).unwrap();
        let scores = samples.iter().map(|sample| self.score(&params, *sample));
        let (loss, right) = scores.fold((0.0, 0.0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        assert_close(self.name, &sums, &[loss, right], 0.0, 300.0 * ROUNDOFF);
    }

    /// The evaluator's means, and its outputs in the data's order.
    fn check_scores(&self) {
        let (gpu, arena) = (device(), self.arena());
        let evaluator = Evaluator::new(gpu, &self.model(), &arena, self.data.clone(), &[], self.loss).unwrap();
        let (found, outputs) = evaluator.outputs(gpu).unwrap();
        let params: Vec<Vec<f64>> = self.params().iter().map(|param| wide(param)).collect();
        let all: Vec<usize> = (0..SAMPLES).collect();
        let expected: Vec<f64> = all.iter().flat_map(|sample| (self.forward)(&params, *sample)).collect();
        assert_close(self.name, &outputs, &expected, 100.0 * ROUNDOFF, 100.0 * ROUNDOFF);
        let loss = self.mean_loss(&params, &all);
        assert!((found.loss - loss).abs() <= 300.0 * ROUNDOFF * loss, "{}: {found:?}, {loss}", self.name);
        let right: f64 = all.iter().map(|sample| self.score(&params, *sample).1).sum();
        if matches!(self.data.targets, Targets::Vectors { .. }) {
            assert!(found.accuracy.is_nan(), "{}: no answer is right or wrong", self.name);
        } else {
            assert!(
                (found.accuracy - right / (SAMPLES * self.model().positions()) as f64).abs() < 1e-12,
                "{}",
                self.name
            );
        }
    }

    /// H v by mixed second differences in f64, against the device's.
    fn check_hessian(&self) {
        const STEP: f64 = 1e-4;
        let (gpu, arena) = (device(), self.arena());
        let data = DeviceData::new(gpu, self.data.clone(), SAMPLES, &[]).unwrap();
        let model = self.model();
        let loss = std::sync::Arc::new(self.loss);
        let subject = Subject { model: &model, arena: &arena, loss, label_smoothing: 0.0, data: &data };
        let params: Vec<Vec<f64>> = self.params().iter().map(|param| wide(param)).collect();
        let direction: Vec<Vec<f32>> =
            params.iter().enumerate().map(|(i, p)| samples(330 + i as u64, p.len(), 1.0)).collect();
        let mut flat = vec![0.0; arena.layout.words()];
        for (span, values) in arena.layout.spans().iter().zip(&direction) {
            flat[span.start..span.start + span.len].copy_from_slice(values);
        }
        let product = CurvatureProduct::new(gpu, &subject, Curvature::Hessian).unwrap().apply(&flat).unwrap();
        let all: Vec<usize> = (0..SAMPLES).collect();
        let along = |p: Params<'_>, by: f64| {
            let line = |(w, v): (&Vec<f64>, &Vec<f32>)| w.iter().zip(v).map(|(w, v)| w + by * f64::from(*v)).collect();
            let moved: Vec<Vec<f64>> = p.iter().zip(&direction).map(line).collect();
            self.mean_loss(&moved, &all)
        };
        for (tensor, span) in arena.layout.spans().iter().enumerate() {
            let slope_at = |x: &[f64]| {
                let mut moved = params.clone();
                moved[tensor] = x.to_vec();
                (along(&moved, STEP) - along(&moved, -STEP)) / (2.0 * STEP)
            };
            let expected = central_difference(slope_at, &params[tensor], STEP);
            let found: Vec<f32> = product[span.start..span.start + span.len].iter().map(|x| *x as f32).collect();
            let name = format!("{}: product, {}", self.name, self.graph.params()[tensor].name);
            assert_close(&name, &found, &expected, 1e-5, 0.0);
        }
    }
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
