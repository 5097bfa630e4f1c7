//! Products with the Hessian and with its Gauss-Newton part against f64 differences of models written out by hand.

use crate::common::{
    assert_close,
    attention::Attention,
    device,
    model::{Data, FEATURES, Forward, Params, SAMPLES, fc, map, plus},
    network::{get, padding, set},
    reference::{mse, nll, one_hot, softmax},
    samples, wide,
};
use jostle::{
    analysis::{
        Curvature, CurvatureProduct, SpectrumOptions, Subject, TraceOptions, grouped_trace, hessian_trace, spectrum,
    },
    graph::{Graph, ValueShape},
    kernels::{Activation, Arena},
    nn::{Model, Sequential},
    noise::{Distribution, Grouping, unit_noise},
    ops::{AttentionOptions, Loss},
};

/// Step of the differences in f64: the truncation is its square, the rounding 1e-16 over its square.
const STEP: f64 = 1e-4;

/// Error of the differences, and of some 300 roundings of the device, for products of size 1.
const TOLERANCE: f64 = 1e-5 + 2e-7;

type Tensors = Vec<Vec<f64>>;

struct Case<'a> {
    data: Data,
    forward: Forward<'a>,
    loss: Loss,
    weights: Tensors,
    direction: Tensors,
}

fn moved(tensors: &[Vec<f64>], by: f64, direction: &[Vec<f64>]) -> Tensors {
    let line = |(w, v): (&Vec<f64>, &Vec<f64>)| w.iter().zip(v).map(|(w, v)| w + by * v).collect();
    tensors.iter().zip(direction).map(line).collect()
}

impl Case<'_> {
    fn outputs(&self, weights: Params<'_>, position: usize) -> Vec<f64> {
        (self.forward)(weights, &self.data.sample(position).0)
    }

    fn mean_loss(&self, weights: Params<'_>) -> f64 {
        let sample_loss = |position| {
            let (output, label) = (self.outputs(weights, position), self.data.sample(position).1);
            match self.loss {
                Loss::Nll => nll(&output, label),
                Loss::Mse => mse(&output, &one_hot(output.len(), label)),
            }
        };
        (0..SAMPLES).map(sample_loss).sum::<f64>() / SAMPLES as f64
    }

    /// f(w + h e) for each element e of each tensor, f giving any number of values.
    fn each(&self, mut f: impl FnMut(&[Vec<f64>], &[Vec<f64>]) -> f64) -> Tensors {
        let mut at = |tensor: usize, element: usize| {
            let mut sides = [self.weights.clone(), self.weights.clone()];
            sides[0][tensor][element] += STEP;
            sides[1][tensor][element] -= STEP;
            f(&sides[0], &sides[1])
        };
        let slopes = |(tensor, values): (usize, &Vec<f64>)| (0..values.len()).map(|i| at(tensor, i)).collect();
        self.weights.iter().enumerate().map(slopes).collect()
    }

    /// H v by mixed second differences.
    fn hessian(&self) -> Tensors {
        self.each(|plus, minus| {
            let along = |w: &[Vec<f64>], by: f64| self.mean_loss(&moved(w, by, &self.direction));
            let slope = |w: &[Vec<f64>]| along(w, STEP) - along(w, -STEP);
            (slope(plus) - slope(minus)) / (4.0 * STEP * STEP)
        })
    }

    /// J' H_L J v, with the Jacobian by differences and the loss' own Hessian written out.
    fn gauss_newton(&self) -> Tensors {
        let curved: Tensors = (0..SAMPLES)
            .map(|position| {
                let [ahead, behind] =
                    [STEP, -STEP].map(|by| self.outputs(&moved(&self.weights, by, &self.direction), position));
                let t: Vec<f64> = ahead.iter().zip(&behind).map(|(a, b)| (a - b) / (2.0 * STEP)).collect();
                match self.loss {
                    Loss::Mse => t.iter().map(|slope| 2.0 * slope / t.len() as f64).collect(),
                    Loss::Nll => {
                        let p = softmax(&self.outputs(&self.weights, position));
                        let mean: f64 = p.iter().zip(&t).map(|(p, t)| p * t).sum();
                        p.iter().zip(&t).map(|(p, t)| p * (t - mean)).collect()
                    }
                }
            })
            .collect();
        self.each(|plus, minus| {
            let product = |position: usize| -> f64 {
                let (ahead, behind) = (self.outputs(plus, position), self.outputs(minus, position));
                ahead.iter().zip(&behind).zip(&curved[position]).map(|((a, b), c)| (a - b) * c).sum()
            };
            (0..SAMPLES).map(product).sum::<f64>() / (2.0 * STEP * SAMPLES as f64)
        })
    }
}

/// Runs `f` on the subject of a case, whose arena has NaN wherever a product has to write.
fn with_subject<T>(graph: &Graph, case: &Case<'_>, f: impl FnOnce(&Subject<'_>) -> T) -> T {
    let gpu = device();
    let arena = Arena::new(gpu, graph.layout(), &vec![1.0; graph.params().len()]).unwrap();
    let narrow: Vec<Vec<f32>> = case.weights.iter().map(|t| t.iter().map(|x| *x as f32).collect()).collect();
    set(gpu, &arena, &arena.weights, &narrow);
    gpu.write(&arena.weights_eff.view(), &vec![f32::NAN; arena.layout.words()]).unwrap();
    let model = Model { description: String::new(), graph: graph.clone() };
    let data = case.data.on_device(4);
    f(&Subject { model: &model, arena: &arena, loss: case.loss.into(), label_smoothing: 0.0, data: &data })
}

fn check(name: &str, graph: &Graph, forward: Forward<'_>) {
    let gpu = device();
    for loss in [Loss::Nll, Loss::Mse] {
        let random = |seed: u64| -> Tensors {
            let draw =
                |(i, p): (usize, &jostle::graph::Param)| wide(&samples(seed + i as u64, p.shape.iter().product(), 0.8));
            graph.params().iter().enumerate().map(draw).collect()
        };
        let data = Data::shaped(graph.features(graph.output()), graph.shape(graph.input()).sample_sides());
        let case = Case { data, forward, loss, weights: random(73), direction: random(173) };
        for (curvature, expected) in
            [(Curvature::Hessian, case.hessian()), (Curvature::GaussNewton, case.gauss_newton())]
        {
            with_subject(graph, &case, |subject| {
                let product = CurvatureProduct::new(gpu, subject, curvature).unwrap();
                let mut direction = vec![0.0; product.words()];
                for (span, values) in subject.arena.layout.spans().iter().zip(&case.direction) {
                    direction[span.start..][..span.len].iter_mut().zip(values).for_each(|(d, v)| *d = *v as f32);
                }
                let found = product.apply(&direction).unwrap();
                let again = product.apply(&direction).unwrap();
                assert_eq!(found, again, "{name}: a product leaves nothing behind");
                for (tensor, span) in subject.arena.layout.spans().iter().enumerate() {
                    let found: Vec<f32> = found[span.start..][..span.len].iter().map(|x| *x as f32).collect();
                    let size = expected[tensor].iter().fold(1.0_f64, |m, x| m.max(x.abs()));
                    let name = format!("{name}, {loss:?}, {curvature:?}: {}", graph.params()[tensor].name);
                    assert_close(&name, &found, &expected[tensor], TOLERANCE * size, 0.0);
                }
                assert!(padding(gpu, subject.arena, &subject.arena.weights_eff).iter().all(|x| *x == 0.0));
                assert!(get(gpu, subject.arena, &subject.arena.weights_eff).iter().flatten().all(|x| x.is_finite()));
            });
        }
    }
}

#[test]
fn perceptrons_with_each_activation() {
    for kind in Activation::ALL {
        let model = Sequential::new(FEATURES).linear(7).activation(kind).linear(6).activation(kind).linear(3);
        let forward = |p: Params<'_>, x: &[f64]| fc(p, 3, &map(kind, &fc(p, 2, &map(kind, &fc(p, 1, x)))));
        check(kind.name(), &model.build().unwrap().graph, &forward);
    }
}

#[test]
fn single_layers_and_activated_outputs() {
    check("linear", &Sequential::new(FEATURES).linear(4).build().unwrap().graph, &|p, x| fc(p, 1, x));
    for kind in Activation::ALL {
        let model = Sequential::new(FEATURES).linear(4).activation(kind).build().unwrap();
        check(&format!("{kind} output"), &model.graph, &|p, x| map(kind, &fc(p, 1, x)));
    }
}

#[test]
fn residual_blocks_and_shared_values() {
    for kind in Activation::ALL {
        let model = Sequential::new(FEATURES).linear(6).residual(|b| b.activation(kind).linear(6)).linear(3);
        check(&format!("pre-activation {kind}"), &model.build().unwrap().graph, &|p, x| {
            let entry = fc(p, 1, x);
            fc(p, 3, &plus(&entry, &fc(p, 2, &map(kind, &entry))))
        });
    }
    let (mut graph, input) = Graph::new(FEATURES).unwrap();
    let h = graph.linear(input, "a", FEATURES, Activation::Gelu).unwrap();
    let left = graph.linear(h, "b", FEATURES, Activation::Sigmoid).unwrap();
    let sum = graph.add(left, h).unwrap();
    let sum = graph.add(sum, input).unwrap();
    let doubled = graph.add(sum, sum).unwrap();
    let bent = graph.activate(doubled, Activation::Tanh).unwrap();
    graph.linear(bent, "c", 3, Activation::Identity).unwrap();
    check("shared", &graph, &|p, x| {
        let h = map(Activation::Gelu, &fc(p, 1, x));
        let sum = plus(&plus(&map(Activation::Sigmoid, &fc(p, 2, &h)), &h), x);
        fc(p, 3, &map(Activation::Tanh, &plus(&sum, &sum)))
    });
}

/// linear - attention - linear - attention - linear, each position of the input having one feature.
#[test]
fn attention_causal_or_not() {
    let layer = |p: Params<'_>, n: usize, width: usize, x: &[f64]| -> Vec<f64> {
        x.chunks_exact(width).flat_map(|row| fc(p, n, row)).collect()
    };
    for causal in [false, true] {
        let input = ValueShape::Sequence { length: FEATURES, features: 1 };
        let (mut graph, mut value) = Graph::with_input(input).unwrap();
        value = graph.linear(value, "a", 12, Activation::Identity).unwrap();
        value = graph.attention(value, AttentionOptions { heads: 2, causal, dropout: 0.2 }).unwrap();
        value = graph.linear(value, "b", 9, Activation::Identity).unwrap();
        value = graph.attention(value, AttentionOptions { heads: 1, causal, dropout: 0.0 }).unwrap();
        value = graph.flatten(value).unwrap();
        graph.linear(value, "c", 3, Activation::Identity).unwrap();
        let attend = |heads: usize, head_dim: usize, x: &[f64]| {
            Attention { batch: 1, length: FEATURES, heads, head_dim, causal, mask: None }.forward(x)
        };
        check(&format!("attention, causal {causal}"), &graph, &|p, x| {
            let first = attend(2, 2, &layer(p, 1, 1, x));
            fc(p, 3, &attend(1, 3, &layer(p, 2, 4, &first)))
        });
    }
}

fn weights(graph: &Graph) -> Tensors {
    let draw = |(i, p): (usize, &jostle::graph::Param)| wide(&samples(73 + i as u64, p.shape.iter().product(), 0.8));
    graph.params().iter().enumerate().map(draw).collect()
}

/// Hutchinson's estimate over many probes against the sum of the diagonal, by tensor, within four standard errors.
#[test]
fn the_trace_is_that_of_the_full_hessian() {
    let gpu = device();
    let kind = Activation::Tanh;
    let graph = Sequential::new(FEATURES).linear(4).tanh().linear(3).build().unwrap().graph;
    let forward = |p: Params<'_>, x: &[f64]| fc(p, 2, &map(kind, &fc(p, 1, x)));
    let weights = weights(&graph);
    let case = Case { data: Data::new(3), forward: &forward, loss: Loss::Nll, direction: weights.clone(), weights };
    let here = case.mean_loss(&case.weights);
    let diagonal = case.each(|plus, minus| (case.mean_loss(plus) - 2.0 * here + case.mean_loss(minus)) / (STEP * STEP));
    let expected: f64 = diagonal.iter().flatten().sum();
    let options = TraceOptions { probes: 200, ..TraceOptions::default() };
    let found = with_subject(&graph, &case, |subject| hessian_trace(gpu, subject, options).unwrap());
    assert!((found.trace - expected).abs() < 4.0 * found.standard_error, "{found:?}, expected {expected}");
    assert!(found.standard_error < 0.15 * expected.abs(), "{found:?}: probes enough to tell");
    assert!((found.tensors.iter().sum::<f64>() - found.trace).abs() < 1e-9);
    let options = TraceOptions { tolerance: 0.3, ..options };
    let early = with_subject(&graph, &case, |subject| hessian_trace(gpu, subject, options).unwrap());
    assert!(early.probes < 200 && early.standard_error < 0.3 * early.trace.abs(), "{early:?}");
}

/// The share of each group against the sum of its diagonal, from the products of the whole trace.
#[test]
fn shares_of_groups_are_those_of_the_full_matrix() {
    let gpu = device();
    let mut graph = Sequential::new(FEATURES).linear(6).tanh().linear(3).build().unwrap().graph;
    for tensor in ["fc1.weight", "fc1.bias"] {
        graph.set_projections(tensor, &["q", "k", "v"]).unwrap();
    }
    let forward = |p: Params<'_>, x: &[f64]| fc(p, 2, &map(Activation::Tanh, &fc(p, 1, x)));
    let weights = weights(&graph);
    let mut case = Case { data: Data::new(3), forward: &forward, loss: Loss::Nll, direction: weights.clone(), weights };
    let tensors = Model { description: String::new(), graph: graph.clone() }.noise_tensors();
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let diagonal = diagonal(&mut case, curvature);
        for grouping in [Grouping::Projection, Grouping::Module] {
            let groups = grouping.groups(&graph.layout(), &tensors);
            let options = TraceOptions { probes: 200, curvature, ..TraceOptions::default() };
            let (whole, shares) =
                with_subject(&graph, &case, |subject| grouped_trace(gpu, subject, options, &groups).unwrap());
            assert_eq!(shares.len(), if grouping == Grouping::Projection { 8 } else { 2 });
            for (group, share) in groups.iter().zip(&shares) {
                let expected: f64 =
                    group.iter().map(|part| diagonal[part.tensor][part.elements.clone()].iter().sum::<f64>()).sum();
                let name = format!("{curvature:?} {group:?}: {share:?}, expected {expected}");
                assert!((share.trace - expected).abs() < 4.0 * share.standard_error + 1e-5, "{name}");
                assert!(share.standard_error < 0.1 * whole.trace.abs(), "{name}: probes enough to tell");
            }
            assert!((shares.iter().map(|share| share.trace).sum::<f64>() - whole.trace).abs() < 1e-9);
        }
    }
}

/// Diagonal of a curvature matrix, an element of the weights at a time.
fn diagonal(case: &mut Case<'_>, curvature: Curvature) -> Tensors {
    let zero: Tensors = case.weights.iter().map(|tensor| vec![0.0; tensor.len()]).collect();
    let mut diagonal = zero.clone();
    for (tensor, values) in zero.iter().enumerate() {
        for element in 0..values.len() {
            case.direction = zero.clone();
            case.direction[tensor][element] = 1.0;
            let column = if curvature == Curvature::Hessian { case.hessian() } else { case.gauss_newton() };
            diagonal[tensor][element] = column[tensor][element];
        }
    }
    diagonal
}

/// Probe k of a seed is not the Rademacher noise that a run of that seed has at step k: an estimate along the noise that
/// training minimised over would be of what training saw.
#[test]
fn probes_are_not_the_noise_of_a_run_of_the_same_seed() {
    let gpu = device();
    let graph = Sequential::new(FEATURES).linear(4).tanh().linear(3).build().unwrap().graph;
    let forward = |p: Params<'_>, x: &[f64]| fc(p, 2, &map(Activation::Tanh, &fc(p, 1, x)));
    let weights = weights(&graph);
    let case = Case { data: Data::new(3), forward: &forward, loss: Loss::Nll, direction: weights.clone(), weights };
    let options = TraceOptions { probes: 1, ..TraceOptions::default() };
    let [probed, along_noise] = with_subject(&graph, &case, |subject| {
        let product = CurvatureProduct::new(gpu, subject, Curvature::Hessian).unwrap();
        let mut noise = vec![0.0; product.words()];
        for (tensor, span) in subject.arena.layout.spans().iter().enumerate() {
            for (element, v) in noise[span.start..][..span.len].iter_mut().enumerate() {
                *v = unit_noise(Distribution::Rademacher, options.seed, 0, tensor as u32, element);
            }
        }
        let curved = product.apply(&noise).unwrap();
        let along_noise = noise.iter().zip(&curved).map(|(v, c)| f64::from(*v) * c).sum();
        [hessian_trace(gpu, subject, options).unwrap().trace, along_noise]
    });
    assert!((probed - along_noise).abs() > 1e-3 * along_noise.abs(), "{probed} is v'Hv along the noise of step 0");
}

/// The eigenvalues of the full Hessian, from second differences in f64, against Lanczos through all of its dimensions.
#[test]
fn lanczos_finds_the_eigenvalues_of_the_full_hessian() {
    let gpu = device();
    let graph = Sequential::new(FEATURES).linear(4).tanh().linear(3).build().unwrap().graph;
    let forward = |p: Params<'_>, x: &[f64]| fc(p, 2, &map(Activation::Tanh, &fc(p, 1, x)));
    let zero: Tensors = graph.params().iter().map(|p| vec![0.0; p.shape.iter().product()]).collect();
    let mut case = Case {
        data: Data::new(3),
        forward: &forward,
        loss: Loss::Nll,
        direction: zero.clone(),
        weights: weights(&graph),
    };
    let mut columns: Vec<f64> = Vec::new();
    for (tensor, values) in zero.iter().enumerate() {
        for element in 0..values.len() {
            case.direction = zero.clone();
            case.direction[tensor][element] = 1.0;
            columns.extend(case.hessian().into_iter().flatten());
        }
    }
    let n = graph.layout().parameters();
    let mut expected: Vec<f64> =
        nalgebra::DMatrix::from_vec(n, n, columns).symmetric_eigenvalues().iter().copied().collect();
    expected.sort_by(|a, b| b.abs().total_cmp(&a.abs()));
    let options = SpectrumOptions { steps: n, starts: 1, seed: 3, curvature: Curvature::Hessian };
    let found = with_subject(&graph, &case, |subject| spectrum(gpu, subject, options).unwrap());
    for (ritz, value) in found.largest(8).iter().zip(&expected) {
        assert!((ritz.value - value).abs() < 1e-4 * expected[0].abs(), "{ritz:?}, expected {value}");
    }
    let area: f64 = found.density(2000).windows(2).map(|p| (p[1].0 - p[0].0) * (p[0].1 + p[1].1) / 2.0).sum();
    assert!((area - 1.0).abs() < 1e-3, "the density integrates to {area}");
}
