//! Models of texts, sequences and images, small enough for f64 models written out by hand: gradients, scores and products with
//! curvature matrices on the device against those.

use std::sync::Arc;

use jostle::{
    analysis::{Curvature, CurvatureProduct, Subject},
    data::{Dataset, SampleShape, Targets},
    gpu::Element,
    graph::{BatchInfo, Graph, LossTerms, Plan, PlanMode, Schedule},
    kernels::{Activation, Arena, EffectiveWeights, GradientScaling},
    nn::Model,
    ops::Loss,
    train::{DeviceData, Evaluator},
};

use super::{
    ROUNDOFF, assert_close, central_difference, device, hash,
    network::{get, padding, set},
    reference::{activate, argmax, mse, nll, one_hot, softmax},
    samples, wide,
};

pub const SAMPLES: usize = 6;
pub const LENGTH: usize = 4;
pub const VOCABULARY: usize = 7;

/// Of the loss in f16: small, so that nothing overflows here.
const LOSS_SCALE: f32 = 64.0;

pub type Params<'a> = &'a [Vec<f64>];
/// (parameters, number of a sample) to its outputs, row after row.
pub type Forward<'a> = &'a dyn Fn(Params<'_>, usize) -> Vec<f64>;

/// A model with data, a loss and the f64 model that it has to agree with.
pub struct Case<'a> {
    pub name: &'a str,
    pub graph: Graph,
    pub data: Dataset,
    pub loss: Loss,
    pub forward: Forward<'a>,
}

pub fn words(seed: u64, count: usize) -> Vec<u32> {
    (0..count).map(|i| (hash(seed, i as u64) % VOCABULARY as u64) as u32).collect()
}

/// Samples that are texts, and the same as numbers of tokens.
pub fn text(targets: Targets) -> (Dataset, Vec<u32>) {
    let tokens = words(301, SAMPLES * LENGTH);
    let shape = SampleShape { channels: 1, height: 1, width: LENGTH };
    (Dataset::from_arrays("text", tokens.clone(), targets, shape).unwrap(), tokens)
}

pub fn next_tokens() -> Targets {
    Targets::Tokens { tokens: words(302, SAMPLES * LENGTH), length: LENGTH, vocabulary: VOCABULARY }
}

/// A layer on each row of `width`.
pub fn by_row(rows: &[f64], width: usize, layer: impl Fn(&[f64]) -> Vec<f64>) -> Vec<f64> {
    rows.chunks_exact(width).flat_map(layer).collect()
}

pub fn activated(kind: Activation, values: Vec<f64>) -> Vec<f64> {
    values.into_iter().map(|x| activate(kind, x)).collect()
}

/// Vectors of 5 of a table.
pub fn embedded(table: &[f64], tokens: &[u32]) -> Vec<f64> {
    tokens.iter().flat_map(|token| table[*token as usize * 5..][..5].to_vec()).collect()
}

/// What a step of training leaves.
struct Found {
    grads: Vec<Vec<f32>>,
    metrics: Vec<f32>,
    /// Of the arena of gradients.
    padding: Vec<f32>,
}

impl Case<'_> {
    fn labels(&self, sample: usize) -> &[u32] {
        let per_sample = self.data.targets.per_sample();
        &self.data.targets.labels()[sample * per_sample..][..per_sample]
    }

    /// Of a sample's rows the targets that squared errors are taken to, where the loss is of those.
    fn wanted(&self, sample: usize, width: usize) -> Vec<f64> {
        if let Targets::Vectors { values, .. } = &self.data.targets {
            let per_sample = self.data.targets.per_sample();
            return wide(&values[sample * per_sample..][..per_sample]);
        }
        self.labels(sample).iter().flat_map(|label| one_hot(width, *label as usize)).collect()
    }

    /// Loss of a sample, summed over its rows, and how many of them are right.
    fn score(&self, p: Params<'_>, sample: usize) -> (f64, f64) {
        let outputs = (self.forward)(p, sample);
        let rows = self.model().positions();
        let width = outputs.len() / rows;
        let is_vectors = matches!(self.data.targets, Targets::Vectors { .. });
        let loss = match self.loss {
            Loss::Mse => mse(&outputs, &self.wanted(sample, width)) * rows as f64,
            Loss::Nll => {
                let rows = outputs.chunks_exact(width).zip(self.labels(sample));
                rows.map(|(row, label)| nll(row, *label as usize)).sum()
            }
        };
        if is_vectors {
            return (loss, 0.0);
        }
        let rows = outputs.chunks_exact(width).zip(self.labels(sample));
        (loss, rows.filter(|(row, label)| argmax(row) == **label as usize).count() as f64)
    }

    /// d(mean loss over all samples) / d(outputs of a sample), at these outputs.
    fn output_gradient(&self, outputs: &[f64], sample: usize) -> Vec<f64> {
        let rows = self.model().positions();
        let width = outputs.len() / rows;
        let share = 1.0 / (SAMPLES * rows) as f64;
        match self.loss {
            Loss::Nll => {
                let rows = outputs.chunks_exact(width).zip(self.labels(sample));
                let gradient = |(row, label): (&[f64], &u32)| -> Vec<f64> {
                    let target = one_hot(width, *label as usize);
                    softmax(row).iter().zip(target).map(|(p, t)| share * (p - t)).collect()
                };
                rows.flat_map(gradient).collect()
            }
            Loss::Mse => {
                let wanted = self.wanted(sample, width);
                outputs.iter().zip(wanted).map(|(o, t)| share * 2.0 / width as f64 * (o - t)).collect()
            }
        }
    }

    fn mean_loss(&self, p: Params<'_>, samples: &[usize]) -> f64 {
        samples.iter().map(|sample| self.score(p, *sample).0).sum::<f64>()
            / (samples.len() * self.model().positions()) as f64
    }

    fn params(&self) -> Vec<Vec<f32>> {
        let values = |(i, p): (usize, &jostle::graph::Param)| samples(303 + i as u64, p.shape.iter().product(), 0.8);
        self.graph.params().iter().enumerate().map(values).collect()
    }

    fn wide_params(&self) -> Vec<Vec<f64>> {
        self.params().iter().map(|param| wide(param)).collect()
    }

    pub fn model(&self) -> Model {
        Model { description: self.name.to_owned(), graph: self.graph.clone() }
    }

    fn arena(&self, params: &[Vec<f32>], element: Element) -> Arena {
        let gpu = device();
        let arena = Arena::stored(gpu, self.graph.layout(), &vec![1.0; params.len()], element).unwrap();
        set(gpu, &arena, &arena.weights, params);
        let mut recorder = gpu.record();
        EffectiveWeights::new(gpu, &arena, &arena.weights).unwrap().record(&mut recorder);
        recorder.submit().unwrap();
        let scaling = GradientScaling { loss_scale: LOSS_SCALE, ..GradientScaling::initial(element) };
        if element == Element::Half {
            gpu.write(&arena.scaling.view(), &[scaling]).unwrap();
        }
        arena
    }

    /// Everything.
    pub fn check_all(&self) {
        self.check();
        self.check_accumulation();
        self.check_f16();
        self.check_hessian();
        self.check_gauss_newton();
    }

    pub fn check(&self) {
        for resident in [true, false] {
            for (batch, first, valid) in [(SAMPLES, 0, SAMPLES), (4, 1, 3), (1, 5, 1)] {
                self.check_gradients(resident, [batch, first, valid]);
            }
        }
        self.check_scores();
    }

    /// Runs micro-batches [first, valid] of at most `batch` samples, whose gradients add up to that of their mean loss, at these
    /// parameters; samples go backwards.
    fn run(
        &self,
        params: &[Vec<f32>],
        element: Element,
        resident: bool,
        batch: usize,
        micro_batches: &[[usize; 2]],
    ) -> Found {
        let (gpu, arena) = (device(), self.arena(params, element));
        let mut data = DeviceData::with_residency(gpu, self.data.clone(), batch, &[], resident).unwrap();
        data.set_order(gpu, (0..SAMPLES as u32).rev().collect()).unwrap();
        let metrics = gpu.upload("metrics", &[f32::NAN; 2]).unwrap();
        let plan = |mode| {
            let schedule = Schedule::stored(&self.graph, batch, mode, self.loss, element).unwrap();
            Plan::new(gpu, &schedule, &arena, data.views(), &metrics.view()).unwrap()
        };
        let (first_plan, later_plan) = (plan(PlanMode::Train), plan(PlanMode::Accumulate));
        let poison: Vec<Vec<f32>> = params.iter().map(|param| vec![f32::NAN; param.len()]).collect();
        set(gpu, &arena, &arena.grads, &poison);
        let total: usize = micro_batches.iter().map(|[_, valid]| valid).sum();
        for (number, [first, valid]) in micro_batches.iter().enumerate() {
            let staged = data.stage(gpu, *first, *valid).unwrap();
            let mut recorder = gpu.record();
            let mut batch = BatchInfo::new(staged, *valid as u32, 0);
            batch.terms = LossTerms::mean_over(total as u32);
            batch.slot_adds = number > 0;
            let plan = if number == 0 { &first_plan } else { &later_plan };
            plan.record(&mut recorder, batch);
            recorder.submit().unwrap();
        }
        Found {
            grads: get(gpu, &arena, &arena.grads),
            metrics: gpu.read(&metrics.view()).unwrap(),
            padding: padding(gpu, &arena, &arena.grads),
        }
    }

    fn check_gradients(&self, resident: bool, [batch, first, valid]: [usize; 3]) {
        let found = self.run(&self.params(), Element::Word, resident, batch, &[[first, valid]]);
        self.check_found(&format!("{valid} of {batch}"), &found, first..first + valid);
    }

    /// Every parameter's gradient is added to what micro-batches before left there.
    fn check_accumulation(&self) {
        let found = self.run(&self.params(), Element::Word, true, 3, &[[0, 3], [3, 1], [4, 2]]);
        self.check_found("three micro-batches", &found, 0..SAMPLES);
    }

    fn check_found(&self, what: &str, found: &Found, positions: std::ops::Range<usize>) {
        let samples: Vec<usize> = positions.map(|position| SAMPLES - 1 - position).collect();
        let params = self.wide_params();
        for tensor in 0..params.len() {
            let loss_at = |x: &[f64]| {
                let mut moved = params.clone();
                moved[tensor] = x.to_vec();
                self.mean_loss(&moved, &samples)
            };
            // As in the tests of rows of features: truncation, rounding, and some 300 roundings of the device.
            let expected = central_difference(loss_at, &params[tensor], 1e-5);
            let size = expected.iter().fold(1.0_f64, |m, g| m.max(g.abs()));
            let name = format!("{} {what}: {}", self.name, self.graph.params()[tensor].name);
            assert_close(&name, &found.grads[tensor], &expected, 2e-8 + 300.0 * ROUNDOFF * size, 0.0);
        }
        assert!(found.padding.iter().all(|x| *x == 0.0), "{}", self.name);
        let scores = samples.iter().map(|sample| self.score(&params, *sample));
        let (loss, right) = scores.fold((0.0, 0.0), |sum, own| (sum.0 + own.0, sum.1 + own.1));
        assert_close(self.name, &found.metrics, &[loss, right], 0.0, 300.0 * ROUNDOFF);
    }

    /// Gradients in f16 beside those in f32, at weights that f16 holds: what is stored on the way differs by some roundings.
    pub fn check_f16(&self) {
        if !device().has_f16() {
            return;
        }
        let round = |param: &Vec<f32>| param.iter().map(|x| half::f16::from_f32(*x).to_f32()).collect();
        let params: Vec<Vec<f32>> = self.params().iter().map(round).collect();
        let all = [[0, SAMPLES]];
        let [exact, rounded] =
            [Element::Word, Element::Half].map(|element| self.run(&params, element, true, SAMPLES, &all).grads);
        let joined = |grads: &[Vec<f32>]| wide(&grads.concat());
        let (exact, rounded) = (joined(&exact), joined(&rounded));
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let scale = f64::from(LOSS_SCALE);
        let errors = &mut exact.iter().zip(&rounded).map(|(e, r)| r / scale - e);
        let error = norm(errors) / norm(&mut exact.iter().copied());
        // Six roundings of f16, as of random networks in tests/suite/graph/gradients.rs.
        assert!(error < 3e-3, "{}: gradients in f16 are off by {error}", self.name);
    }

    /// The evaluator's means, and its outputs in the data's order.
    fn check_scores(&self) {
        let (gpu, arena) = (device(), self.arena(&self.params(), Element::Word));
        let evaluator = Evaluator::new(gpu, &self.model(), &arena, self.data.clone(), &[], self.loss).unwrap();
        let (found, outputs) = evaluator.outputs(gpu).unwrap();
        let params = self.wide_params();
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

    fn direction(&self) -> Vec<Vec<f32>> {
        self.params().iter().enumerate().map(|(i, p)| samples(330 + i as u64, p.len(), 1.0)).collect()
    }

    /// The parameters moved along the direction.
    fn along(&self, p: Params<'_>, by: f64) -> Vec<Vec<f64>> {
        let line = |(w, v): (&Vec<f64>, &Vec<f32>)| w.iter().zip(v).map(|(w, v)| w + by * f64::from(*v)).collect();
        p.iter().zip(&self.direction()).map(line).collect()
    }

    /// The device's product with the direction, tensor by tensor.
    fn product(&self, curvature: Curvature) -> Vec<Vec<f32>> {
        let (gpu, arena) = (device(), self.arena(&self.params(), Element::Word));
        let data = DeviceData::new(gpu, self.data.clone(), SAMPLES, &[]).unwrap();
        let model = self.model();
        let loss = Arc::new(self.loss);
        let subject = Subject { model: &model, arena: &arena, loss, label_smoothing: 0.0, data: &data };
        let mut flat = vec![0.0; arena.layout.words()];
        for (span, values) in arena.layout.spans().iter().zip(&self.direction()) {
            flat[span.start..span.start + span.len].copy_from_slice(values);
        }
        let product = CurvatureProduct::new(gpu, &subject, curvature).unwrap().apply(&flat).unwrap();
        let spans = arena.layout.spans().iter();
        spans.map(|span| product[span.start..span.start + span.len].iter().map(|x| *x as f32).collect()).collect()
    }

    fn check_product(&self, curvature: Curvature, expected: impl Fn(Params<'_>, usize) -> Vec<f64>) {
        let params = self.wide_params();
        for (tensor, found) in self.product(curvature).iter().enumerate() {
            let name = format!("{}: {curvature:?} product, {}", self.name, self.graph.params()[tensor].name);
            assert_close(&name, found, &expected(&params, tensor), 1e-5, 0.0);
        }
    }

    /// H v by mixed second differences in f64, against the device's.
    pub fn check_hessian(&self) {
        const STEP: f64 = 1e-4;
        let all: Vec<usize> = (0..SAMPLES).collect();
        self.check_product(Curvature::Hessian, |params, tensor| {
            let slope_at = |x: &[f64]| {
                let mut moved = params.to_vec();
                moved[tensor] = x.to_vec();
                let at = |by: f64| self.mean_loss(&self.along(&moved, by), &all);
                (at(STEP) - at(-STEP)) / (2.0 * STEP)
            };
            central_difference(slope_at, &params[tensor], STEP)
        });
    }

    /// J' (d2 loss / d outputs2) J v: the loss' gradient at outputs moved along J v, and the slope of the outputs along its
    /// change, by differences in f64.
    pub fn check_gauss_newton(&self) {
        const STEP: f64 = 1e-5;
        let params = self.wide_params();
        let curved: Vec<Vec<f64>> = (0..SAMPLES)
            .map(|sample| {
                let outputs_at = |by: f64| (self.forward)(&self.along(&params, by), sample);
                let outputs = (self.forward)(&params, sample);
                let slopes = outputs_at(STEP).into_iter().zip(outputs_at(-STEP)).map(|(a, b)| (a - b) / (2.0 * STEP));
                let slopes: Vec<f64> = slopes.collect();
                let gradient_at = |by: f64| {
                    let moved: Vec<f64> = outputs.iter().zip(&slopes).map(|(o, s)| o + by * s).collect();
                    self.output_gradient(&moved, sample)
                };
                gradient_at(STEP).into_iter().zip(gradient_at(-STEP)).map(|(a, b)| (a - b) / (2.0 * STEP)).collect()
            })
            .collect();
        self.check_product(Curvature::GaussNewton, |params, tensor| {
            let along_curved = |x: &[f64]| {
                let mut moved = params.to_vec();
                moved[tensor] = x.to_vec();
                let of_sample = |(sample, curved): (usize, &Vec<f64>)| {
                    let outputs = (self.forward)(&moved, sample);
                    outputs.iter().zip(curved).map(|(o, c)| o * c).sum::<f64>()
                };
                curved.iter().enumerate().map(of_sample).sum::<f64>()
            };
            central_difference(along_curved, &params[tensor], STEP)
        });
    }
}
