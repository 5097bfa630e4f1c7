//! The quality of predictions: against torchmetrics, where it is measured, and of means over draws of weights.
//!
//! The fixture is made by scripts/make_quality_fixture.py.

use std::sync::Arc;

use crate::common::{bits, device, hash, parity_file, supervised::config, trace::weights};
use jostle::{
    data::{BatchOrder, Dataset, SampleShape, Split, Targets, Vocabulary},
    gpu::Gpu,
    graph::ValueShape,
    kernels::Arena,
    nn::{Model, NamedTensor, Sequential},
    noise::{Mode, NoiseScheme, Scheme, deltas},
    ops::Loss,
    schedule::Moment,
    train::{
        Control, EpochRecord, Evaluation, Network, NoisePosterior, Prepared, Quality, QualitySums, RunConfig, Scored,
        TrainStep, Trainer, WeightsPosterior, has_quality, run,
    },
};

#[derive(serde::Deserialize)]
struct Case {
    name: String,
    nll: f64,
    brier: f64,
    ece: f64,
    accuracy: f64,
    labels: Vec<usize>,
    logits: Vec<Vec<f32>>,
}

#[derive(serde::Deserialize)]
struct Fixture {
    cases: Vec<Case>,
}

fn assert_quality(name: &str, found: Quality, expected: Quality, tolerance: f64) {
    let pairs = [(found.nll, expected.nll), (found.brier, expected.brier), (found.ece, expected.ece)];
    let close = pairs.iter().all(|(found, expected)| (found - expected).abs() <= tolerance * expected.abs().max(1.0));
    assert!(close, "{name}: {found:?}, expected {expected:?}");
}

#[test]
fn quality_is_that_of_torchmetrics() {
    let text = std::fs::read_to_string(parity_file("quality.json")).unwrap();
    let Fixture { cases } = serde_json::from_str(&text).unwrap();
    assert!(cases.iter().map(|case| case.labels.len()).sum::<usize>() > 300);
    for Case { name, nll, brier, ece, accuracy, labels, logits } in cases {
        let mut sums = QualitySums::default();
        assert_eq!(logits.len(), labels.len());
        logits.iter().zip(labels).for_each(|(logits, label)| sums.add_logits(logits, label));
        assert_quality(&name, sums.quality(), Quality { nll, brier, ece }, 1e-6);
        assert!((sums.accuracy() - accuracy).abs() < 1e-6, "{name}");
    }
}

fn records(config: &RunConfig, prepared: &Prepared) -> Vec<EpochRecord> {
    let mut trainer = Trainer::new(device(), config, prepared).unwrap();
    run(&mut trainer, config, None, &mut |_| Ok(Control::Continue)).unwrap().epochs
}

/// That the likelihood is the loss but for the roundings of a batch's sum in f32.
fn assert_is_loss(name: &str, quality: Option<Quality>, loss: Option<f64>) {
    let (nll, loss) = (quality.unwrap().nll, loss.unwrap());
    assert!((nll - loss).abs() <= 2e-6 * loss, "{name}: {nll}, the test loss is {loss}");
}

/// Whatever the training's label smoothing, at each evaluation that scores the test data and at no other.
#[test]
fn its_likelihood_is_the_test_loss() {
    let base = RunConfig { label_smoothing: 0.2, lr: 0.1, ..config() };
    let records_of = |config: &RunConfig| records(config, &Prepared::load(config).unwrap());
    let found = records_of(&base);
    assert_eq!(found.len(), 3);
    found.iter().for_each(|record| assert_is_loss("digits", record.quality, record.scores.test_loss));
    let Quality { brier, ece, .. } = found[2].quality.unwrap();
    assert!(brier > 0.0 && brier < found[0].quality.unwrap().brier && ece > 0.0 && ece < 1.0, "{brier} {ece}");
    let apart = records_of(&RunConfig { validation: Some("0.2".parse().unwrap()), ..base.clone() });
    let [tested, measured] =
        [|record: &EpochRecord| record.scores.test_loss.is_some(), |record: &EpochRecord| record.quality.is_some()]
            .map(|which: fn(&EpochRecord) -> bool| apart.iter().map(which).collect::<Vec<_>>());
    assert_eq!((&tested, measured.last()), (&measured, Some(&true)));
    assert!(!measured[0], "only the end scores the test data");
    for record in records_of(&RunConfig { loss: Loss::Mse, ..base }) {
        assert!(record.scores.test_loss.is_some() && record.quality.is_none(), "{record:?}");
    }
}

const VOCABULARY: usize = 9;
const LENGTH: usize = 6;

fn text(tokens: usize) -> Dataset {
    let tokens = (0..tokens as u64).map(|i| (hash(431, i) % 3 * (hash(432, i) % 4)) as u32).collect();
    Dataset::from_text("text", tokens, Vocabulary::Numbers { size: VOCABULARY }).unwrap().with_block(LENGTH).unwrap()
}

fn language_model(width: usize) -> Model {
    let input = ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY };
    Sequential::with_input(input).embedding(4).linear(width).build().unwrap()
}

/// Each position counts, with its own label: of a text one window after the other, of windows drawn from one, and of arrays.
#[test]
fn texts_have_it_at_each_position() {
    let config = RunConfig { lr: 0.3, batch: 32, epochs: 1, steps: None, ..config() };
    let split = || Split { train: text(600), test: text(4000) };
    let check = |name: &str, config: &RunConfig, split: Split| {
        let prepared = Prepared::with_model(config, split, language_model(VOCABULARY)).unwrap();
        let last = *records(config, &prepared).last().unwrap();
        assert_is_loss(name, last.quality, last.scores.test_loss);
    };
    check("whole", &config, split());
    check("drawn", &RunConfig { eval_windows: Some(550), ..config.clone() }, split());
    let tokens: Vec<u32> = (0..600 * LENGTH as u64).map(|i| (hash(433, i) % VOCABULARY as u64) as u32).collect();
    let next = Targets::Tokens { tokens: tokens.clone(), length: LENGTH, vocabulary: VOCABULARY };
    let shape = SampleShape { channels: 1, height: 1, width: LENGTH };
    let arrays = Dataset::from_arrays("arrays", tokens, next, shape).unwrap();
    check("arrays", &config, Split { train: arrays.clone(), test: arrays });
}

/// 6 x 4096 outputs a sample are too many beyond 1365 samples, one label a sample is never.
#[test]
fn outputs_that_are_too_many_to_read_back_have_none() {
    let model = language_model(4096);
    let has = |windows: usize, loss: Loss| has_quality(&model, &text(LENGTH * windows + 1), &loss);
    assert!(has(1365, Loss::Nll) && !has(1366, Loss::Nll) && !has(1, Loss::Mse));
    let shape = SampleShape { channels: 1, height: 1, width: 1 };
    let many = Dataset::from_arrays("many", vec![0u8; 40_000], vec![1; 40_000], shape).unwrap();
    let wide = Sequential::new(1).linear(1000).build().unwrap();
    assert!(has_quality(&wide, &many, &Loss::Nll));
    let numbers = Dataset::from_arrays("numbers", vec![0u8; 2], Targets::vectors(vec![0.5; 2], 1), shape).unwrap();
    assert!(!has_quality(&wide, &numbers, &Loss::Nll));
}

/// A network with weights of its own on the test digits.
fn placed<'g>(gpu: &'g Gpu, config: &RunConfig, prepared: &Prepared, weights: &[Vec<f32>]) -> Network<'g> {
    let network = Network::new(gpu, config, prepared).unwrap();
    let params = prepared.model.graph.params().iter().zip(weights);
    let tensor = |(param, values): (&jostle::graph::Param, &Vec<f32>)| NamedTensor {
        name: param.name.clone(),
        shape: param.shape.clone(),
        values: values.clone(),
    };
    network.place(params.map(tensor).collect(), "weights").unwrap();
    network
}

fn softmax(logits: &[f32]) -> Vec<f64> {
    let powers: Vec<f64> = logits.iter().map(|logit| f64::from(*logit).exp()).collect();
    powers.iter().map(|power| power / powers.iter().sum::<f64>()).collect()
}

/// Probabilities are averaged, not logits or likelihoods, over the noise of the scheme's first steps.
#[test]
fn means_over_noise_are_those_of_its_draws() {
    let (gpu, draws) = (device(), 3);
    for noise in [Mode::All, Mode::Layer] {
        let config = RunConfig { noise, sigma: 0.4, ..config() };
        let prepared = Prepared::load(&config).unwrap();
        let params = prepared.model.graph.params();
        let weights: Vec<Vec<f32>> = (0..)
            .zip(params)
            .map(|(seed, param)| crate::common::samples(441 + seed, param.shape.iter().product(), 0.4))
            .collect();
        let network = placed(gpu, &config, &prepared, &weights);
        let evaluator = network.evaluator(prepared.split.test.clone()).unwrap();
        let layout = prepared.model.graph.layout();
        let scheme = Scheme::new(config.noise_config(), &layout, &prepared.model.noise_tensors(), 77);
        let when = Moment::START;
        let posterior = NoisePosterior::new(gpu, network.arena(), Arc::new(scheme.clone()), when).unwrap();
        let Scored { evaluation, quality } = evaluator.score_mean(gpu, &posterior, draws, None).unwrap().unwrap();
        assert_eq!(evaluator.score_mean(gpu, &posterior, 0, None).unwrap(), None);

        let labels: Vec<u32> = prepared.split.test.targets.labels().to_vec();
        let mut means = vec![vec![0.0; 10]; labels.len()];
        for draw in 0..u64::from(draws) {
            let arena = Arena::new(gpu, layout.clone(), &scheme.scales()).unwrap();
            let noise = deltas(gpu, &arena, &scheme, &scheme.at(draw, when)).unwrap();
            let sum = |(weight, noise): (&Vec<f32>, Vec<f32>)| weight.iter().zip(noise).map(|(w, n)| w + n).collect();
            let noisy: Vec<Vec<f32>> = weights.iter().zip(noise).map(sum).collect();
            let network = placed(gpu, &config, &prepared, &noisy);
            let (_, outputs) = network.evaluator(prepared.split.test.clone()).unwrap().outputs(gpu).unwrap();
            for (mean, logits) in means.iter_mut().zip(outputs.chunks(10)) {
                mean.iter_mut().zip(softmax(logits)).for_each(|(mean, p)| *mean += p / f64::from(draws));
            }
        }
        let mut sums = QualitySums::default();
        for (mean, label) in means.iter().zip(labels) {
            sums.add_probabilities(mean, mean[label as usize].ln(), label as usize);
        }
        // Sums in another order in noisy weights, of 88 terms at most.
        assert_quality(noise.name(), quality.unwrap(), sums.quality(), 1e-5);
        assert_eq!(evaluation, Evaluation { loss: quality.unwrap().nll, accuracy: sums.accuracy() });
        let clean = evaluator.score(gpu).unwrap();
        assert!((clean.quality.unwrap().nll - evaluation.loss).abs() > 1e-3, "the noise shows: {clean:?}");
    }
}

/// With batch norms, whose statistics are not those of the training data at first.
fn normed(config: &RunConfig) -> Prepared {
    let split = Prepared::load(config).unwrap().split;
    let model = Sequential::new(64).linear(16).batch_norm().relu().linear(10).build().unwrap();
    Prepared::with_model(config, split, model).unwrap()
}

#[test]
fn draws_have_statistics_of_their_own_which_are_put_back() {
    let gpu = device();
    let config = RunConfig { bn_recalibrate: true, noise: Mode::None, seed: 3, ..config() };
    let prepared = normed(&config);
    let mut trainer = Trainer::new(gpu, &config, &prepared).unwrap();
    let places = trainer.places(BatchOrder::Shuffled, config.seed, 0);
    trainer.begin_epoch(0, places).unwrap();
    let stats = || bits(&gpu.read::<f32>(&trainer.arena.stats.view()).unwrap());
    let (before, plain) = (stats(), trainer.score_test().unwrap());
    let point = WeightsPosterior::new(gpu, &trainer.arena, &trainer.arena.weights).unwrap();
    let scored = trainer.score_mean(&point, 1).unwrap().unwrap();
    assert_eq!(stats(), before);
    assert_eq!(trainer.score_test().unwrap(), plain);
    assert_ne!(scored.quality, plain.quality);

    // Elsewhere, over the same batches.
    let network = Network::new(gpu, &config, &prepared).unwrap();
    let params = prepared.model.graph.params().iter().enumerate();
    let tensor = |(at, param): (usize, &jostle::graph::Param)| {
        let values = gpu.read(&trainer.arena.tensor(&trainer.arena.weights, at).unwrap()).unwrap();
        NamedTensor { name: param.name.clone(), shape: param.shape.clone(), values }
    };
    let states = prepared.model.graph.stats().iter().map(|stat| {
        let values = vec![if stat.name.ends_with("var") { 1.0 } else { 0.0 }; stat.channels];
        NamedTensor { name: stat.name.clone(), shape: vec![stat.channels], values }
    });
    network.place(params.map(tensor).chain(states).collect(), "weights").unwrap();
    let evaluator = network.evaluator(prepared.split.test.clone()).unwrap();
    assert_eq!(evaluator.score(gpu).unwrap().quality, plain.quality);
    let statistics = network.statistics(&config, &prepared.split.train).unwrap().unwrap();
    let arena = network.arena();
    let point = WeightsPosterior::new(gpu, arena, &arena.weights).unwrap();
    let elsewhere = evaluator.score_mean(gpu, &point, 1, Some(statistics.recalibration())).unwrap();
    assert_eq!(elsewhere, Some(scored));
    // Without them it is the quality of the weights as they are, to the bit.
    assert_eq!(evaluator.score_mean(gpu, &point, 1, None).unwrap().unwrap().quality, plain.quality);

    trainer.recalibrate().unwrap();
    assert_eq!(trainer.score_test().unwrap().quality, scored.quality);
}

#[test]
fn a_mean_between_steps_changes_nothing() {
    let config = RunConfig { bn_recalibrate: true, sigma: 0.3, ..config() };
    let prepared = normed(&config);
    let trained = |averages: bool| {
        let mut trainer = Trainer::new(device(), &config, &prepared).unwrap();
        trainer.begin_epoch(0, (0..trainer.samples() as u32).collect()).unwrap();
        for first in [0, 100, 200] {
            trainer.train_step(TrainStep { first, valid: 100, rate: trainer.rate(0.1) }, None).unwrap();
            if averages {
                let layout = prepared.model.graph.layout();
                let scheme = Scheme::new(config.noise_config(), &layout, &prepared.model.noise_tensors(), 5);
                let scheme: Arc<dyn NoiseScheme> = Arc::new(scheme);
                let posterior = NoisePosterior::new(device(), &trainer.arena, scheme, Moment::START).unwrap();
                assert!(trainer.score_mean(&posterior, 2).unwrap().is_some());
            }
        }
        (weights(&trainer), bits(&device().read::<f32>(&trainer.arena.stats.view()).unwrap()))
    };
    assert!(trained(true) == trained(false));
}
