//! Every family of networks: 50 steps repeat bit by bit, in both precisions, with noise of every mode.

use crate::common::{device, images::hashed_squares, trace::Trace};
use jostle::{
    data::Split,
    graph::ValueShape,
    nn::{Model, Signature},
    noise::Mode,
    ops::Loss,
    optim::OptimizerKind,
    train::{EvalEvery, Precision, Prepared, RunConfig, Status},
};

const STEPS: u64 = 50;
/// Two whole batches and a partial one.
const SAMPLES: usize = 10;
const BATCH: usize = 4;

/// Beginnings of the names of the convolutional networks, and the smallest image that they take.
const FAMILIES: [(&str, usize); 3] = [("cnn", 16), ("resnet", 8), ("vgg", 32)];

fn prepared(model: &str, side: usize) -> Prepared {
    let input = ValueShape::Image { channels: 3, height: side, width: side };
    let split = Split { train: hashed_squares(61, SAMPLES, side), test: hashed_squares(63, BATCH, side) };
    let model = Model::build(model, &Signature { input, classes: 10 }).unwrap();
    Prepared { split, validation: None, model, loss: Loss::Nll.into(), label_noise: None }
}

/// Trains each of `models` in each precision three times, the modes of noise in turn.
fn repeat(models: &[String], side: usize) {
    let precisions = [Precision::F32, Precision::F16];
    let precisions = &precisions[..if device().has_f16() { 2 } else { 1 }];
    let runs = models.iter().flat_map(|model| precisions.iter().map(move |precision| (model, *precision)));
    let mut modes = Mode::ALL.iter().cycle();
    for (number, (model, precision)) in runs.enumerate() {
        let noise = *modes.next().unwrap();
        let config = RunConfig {
            model: model.clone(),
            precision,
            noise,
            sigma: 0.01,
            optimizer: if number % 3 == 2 { OptimizerKind::AdamW } else { OptimizerKind::Sgd },
            lr: 0.001,
            batch: BATCH,
            steps: Some(STEPS),
            eval_every: EvalEvery::Steps(STEPS / 2),
            log_every: 1,
            crop_padding: 1,
            flip: true,
            seed: 9,
            ..RunConfig::default()
        };
        let prepared = prepared(model, side);
        let once = Trace::new(&config, &prepared);
        let name = format!("{model}, {precision:?}, noise {noise}");
        assert_eq!((once.steps.len() as u64, once.status), (STEPS, Status::Finished), "{name}");
        assert_ne!(once.steps[0].loss.to_bits(), once.steps[49].loss.to_bits(), "{name}: nothing was trained");
        for again in ["second", "third"] {
            let found = Trace::new(&config, &prepared);
            let same = |a: &[u32], b: &[u32]| a.iter().zip(b).filter(|(a, b)| a != b).count();
            let (weights, stats) = (same(&once.weights, &found.weights), same(&once.stats, &found.stats));
            assert_eq!([weights, stats], [0, 0], "{name}, {again} run: weights and statistics that differ");
            assert!(once == found, "{name}, {again} run: {:?} and {:?}", once.steps, found.steps);
        }
    }
}

/// The networks by name that begin so, those of any width two channels wide.
fn family(prefix: &str) {
    let (_, side) = FAMILIES.into_iter().find(|(name, _)| *name == prefix).unwrap();
    let networks = Model::networks().filter(|(name, _)| name.starts_with(prefix));
    let models: Vec<String> =
        networks.map(|(name, scalable)| if scalable { format!("{name}:2") } else { name.to_owned() }).collect();
    repeat(&models, side);
}

#[test]
fn perceptrons_repeat() {
    repeat(&["mlp:192-40-10".to_owned(), "mlp:192-33-17-10:gelu".to_owned()], 8);
}

#[test]
fn convolutional_networks_repeat() {
    family("cnn");
}

#[test]
fn residual_networks_repeat() {
    family("resnet");
}

#[test]
fn vggs_repeat() {
    family("vgg");
}

#[test]
fn every_network_is_of_a_family() {
    for (name, _) in Model::networks() {
        assert!(FAMILIES.iter().any(|(prefix, _)| name.starts_with(prefix)), "{name} is not repeated");
    }
}
