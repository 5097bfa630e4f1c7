//! The same seed gives the same bits; where data lie and how batches are padded changes nothing.

use crate::common::{
    ROUNDOFF, assert_close, bits, device, hash, network, samples,
    supervised::config,
    trace::{Trace, weights},
    wide,
};
use jostle::{
    data::{Dataset, SampleShape, Targets},
    graph::{BatchInfo, Plan, PlanMode, Schedule},
    kernels::{Activation, Arena},
    nn::Model,
    noise::{Mode, Scale, deltas},
    ops::Loss,
    optim::OptimizerKind,
    schedule::Moment,
    train::{Control, DeviceData, Event, Prepared, RunConfig, Status, TrainError, TrainStep, Trainer, run},
};

fn train(config: &RunConfig) -> Trace {
    Trace::new(config, &Prepared::load(config).unwrap())
}

#[test]
fn runs_repeat_bit_by_bit() {
    for (optimizer, noise, noise_scale) in [
        (OptimizerKind::Sgd, Mode::Layer, Scale::Absolute),
        (OptimizerKind::AdamW, Mode::All, Scale::Absolute),
        (OptimizerKind::Sgd, Mode::Layer, Scale::Filter),
    ] {
        let config = RunConfig { optimizer, noise, noise_scale, ..config() };
        let once = train(&config);
        assert_eq!(once, train(&config));
        assert_eq!((once.steps.len(), once.epochs.len(), once.status), (30, 3, Status::Finished));
        assert!(once.epochs[2].scores.train_loss < once.epochs[0].scores.train_loss, "it learns: {:?}", once.epochs);
    }
}

#[test]
fn seeds_and_noise_change_the_run() {
    let base = train(&config());
    let others = [
        RunConfig { seed: 6, ..config() },
        RunConfig { seed: 5 + (1 << 32), ..config() },
        RunConfig { noise: Mode::None, ..config() },
        RunConfig { noise: Mode::All, ..config() },
        RunConfig { sigma: 0.06, ..config() },
    ];
    for other in others {
        assert_ne!(train(&other).weights, base.weights, "{other:?}");
    }
    // without noise its strength is nothing
    let quiet = RunConfig { noise: Mode::None, ..config() };
    assert_eq!(train(&quiet), train(&RunConfig { sigma: 9.0, ..quiet.clone() }));
}

#[test]
fn a_run_that_learns_nothing_leaves_its_weights_exactly() {
    for noise in Mode::ALL {
        for noise_scale in Scale::ALL {
            let config = RunConfig { noise, noise_scale, lr: 0.0, steps: Some(14), ..config() };
            let prepared = Prepared::load(&config).unwrap();
            let mut trainer = Trainer::new(device(), &config, &prepared).unwrap();
            let (before, evaluation) = (weights(&trainer), trainer.evaluate_test().unwrap());
            let result = run(&mut trainer, &config, None, &mut |_| Ok(Control::Continue)).unwrap();
            assert_eq!(weights(&trainer), before, "{noise} {noise_scale}");
            // evaluation is on clean weights, whatever noise there was
            let last = result.epochs.last().unwrap();
            assert_eq!(last.scores.with_test(evaluation), last.scores);
            let effective: Vec<f32> = device().read(&trainer.arena.weights_eff.view()).unwrap();
            assert_eq!(bits(&effective), before, "{noise} {noise_scale}: an evaluation leaves them clean");
        }
    }
}

/// The deltas exported for a step are those that the step trains with.
#[test]
fn exported_deltas_are_those_of_the_training_step() {
    let gpu = device();
    for noise in [Mode::Layer, Mode::All] {
        let config = RunConfig { noise, ..config() };
        let prepared = Prepared::load(&config).unwrap();
        let mut trainer = Trainer::new(gpu, &config, &prepared).unwrap();
        trainer.perturb(&trainer.scheme().at(0, Moment::START)).unwrap(); // as the first step would, to look at
        for step in 0..5 {
            let now = trainer.scheme().at(step, Moment::START);
            let clean = network::get(gpu, &trainer.arena, &trainer.arena.weights);
            let noisy = network::get(gpu, &trainer.arena, &trainer.arena.weights_eff);
            let found = deltas(gpu, &trainer.arena, trainer.scheme(), &now).unwrap();
            for (tensor, delta) in found.iter().enumerate() {
                let sum: Vec<f32> = clean[tensor].iter().zip(delta).map(|(w, d)| w + d).collect();
                // the sum's rounding again, and the delta's own where the adapter contracts a * b + c
                let largest = delta.iter().fold(0.5_f64, |m, d| m.max(f64::from(d.abs())));
                let name = format!("{noise}, step {step}, tensor {tensor}");
                assert_close(&name, &noisy[tensor], &wide(&sum), 2.0 * ROUNDOFF * largest, 2.0 * ROUNDOFF);
                assert_eq!(delta.iter().any(|d| *d != 0.0), now.group.is_none_or(|group| group == tensor), "{name}");
            }
            trainer.perturb(&now).unwrap(); // what the export overwrote
            let (first, rate) = (step as usize * 100, trainer.rate(0.01));
            trainer.train_step(TrainStep { first, valid: 100, rate }, None).unwrap();
        }
    }
}

#[test]
fn a_stopped_run_says_so() {
    let config = config();
    let prepared = Prepared::load(&config).unwrap();
    let mut trainer = Trainer::new(device(), &config, &prepared).unwrap();
    let result = run(&mut trainer, &config, None, &mut |event| {
        let stop = matches!(event, Event::Progress { step: 5, .. });
        Ok(if stop { Control::Stop } else { Control::Continue })
    });
    assert_eq!((result.unwrap().status, trainer.steps_done()), (Status::Interrupted, 5));
}

#[test]
fn a_diverged_run_says_so() {
    for model in ["mlp:64-24-10", "mlp:64-24-10:tanh", "mlp:64-24-10:sigmoid"] {
        let config = RunConfig { lr: 1e30, model: model.to_owned(), ..config() };
        assert!(matches!(train(&config).status, Status::Diverged { step, .. } if step < 10), "{model}");
    }
}

const FEATURES: usize = 5;

/// 23 samples of an odd number of bytes.
fn dataset() -> Dataset {
    Dataset {
        name: "test".to_owned(),
        samples: (0..23 * FEATURES).map(|i| hash(81, i as u64) as u8).collect::<Vec<_>>().into(),
        targets: Targets::Classes { labels: (0..23).map(|i| (hash(82, i) % 3) as u32).collect(), classes: 3 },
        shape: SampleShape { channels: 1, height: 1, width: FEATURES },
        full_scale: 255.0,
        published: &[],
    }
}

/// A network with a plan for batches of `batch`.
struct Net {
    arena: Arena,
    plan: Plan,
    metrics: jostle::gpu::Buffer,
    data: DeviceData,
}

impl Net {
    fn new(batch: usize, resident: bool) -> Self {
        Self::with_data(dataset(), batch, resident)
    }

    fn with_data(data: Dataset, batch: usize, resident: bool) -> Self {
        let gpu = device();
        let model = Model::mlp(&[FEATURES, 7, 3], Activation::Gelu).unwrap();
        let arena = Arena::new(gpu, model.graph.layout(), &[1.0; 4]).unwrap();
        let values = |(i, p): (usize, &jostle::graph::Param)| samples(83 + i as u64, p.shape.iter().product(), 0.7);
        let params: Vec<Vec<f32>> = model.graph.params().iter().enumerate().map(values).collect();
        network::set(gpu, &arena, &arena.weights_eff, &params);
        let mut data = DeviceData::with_residency(gpu, data, batch, &[[0.4, 0.3]], resident).unwrap();
        data.set_order(gpu, (0..23).map(|i| (i * 5 + 2) % 23).collect()).unwrap();
        let schedule = Schedule::new(&model.graph, batch, PlanMode::Train, Loss::Nll).unwrap();
        let metrics = gpu.upload("metrics", &[f32::NAN; 2]).unwrap();
        let plan = Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view()).unwrap();
        Self { arena, plan, metrics, data }
    }

    /// (metrics, gradients) of a batch.
    fn batch(&self, first: usize, valid: usize) -> (Vec<f32>, Vec<f32>) {
        let gpu = device();
        let first = self.data.stage(gpu, first, valid).unwrap();
        let mut recorder = gpu.record();
        self.plan.record(&mut recorder, BatchInfo::new(first, valid as u32, 0));
        recorder.submit().unwrap();
        (gpu.read(&self.metrics.view()).unwrap(), gpu.read(&self.arena.grads.view()).unwrap())
    }
}

#[test]
fn data_that_are_not_resident_give_the_same_bits() {
    for batch in [1, 4, 7, 22, 23] {
        let (resident, streamed) = (Net::new(batch, true), Net::new(batch, false));
        for first in (0..23).step_by(batch) {
            let valid = batch.min(23 - first);
            let outcome = |net: &Net| {
                let (metrics, grads) = net.batch(first, valid);
                (bits(&metrics), bits(&grads))
            };
            assert_eq!(outcome(&resident), outcome(&streamed), "{valid} of {batch} from {first}");
        }
    }
}

/// The same values as bytes and as numbers of which 255 means 1.0.
#[test]
fn numbers_give_the_bits_of_the_bytes_that_they_are() {
    let numbers = |value: &u8| f32::from(*value);
    let values: Vec<f32> = dataset().samples.as_u8().unwrap().iter().map(numbers).collect();
    let data = Dataset { samples: values.into(), ..dataset() };
    assert_eq!(data.mean_std(), dataset().mean_std());
    for resident in [true, false] {
        let (bytes, numbers) = (Net::new(7, resident), Net::with_data(data.clone(), 7, resident));
        let outcome = |net: &Net| {
            let (metrics, grads) = net.batch(14, 7);
            (bits(&metrics), bits(&grads))
        };
        assert_eq!(outcome(&bytes), outcome(&numbers), "resident {resident}");
    }
    let scaled = |values: Vec<f32>| Dataset::from_arrays("mine", values, vec![1, 0], dataset().shape);
    let mut values = vec![0.5; 2 * FEATURES];
    assert_eq!(scaled(values.clone()).unwrap().full_scale, 1.0);
    values[FEATURES + 3] = f32::NAN;
    let error = scaled(values).unwrap_err().to_string();
    assert_eq!(error, "mine: at value 3 of sample 1, expected a finite number, found none");
}

#[test]
fn data_that_would_lead_kernels_astray_are_refused() {
    let gpu = device();
    let refusal = |data| match DeviceData::new(gpu, data, 4, &[]) {
        Ok(_) => panic!("taken"),
        Err(error) => error.to_string(),
    };
    let mut wrong = dataset();
    let Targets::Classes { labels, .. } = &mut wrong.targets else { panic!("{:?}", wrong.targets) };
    labels[17] = 3;
    assert_eq!(refusal(wrong), "test: at sample 17, expected a label below 3, found 3");
    let mut short = dataset();
    short.samples = short.samples.as_u8().unwrap()[1..].to_vec().into();
    assert_eq!(refusal(short), "test: expected 23 samples of 5 pixels each, found 114 pixels");
    for resident in [true, false] {
        let mut data = DeviceData::with_residency(gpu, dataset(), 4, &[], resident).unwrap();
        let order = (1..24).collect();
        let error = data.set_order(gpu, order).unwrap_err().to_string();
        assert_eq!(error, "the order of samples has 23 at position 22, expected a value below 23");
        assert!(
            data.set_order(gpu, (0..22).collect()).is_err() && data.set_order(gpu, (0..23).rev().collect()).is_ok()
        );
        assert!(data.stage(gpu, 20, 3).is_ok() && data.stage(gpu, 23, 0).is_ok());
        for (first, valid) in [(20, 4), (24, 0), (usize::MAX, 1), (1, usize::MAX)] {
            assert!(data.stage(gpu, first, valid).is_err(), "{valid} samples from {first}");
        }
        assert_eq!(data.stage(gpu, 0, 5).is_ok(), resident, "there is room for 4");
    }
}

#[test]
fn more_classes_than_outputs_are_refused() {
    let gpu = device();
    let config = RunConfig { model: "mlp:64-9".to_owned(), ..config() };
    let right = Prepared::load(&self::config()).unwrap();
    let prepared = Prepared { model: Model::mlp(&[64, 9], Activation::Relu).unwrap(), ..right };
    let error = Trainer::new(gpu, &config, &prepared).unwrap_err();
    assert!(matches!(error, TrainError::Gpu(_)), "{error}");
    assert!(error.to_string().contains("10 classes for 9 outputs"), "{error}");
}

#[test]
fn a_partial_batch_equals_a_smaller_one() {
    for (batch, valid) in [(8, 3), (23, 1), (4, 2)] {
        let (padded, exact) = (Net::new(batch, true), Net::new(valid, true));
        padded.batch(0, batch); // leaves its rubbish in the rows beyond
        let (found, expected) = (padded.batch(20, valid), exact.batch(20, valid));
        // sums may be split otherwise: a few roundings of values below 4
        assert_close("metrics", &found.0, &wide(&expected.0), 16.0 * ROUNDOFF, 0.0);
        assert_close("gradients", &found.1, &wide(&expected.1), 16.0 * ROUNDOFF, 0.0);
    }
}
