//! Every family of networks: 50 steps, and 20 on software adapters, repeat bit by bit, in both precisions, with noise of every mode; and in small buffers.

use crate::common::{device, images::hashed_squares, sanitize, trace::Trace};
use jostle::{
    data::Split,
    gpu::{Element, Faults, Limits, WORD_BYTES},
    graph::{PlanMode, Schedule, Slot, ValueShape, memory},
    kernels::AdapterClass,
    nn::{Model, Signature},
    noise::Mode,
    ops::Loss,
    optim::OptimizerKind,
    train::{EvalEvery, Precision, Prepared, RunConfig, Status},
};

/// Steps of a run, and further runs: threads of a software adapter share out the work as they will in the first steps of the second.
fn length() -> (u64, &'static [&'static str]) {
    if AdapterClass::for_device(device()).is_software() { (20, &["second"]) } else { (50, &["second", "third"]) }
}

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

/// Trains each of `models` in each precision again and again, the modes of noise in turn.
fn repeat(models: &[String], side: usize) {
    let precisions = [Precision::F32, Precision::F16];
    let precisions = &precisions[..if device().has_f16() { 2 } else { 1 }];
    let runs = models.iter().flat_map(|model| precisions.iter().map(move |precision| (model, *precision)));
    let mut modes = Mode::ALL.iter().cycle();
    let (steps, again) = length();
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
            steps: Some(steps),
            eval_every: EvalEvery::Steps(steps / 2),
            log_every: 1,
            crop_padding: 1,
            flip: true,
            seed: 9,
            ..RunConfig::default()
        };
        let prepared = prepared(model, side);
        let once = Trace::new(&config, &prepared);
        let name = format!("{model}, {precision:?}, noise {noise}");
        assert_eq!((once.steps.len() as u64, once.status), (steps, Status::Finished), "{name}");
        assert_ne!(
            once.steps[0].loss.to_bits(),
            once.steps[steps as usize - 1].loss.to_bits(),
            "{name}: nothing was trained"
        );
        for again in again {
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

/// The bytes of the largest tensor or arena that has to lie in one buffer.
fn least_buffer(schedule: &Schedule, model: &Model) -> usize {
    let largest = schedule.slots.iter().map(Slot::words).max().unwrap();
    let scratch = schedule.scratch_words(AdapterClass::for_device(device())).unwrap();
    largest.max(scratch).max(model.graph.layout().words()) * WORD_BYTES as usize
}

/// Kernels that bind many tensors at once take more dispatches where these lie in several buffers, and compute the same.
#[test]
fn activations_in_many_small_buffers_change_nothing() {
    let prepared = prepared("resnet20:4", 8);
    let config = RunConfig {
        model: "resnet20:4".to_owned(),
        batch: SAMPLES,
        steps: Some(6),
        eval_every: EvalEvery::Steps(3),
        log_every: 1,
        lr: 0.001,
        ..RunConfig::default()
    };
    let graph = &prepared.model.graph;
    let schedule = Schedule::stored(graph, SAMPLES, PlanMode::Train, Loss::Nll, Element::Word).unwrap();
    let bytes = least_buffer(&schedule, &prepared.model) as u64;
    let banks = schedule.placement(memory::bank_words(bytes)).banks().count();
    assert!(banks >= 4, "{banks} buffers");
    let limits = Limits { buffer_bytes: bytes, binding_bytes: bytes, ..device().limits() };
    let narrow = device().again().with_faults(Faults { limits: Some(limits), ..sanitize::faults() });
    let once = Trace::new(&config, &prepared);
    assert_eq!(once.status, Status::Finished);
    assert!(once == Trace::on(&narrow, &config, &prepared), "other bits in {banks} buffers");
}
