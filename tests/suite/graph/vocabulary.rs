//! Large vocabularies: outputs are there once, and where tables or outputs are past a binding what is done in parts comes to the same.

use crate::common::{
    ROUNDOFF, assert_within, device, hash,
    network::{get, set},
    samples, sanitize, wide,
};
use jostle::{
    analysis::{Curvature, CurvatureProduct, Subject},
    data::{Dataset, SampleShape, Split, Targets},
    gpu::{Element, Family, Faults, Gpu, Limits},
    graph::{BatchInfo, Graph, LossTerms, ParamInit, Plan, PlanMode, Schedule, ValueShape},
    kernels::{AdapterClass, Arena, EffectiveWeights, GradientScaling, Target},
    nn::Model,
    noise::Mode,
    ops::{LinearOptions, Loss},
    optim::OptimizerKind,
    train::{DeviceData, Evaluator, Footprint, Normalise, Precision, Prepared, RunConfig, TrainStep, Trainer},
};

const SAMPLES: usize = 6;
const LENGTH: usize = 5;
const FEATURES: usize = 24;
/// Of which neither the table nor the outputs of a batch fit 64 KiB; the last part of them is no whole number of vec4s.
const VOCABULARY: usize = 1501;
const NARROW: u64 = 64 << 10;

/// embedding - layer norm - linear without bias - head, the embedding's table or one of its own with a bias.
fn model(vocabulary: usize, length: usize, features: usize, tied: bool) -> Model {
    let (mut graph, input) = Graph::with_input(ValueShape::Tokens { length, vocabulary }).unwrap();
    let mut value = graph.embedding(input, "wte", features).unwrap();
    value = graph.layer_norm(value, "ln").unwrap();
    value = graph.linear_with(value, "fc", LinearOptions { features, bias: false }).unwrap();
    if tied {
        graph.tied_linear(value, "wte.weight").unwrap();
    } else {
        graph.linear_with(value, "head", LinearOptions { features: vocabulary, bias: true }).unwrap();
    }
    Model { description: "language model".to_owned(), graph }
}

/// Texts whose tokens are of all parts of the table.
fn texts(seed: u64, samples: usize) -> Dataset {
    let words = |seed: u64| (0..samples * LENGTH).map(move |i| (hash(seed, i as u64) % VOCABULARY as u64) as u32);
    let mut tokens: Vec<u32> = words(seed).collect();
    tokens[..4].copy_from_slice(&[0, 511, 512, VOCABULARY as u32 - 1]);
    let mut targets: Vec<u32> = words(seed + 1).collect();
    targets[..4].copy_from_slice(&[VOCABULARY as u32 - 1, 512, 511, 0]);
    let targets = Targets::Tokens { tokens: targets, length: LENGTH, vocabulary: VOCABULARY };
    let shape = SampleShape { channels: 1, height: 1, width: LENGTH };
    Dataset::from_arrays("texts", tokens, targets, shape).unwrap()
}

/// The device, and one that binds no more than [`NARROW`].
fn devices(family: Option<Family>) -> [Gpu; 2] {
    devices_within(family, NARROW)
}

fn devices_within(family: Option<Family>, binding_bytes: u64) -> [Gpu; 2] {
    let limits = Limits { binding_bytes, ..device().limits() };
    [None, Some(limits)].map(|limits| device().again().with_faults(Faults { limits, family, ..sanitize::faults() }))
}

fn both_families(check: impl Fn(&[Gpu; 2])) {
    [None, Some(Family::Gpu)].map(devices).iter().for_each(check);
}

/// Of results that sum up the same terms in another order, by the size of the largest.
fn assert_alike(name: &str, found: &[f32], expected: &[f32], roundings: f64) {
    let expected = wide(expected);
    let size = expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
    assert!(size > 0.0 || expected.is_empty(), "{name}: nothing to compare with");
    assert_within(name, found, &expected, &vec![roundings * ROUNDOFF * size; expected.len()]);
}

/// The gradients of all parameters and the sums of a batch of training.
fn gradients(gpu: &Gpu, model: &Model, mode: PlanMode, element: Element) -> (Vec<Vec<f32>>, Vec<f32>) {
    let params = model.graph.params();
    let arena = Arena::stored(gpu, model.graph.layout(), &vec![1.0; params.len()], element).unwrap();
    let values = |seed: u64, scale: f32| -> Vec<Vec<f32>> {
        let tensor = |(i, p): (usize, &jostle::graph::Param)| samples(seed + i as u64, p.shape.iter().product(), scale);
        params.iter().enumerate().map(tensor).collect()
    };
    set(gpu, &arena, &arena.weights, &values(400, 0.7));
    set(gpu, &arena, &arena.grads, &values(420, 0.01));
    let mut recorder = gpu.record();
    EffectiveWeights::new(gpu, &arena, &arena.weights).unwrap().record(&mut recorder);
    recorder.submit().unwrap();
    let scaling = GradientScaling { loss_scale: 64.0, ..GradientScaling::initial(element) };
    gpu.write(&arena.scaling.view(), &[scaling]).unwrap();
    let data = DeviceData::new(gpu, texts(410, SAMPLES), SAMPLES, &[]).unwrap();
    let schedule = Schedule::stored(&model.graph, SAMPLES, mode, Loss::Nll, element).unwrap();
    let schedule = schedule.within_bindings(gpu.limits());
    let schedule = schedule.with_deferred_sums(AdapterClass::for_device(gpu)).unwrap();
    let metrics = gpu.upload("metrics", &[f32::NAN; 2]).unwrap();
    let plan = Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view()).unwrap();
    let mut recorder = gpu.record();
    // One sample of the batch is not there, and targets are smoothed.
    let valid = SAMPLES as u32 - 1;
    let terms = LossTerms { mean_over: valid, label_smoothing: 0.1 };
    plan.record(&mut recorder, BatchInfo { terms, ..BatchInfo::new(0, valid, 0) });
    recorder.submit().unwrap();
    (get(gpu, &arena, &arena.grads), gpu.read(&metrics.view()).unwrap())
}

#[test]
fn gradients_of_parts_are_those_of_the_whole() {
    both_families(|[whole, narrow]| {
        for (tied, mode) in [(true, PlanMode::Train), (false, PlanMode::Train), (true, PlanMode::Accumulate)] {
            let model = model(VOCABULARY, LENGTH, FEATURES, tied);
            let [whole, narrow] = [whole, narrow].map(|gpu| gradients(gpu, &model, mode, Element::Word));
            assert_alike("loss", &narrow.1, &whole.1, 8.0);
            assert_eq!(narrow.1[1], whole.1[1], "answers that are right");
            for ((found, expected), param) in narrow.0.iter().zip(&whole.0).zip(model.graph.params()) {
                assert_alike(&format!("{mode:?} {}", param.name), found, expected, 50.0);
            }
        }
    });
}

#[test]
fn gradients_of_parts_are_those_of_the_whole_in_f16() {
    if !device().has_f16() {
        eprintln!("skipped: this adapter has no f16");
        return;
    }
    let [whole, narrow] = devices(None);
    let model = model(VOCABULARY, LENGTH, FEATURES, true);
    let [whole, narrow] = [whole, narrow].map(|gpu| gradients(&gpu, &model, PlanMode::Train, Element::Half));
    // Each part of a data gradient is rounded to f16, 2^-11, and added to those before it.
    let roundings = 8.0 * 2_f64.powi(-11) / ROUNDOFF;
    assert_alike("loss", &narrow.1, &whole.1, 8.0);
    for ((found, expected), param) in narrow.0.iter().zip(&whole.0).zip(model.graph.params()) {
        assert_alike(&format!("f16 {}", param.name), found, expected, roundings);
    }
}

#[test]
fn products_with_curvature_of_parts_are_those_of_the_whole() {
    let model = model(VOCABULARY, LENGTH, FEATURES, true);
    let params: Vec<Vec<f32>> = (0_u64..)
        .zip(model.graph.params())
        .map(|(i, param)| samples(430 + i, param.shape.iter().product(), 0.7))
        .collect();
    let mut direction = vec![0.0; model.graph.layout().words()];
    for (i, span) in (0_u64..).zip(model.graph.layout().spans()) {
        direction[span.start..span.start + span.len].copy_from_slice(&samples(440 + i, span.len, 1.0));
    }
    both_families(|gpus| {
        for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
            let [whole, narrow] = gpus.each_ref().map(|gpu| {
                let arena = Arena::new(gpu, model.graph.layout(), &vec![0.0; params.len()]).unwrap();
                set(gpu, &arena, &arena.weights, &params);
                let data = DeviceData::new(gpu, texts(410, SAMPLES), SAMPLES, &[]).unwrap();
                let loss = std::sync::Arc::new(Loss::Nll);
                let subject = Subject { model: &model, arena: &arena, loss, label_smoothing: 0.0, data: &data };
                let product = CurvatureProduct::new(gpu, &subject, curvature).unwrap().apply(&direction).unwrap();
                product.into_iter().map(|value| value as f32).collect::<Vec<_>>()
            });
            for (span, param) in model.graph.layout().spans().iter().zip(model.graph.params()) {
                let range = span.start..span.start + span.len;
                let name = format!("{curvature:?} {}", param.name);
                assert_alike(&name, &narrow[range.clone()], &whole[range], 200.0);
            }
        }
    });
}

#[test]
fn outputs_in_parts_are_read_row_by_row() {
    let model = model(VOCABULARY, LENGTH, FEATURES, false);
    let [whole, narrow] = devices(None).map(|gpu| {
        let params = model.graph.params();
        let arena = Arena::new(&gpu, model.graph.layout(), &vec![0.0; params.len()]).unwrap();
        let values = |(i, p): (usize, &jostle::graph::Param)| samples(450 + i as u64, p.shape.iter().product(), 0.7);
        set(&gpu, &arena, &arena.weights, &params.iter().enumerate().map(values).collect::<Vec<_>>());
        let evaluator = Evaluator::new(&gpu, &model, &arena, texts(410, SAMPLES), &[], Loss::Nll).unwrap();
        evaluator.outputs(&gpu).unwrap()
    });
    assert_eq!(whole.1.len(), SAMPLES * LENGTH * VOCABULARY);
    assert_alike("outputs", &narrow.1, &whole.1, 8.0);
    assert!((narrow.0.loss / whole.0.loss - 1.0).abs() < 8.0 * ROUNDOFF, "{narrow:?} {whole:?}");
    assert_eq!(narrow.0.accuracy, whole.0.accuracy);
}

/// Steps of a whole run, whose updates draw noise in units of filters' norms, clip gradients and average weights; clipping binds
/// the partial sums of all parts of the gradients, which take 64 KiB for two.
#[test]
fn steps_on_parts_are_those_on_the_whole() {
    let model = model(VOCABULARY, LENGTH, FEATURES, true);
    let split = Split { train: texts(410, SAMPLES), test: texts(460, 2) };
    let prepared = Prepared { model, split, validation: None, loss: Loss::Nll.into(), label_noise: None };
    let config = RunConfig {
        batch: SAMPLES,
        optimizer: OptimizerKind::Sgd,
        noise: Mode::Model,
        noise_scale: jostle::noise::Scale::Filter,
        sigma: 0.05,
        clip_norm: Some(0.5),
        ema: Some(0.5),
        normalise: Normalise::None,
        precision: Precision::F32,
        ..RunConfig::default()
    };
    let [whole, narrow] = devices_within(None, 2 * NARROW).map(|gpu| {
        let mut trainer = Trainer::new(&gpu, &config, &prepared).unwrap();
        let begin: Vec<f32> = gpu.read(&trainer.arena.weights.view()).unwrap();
        trainer.begin_epoch(0, (0..SAMPLES as u32).collect()).unwrap();
        for _ in 0..2 {
            let step = TrainStep { first: 0, valid: SAMPLES, rate: trainer.rate(0.01) };
            trainer.train_step(step, None).unwrap();
        }
        let noisy: Vec<f32> = gpu.read(&trainer.arena.weights_eff.view()).unwrap();
        let average: Vec<f32> = gpu.read(&trainer.average().unwrap().view()).unwrap();
        let weights: Vec<f32> = gpu.read(&trainer.arena.weights.view()).unwrap();
        (begin, [weights, noisy, average])
    });
    assert!(narrow.0 == whole.0, "the first weights");
    for (name, (found, expected)) in ["weights", "noisy weights", "average"].iter().zip(narrow.1.iter().zip(&whole.1)) {
        assert!(found != &whole.0, "{name} moved");
        assert_alike(name, found, expected, 400.0);
    }
}

/// Bytes of the activation arena and of the outputs alone.
fn bytes(mode: PlanMode, loss: Loss) -> [usize; 2] {
    let (vocabulary, length) = (50_304, 1024);
    let schedule = Schedule::new(&model(vocabulary, length, 8, true).graph, 1, mode, loss).unwrap();
    [4 * schedule.placement(usize::MAX / 64 * 64).words, 4 * vocabulary * length]
}

#[test]
fn outputs_of_a_large_vocabulary_are_there_once() {
    for mode in [PlanMode::Train, PlanMode::Accumulate, PlanMode::Evaluate, PlanMode::Calibrate] {
        let [arena, outputs] = bytes(mode, Loss::Nll);
        assert!(arena < outputs + outputs / 100, "{mode:?}: {arena} bytes with outputs of {outputs}");
    }
    // What has no kernel for it still has both.
    let [arena, outputs] = bytes(PlanMode::Train, Loss::Mse);
    assert!(arena >= 2 * outputs, "{arena} bytes with outputs of {outputs}");
}

/// What an activation at the end goes by in backward is not overwritten.
#[test]
fn outputs_that_backward_reads_are_kept() {
    let (mut graph, input) = Graph::new(7).unwrap();
    let value = graph.linear_with(input, "fc", LinearOptions { features: 300, bias: true }).unwrap();
    graph.activate(value, jostle::kernels::Activation::Tanh).unwrap();
    let schedule = Schedule::new(&graph, 2, PlanMode::Train, Loss::Nll).unwrap();
    let loss = schedule.steps.iter().find(|step| step.name == "loss").unwrap();
    assert_ne!(loss.call.operands[0].slot(), loss.call.operands[1].slot());
}

/// Nothing of a step of GPT-2's width and vocabulary is past a binding of 128 MiB, and what it takes is said.
#[test]
fn a_vocabulary_of_gpt2_fits_bindings_of_128_mib() {
    let model = model(50_257, 1024, 768, true);
    let limits = Limits { binding_bytes: 128 << 20, ..Target::GENERIC.limits };
    let target = Target { limits, ..Target::GENERIC };
    for element in [Element::Word, Element::Half] {
        let footprint = |target| Footprint::new(&model, 1, OptimizerKind::Adam, element, target).unwrap();
        let ((whole, _), (narrow, schedule)) = (footprint(&Target::GENERIC), footprint(&target));
        assert!(whole.largest_binding_bytes > 128 << 20 && narrow.largest_binding_bytes <= 128 << 20, "{narrow:?}");
        assert_eq!(narrow.excess(limits), None);
        assert_eq!(narrow.flops, whole.flops);
        assert!(whole.excess(limits).unwrap().contains("a binding holds"));
        schedule.launches(&target, [1, 1, 1024]).unwrap();
    }
}

/// A step and an evaluation at GPT-2's width and vocabulary, whose table many adapters do not bind whole.
#[test]
fn a_step_with_the_table_of_gpt2_lowers_the_loss() {
    let (vocabulary, length) = (50_257, 8);
    let words = |seed: u64| (0..length).map(|i| (hash(seed, i as u64) % vocabulary as u64) as u32).collect::<Vec<_>>();
    let targets = Targets::Tokens { tokens: words(471), length, vocabulary };
    let shape = SampleShape { channels: 1, height: 1, width: length };
    let text = Dataset::from_arrays("text", words(470), targets, shape).unwrap();
    let mut model = model(vocabulary, length, 768, true);
    model.graph.set_init("wte.weight", ParamInit::Normal { std: 0.02 }).unwrap();
    let split = Split { train: text.clone(), test: text.clone() };
    let prepared = Prepared { model, split, validation: None, loss: Loss::Nll.into(), label_noise: None };
    let config = RunConfig { batch: 1, optimizer: OptimizerKind::Adam, noise: Mode::Model, ..RunConfig::default() };
    let config = RunConfig { sigma: 1e-3, normalise: Normalise::None, ..config };
    let mut trainer = Trainer::new(device(), &config, &prepared).unwrap();
    let evaluator = Evaluator::new(device(), &trainer.model, &trainer.arena, text, &[], Loss::Nll).unwrap();
    let before = evaluator.evaluate(device()).unwrap();
    trainer.begin_epoch(0, vec![0]).unwrap();
    for _ in 0..2 {
        trainer.train_step(TrainStep { first: 0, valid: 1, rate: trainer.rate(1e-3) }, None).unwrap();
    }
    let after = evaluator.evaluate(device()).unwrap();
    // The tokens are alike at first: the logarithm of their number.
    assert!((before.loss - (vocabulary as f64).ln()).abs() < 1.0, "{before:?}");
    assert!(after.loss < before.loss - 0.1, "{before:?} {after:?}");
}
