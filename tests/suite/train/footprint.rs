//! What a run takes is known before it is allocated, and what does not fit is refused with what would.

use crate::common::{device, images::hashed_images, own_device};
use jostle::{
    data::Split,
    kernels::Target,
    nn::{self, Model},
    noise::Mode,
    ops::Loss,
    optim::OptimizerKind,
    train::{AUTO_BATCH, Footprint, Normalise, Options, Precision, Prepared, RunConfig, TrainError, Trainer},
};

/// Images of 3 x 32 x 32 in ten classes, and a model for them.
fn prepared(model: &str, samples: usize) -> Prepared {
    let split = Split { train: hashed_images(1, samples), test: hashed_images(2, 100) };
    let shape = split.train.shape;
    let input = jostle::graph::ValueShape::Image { channels: shape.channels, height: shape.height, width: shape.width };
    let model = Model::build(model, &nn::Signature { input, classes: 10 }).unwrap();
    Prepared { model, split, validation: None, loss: Loss::Nll.into(), label_noise: None }
}

fn config(batch: usize) -> RunConfig {
    RunConfig { batch, noise: Mode::Layer, normalise: Normalise::None, ..RunConfig::default() }
}

fn footprint(config: &RunConfig, prepared: &Prepared) -> Footprint {
    Footprint::for_run(config, prepared, config.batch, &Target::for_device(device())).unwrap()
}

#[test]
fn a_run_allocates_its_footprint() {
    let gpu = &own_device();
    let plain = config(40);
    let all = RunConfig { ema: Some(0.9), bn_recalibrate: true, clip_norm: Some(1.0), ..plain.clone() };
    let adam = RunConfig { optimizer: OptimizerKind::Adam, accumulate: 2, ..plain.clone() };
    let muon = RunConfig { optimizer: OptimizerKind::Muon, ..plain.clone() };
    let mut cases =
        vec![("mlp:3072-200-100-10", muon), ("mlp:3072-500-10", plain), ("resnet18:16", all), ("cnn2", adam.clone())];
    if gpu.has_f16() {
        cases.push(("cnn2", RunConfig { precision: Precision::F16, ..adam }));
    }
    for (model, config) in cases {
        let prepared = prepared(model, 200);
        let expected = footprint(&config, &prepared).total_bytes as f64;
        if !gpu.cooperative_matrices().is_empty() {
            // The first plan tries its pipelines out, on buffers that are gone when it stands.
            drop(Trainer::new(gpu, &config, &prepared).unwrap());
        }
        let before = gpu.allocated_bytes();
        let _trainer = Trainer::new(gpu, &config, &prepared).unwrap();
        let found = (gpu.allocated_bytes() - before) as f64;
        // Sums, indices and partial norms are not in the list: a few hundred kB of the smallest of these.
        let beyond = found / expected - 1.0;
        assert!((-0.001..0.05).contains(&beyond), "{model}: {found} bytes, expected {expected} ({beyond:+.4})");
    }
}

/// More samples than a binding of the first layer's outputs holds.
fn too_many() -> (Prepared, RunConfig) {
    let prepared = prepared("cnn2", 3000);
    (prepared, config(3000))
}

#[test]
fn a_batch_that_does_not_fit_is_refused_with_the_largest_that_does() {
    let gpu = &own_device();
    let (prepared, config) = too_many();
    let before = gpu.allocated_bytes();
    let error = Trainer::new(gpu, &config, &prepared).unwrap_err();
    if gpu.limits().binding_bytes > 128 << 20 {
        eprintln!("skipped: this adapter's bindings hold it");
        return;
    }
    assert_eq!(gpu.allocated_bytes(), before, "nothing may be allocated before the check");
    let TrainError::Memory { batch, reason, advice, .. } = &error else { panic!("{error}") };
    assert_eq!(*batch, 3000);
    assert!(reason.contains("bytes, a binding holds"), "{reason}");
    let largest: usize = advice.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!((1..3000).contains(&largest), "{advice}");
    let too_large = RunConfig { batch: largest + 1, ..config.clone() };
    assert!(matches!(Trainer::new(gpu, &too_large, &prepared), Err(TrainError::Memory { .. })));
    let auto = RunConfig { batch: AUTO_BATCH, ..config };
    assert_eq!(Trainer::new(gpu, &auto, &prepared).unwrap().batch(), largest);
}

#[test]
fn auto_takes_all_samples_where_they_fit() {
    let prepared = prepared("mlp:3072-20-10", 130);
    assert_eq!(Trainer::new(device(), &config(AUTO_BATCH), &prepared).unwrap().batch(), 130);
}

#[test]
fn free_memory_is_checked_against_the_sum() {
    let footprint = footprint(&config(40), &prepared("mlp:3072-20-10", 130));
    assert_eq!(footprint.beyond(None), None);
    assert_eq!(footprint.beyond(Some(footprint.total_bytes)), None);
    let message = footprint.beyond(Some(footprint.total_bytes - 1)).unwrap();
    assert!(message.contains(&footprint.total_bytes.to_string()), "{message}");
    if device().family() == jostle::gpu::Family::Software {
        assert!(device().free_bytes().is_some_and(|free| free > 1 << 20), "{:?}", device().free_bytes());
    }
}

#[test]
fn auto_is_a_value_of_the_key_and_of_the_option() {
    let config = RunConfig { batch: AUTO_BATCH, ..RunConfig::default() };
    let text = toml::to_string(&config).unwrap();
    assert!(text.contains("batch = \"auto\""), "{text}");
    assert_eq!(toml::from_str::<RunConfig>(&text).unwrap(), config);
    let options = Options::parse(["--batch", "auto"]).unwrap();
    assert_eq!(RunConfig::resolve(None, &options).unwrap().batch, AUTO_BATCH);
    let error = toml::from_str::<RunConfig>("batch = \"all\"").unwrap_err().to_string();
    assert!(error.contains("expected a number or auto"), "{error}");
}
