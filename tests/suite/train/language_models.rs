//! Training as language models are trained, against the same written out by hand in f64: AdamW with weight decay on matrices,
//! warm-up and cosine, clipped gradients, gradients of several batches a step, noise on a projection at a time.

use crate::common::{
    assert_close, device, hash,
    network::get,
    reference::{linear, softmax},
    samples, wide,
};
use jostle::{
    data::{BatchOrder, Dataset, SampleShape, Split, Targets},
    graph::{Graph, ValueShape},
    kernels::Activation,
    nn::Model,
    noise::{Distribution, Grouping, Mode, unit_noise},
    ops::Loss,
    optim::{Decay, LearningRateSchedule, OptimizerKind},
    train::{Control, Prepared, RunConfig, Trainer, run},
};

const FEATURES: usize = 5;
/// Projections of four rows: 20 elements of the weight, 4 of the bias.
const CLASSES: usize = 12;
const SAMPLES: usize = 24;
const STEPS: u64 = 14;

fn data() -> Dataset {
    let shape = SampleShape { channels: 1, height: 1, width: FEATURES };
    let labels = (0..SAMPLES).map(|i| (hash(5, i as u64) % CLASSES as u64) as u32).collect();
    let targets = Targets::Classes { labels, classes: CLASSES };
    Dataset::from_arrays("made up", samples(7, SAMPLES * FEATURES, 2.0), targets, shape).unwrap()
}

fn prepared(model: Graph, data: Dataset) -> Prepared {
    Prepared {
        split: Split { train: data.clone(), test: data },
        validation: None,
        model: Model { description: "made up".to_owned(), graph: model },
        loss: Loss::Nll.into(),
        label_noise: None,
    }
}

fn packed() -> Graph {
    let (mut graph, input) = Graph::new(FEATURES).unwrap();
    graph.linear(input, "attn", CLASSES, Activation::Identity).unwrap();
    for tensor in ["attn.weight", "attn.bias"] {
        graph.set_projections(tensor, &["q", "k", "v"]).unwrap();
    }
    graph
}

fn config(optimizer: OptimizerKind) -> RunConfig {
    RunConfig {
        optimizer,
        lr: 0.05,
        min_lr: Some(0.005),
        schedule: LearningRateSchedule::WarmupCosine,
        warmup_steps: 3,
        weight_decay: 0.5,
        decay: Decay::Matrices,
        beta1: 0.8,
        beta2: 0.95,
        momentum: 0.0,
        clip_norm: Some(0.3),
        noise: Mode::Layer,
        groups: Grouping::Projection,
        sigma: 0.4,
        batch: 4,
        accumulate: 2,
        steps: Some(STEPS),
        batch_order: BatchOrder::Sequential,
        seed: 11,
        ..RunConfig::default()
    }
}

/// The weights before and after a run.
fn train(config: &RunConfig, prepared: &Prepared) -> [Vec<Vec<f32>>; 2] {
    config.check().unwrap();
    let mut trainer = Trainer::new(device(), config, prepared).unwrap();
    let weights = |trainer: &Trainer<'_>| get(device(), &trainer.arena, &trainer.arena.weights);
    let before = weights(&trainer);
    run(&mut trainer, config, None, &mut |_| Ok(Control::Continue)).unwrap();
    [before, weights(&trainer)]
}

/// `get_lr` of nanoGPT's train.py.
fn rate(config: &RunConfig, step: u64) -> f64 {
    let (step, warmup, steps) = (step as f64, config.warmup_steps as f64, STEPS as f64);
    if step < warmup {
        return config.lr * (step + 1.0) / (warmup + 1.0);
    }
    let coefficient = 0.5 * (1.0 + (std::f64::consts::PI * (step - warmup) / (steps - warmup)).cos());
    let lowest = config.min_lr.unwrap();
    lowest + coefficient * (config.lr - lowest)
}

/// Gradient of the mean loss over the samples of a step, those of two batches.
fn gradient(weights: &[Vec<f64>], data: &Dataset, step: u64, batch: usize) -> [Vec<f64>; 2] {
    let values: Vec<f32> = samples(7, SAMPLES * FEATURES, 2.0);
    let mut sum = [vec![0.0; CLASSES * FEATURES], vec![0.0; CLASSES]];
    for i in 0..batch {
        let sample = (step as usize * batch + i) % SAMPLES;
        let x = wide(&values[sample * FEATURES..][..FEATURES]);
        let mut slopes = softmax(&linear(&weights[0], &weights[1], &x));
        slopes[data.targets.labels()[sample] as usize] -= 1.0;
        for (row, slope) in slopes.iter().enumerate() {
            sum[1][row] += slope / batch as f64;
            for (column, x) in x.iter().enumerate() {
                sum[0][row * FEATURES + column] += slope * x / batch as f64;
            }
        }
    }
    sum
}

/// The weights after the run: groups in turn, q, k and v of the weight, then of the bias.
fn by_hand(config: &RunConfig, before: &[Vec<f32>], data: &Dataset) -> Vec<Vec<f64>> {
    let mut weights: Vec<Vec<f64>> = before.iter().map(|tensor| wide(tensor)).collect();
    let mut moments: Vec<[Vec<f64>; 2]> = weights.iter().map(|w| [vec![0.0; w.len()], vec![0.0; w.len()]]).collect();
    for step in 0..STEPS {
        let (tensor, projection) = (step as usize % 6 / 3, step as usize % 3);
        let mut noisy = weights.clone();
        let len = noisy[tensor].len() / 3;
        let part = projection * len..(projection + 1) * len;
        for (element, weight) in part.clone().zip(&mut noisy[tensor][part]) {
            let unit = unit_noise(Distribution::Gaussian, config.seed, step as u32, tensor as u32, element);
            *weight += config.sigma * f64::from(unit);
        }
        let gradient = gradient(&noisy, data, step, config.batch * config.accumulate);
        let norm = gradient.iter().flatten().map(|g| g * g).sum::<f64>().sqrt();
        let clip = (config.clip_norm.unwrap() / (norm + 1e-6)).min(1.0);
        let (rate, t) = (rate(config, step), step as i32 + 1);
        for tensor in 0..2 {
            let decay = if tensor == 0 { config.weight_decay } else { 0.0 };
            let [first, second] = &mut moments[tensor];
            for (i, w) in weights[tensor].iter_mut().enumerate() {
                let mut g = clip * gradient[tensor][i];
                match config.optimizer {
                    OptimizerKind::AdamW | OptimizerKind::Lion => *w *= 1.0 - rate * decay,
                    _ => g += decay * *w,
                }
                if config.optimizer == OptimizerKind::Sgd {
                    *w -= rate * g;
                    continue;
                }
                if config.optimizer == OptimizerKind::Lion {
                    *w -= rate * (config.beta1 * first[i] + (1.0 - config.beta1) * g).signum();
                    first[i] = config.beta2 * first[i] + (1.0 - config.beta2) * g;
                    continue;
                }
                first[i] = config.beta1 * first[i] + (1.0 - config.beta1) * g;
                second[i] = config.beta2 * second[i] + (1.0 - config.beta2) * g * g;
                let corrected = |moment: f64, beta: f64| moment / (1.0 - beta.powi(t));
                let root = corrected(second[i], config.beta2).sqrt();
                *w -= rate * corrected(first[i], config.beta1) / (root + config.eps);
            }
        }
    }
    weights
}

#[test]
fn a_run_follows_the_rules_written_out_by_hand() {
    let data = data();
    // Schedule-free SGD takes no schedule, and Muon no network of one layer.
    let others = [OptimizerKind::ScheduleFree, OptimizerKind::Muon];
    for optimizer in OptimizerKind::ALL.into_iter().filter(|optimizer| !others.contains(optimizer)) {
        let config = config(optimizer);
        let [before, after] = train(&config, &prepared(packed(), data.clone()));
        let expected = by_hand(&config, &before, &data);
        for (tensor, expected) in expected.iter().enumerate() {
            assert_close(&format!("{optimizer}, tensor {tensor}"), &after[tensor], expected, 2e-6, 0.0);
        }
        // Each of the settings makes a difference that the comparison would see.
        let others = [
            RunConfig { decay: Decay::All, ..config.clone() },
            RunConfig { groups: Grouping::Tensor, ..config.clone() },
            RunConfig { clip_norm: None, ..config.clone() },
            RunConfig { min_lr: None, ..config.clone() },
            RunConfig { accumulate: 1, batch: 4, ..config.clone() },
        ];
        for other in others {
            let [_, found] = train(&other, &prepared(packed(), data.clone()));
            let differ = found.iter().flatten().zip(expected.iter().flatten());
            let largest = differ.map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
            assert!(largest > 1e-4, "{optimizer}: {largest}");
        }
    }
}

/// Texts of four tokens each with the token that follows at each place.
fn windows() -> (Graph, Dataset) {
    const LENGTH: usize = 4;
    const VOCABULARY: usize = 7;
    let tokens = |seed| (0..SAMPLES * LENGTH).map(|i| (hash(seed, i as u64) % VOCABULARY as u64) as u32).collect();
    let shape = SampleShape { channels: 1, height: 1, width: LENGTH };
    let targets = Targets::Tokens { tokens: tokens(302), length: LENGTH, vocabulary: VOCABULARY };
    let inputs: Vec<u32> = tokens(301);
    let data = Dataset::from_arrays("text", inputs, targets, shape).unwrap();
    let (mut graph, input) = Graph::with_input(ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY }).unwrap();
    let value = graph.embedding(input, "embedding", 5).unwrap();
    graph.linear(value, "head", VOCABULARY, Activation::Identity).unwrap();
    (graph, data)
}

/// Gradients of two batches of texts, and of three of which the last is short, are those of one that is as large.
#[test]
fn batches_of_texts_add_up() {
    let (graph, data) = windows();
    let prepared = prepared(graph, data);
    let trained = |batch, accumulate| {
        let config = RunConfig { batch, accumulate, noise: Mode::Model, ..config(OptimizerKind::AdamW) };
        train(&config, &prepared)[1].clone()
    };
    for (parts, whole) in [([4, 2], 8), ([5, 3], 15)] {
        let found = trained(parts[0], parts[1]);
        let expected = trained(whole, 1);
        for (found, expected) in found.iter().zip(&expected) {
            assert_close(&format!("{parts:?}"), found, &wide(expected), 2e-6, 0.0);
        }
        assert!(found != trained(parts[0], 1), "the first batch alone is another step");
    }
}
