//! Gradients of whole models on the device against central differences of f64 models written out by hand.

use crate::common::{
    ROUNDOFF, assert_close, central_difference, device,
    model::{Data, FEATURES, Forward, Params, fc, map, plus},
    network::{get, padding, set},
    reference::{argmax, mse, nll, one_hot},
    samples, wide,
};
use jostle::{
    graph::{BatchInfo, Graph, Plan, PlanMode, Schedule},
    kernels::{Activation, Arena, Elementwise},
    nn::Sequential,
    ops::{ElementwiseStep, Loss},
};

/// Trains nothing: one batch of `valid` samples from `first` on, after another that leaves its rubbish behind.
fn check(name: &str, graph: &Graph, forward: Forward<'_>, loss: Loss, [batch, first, valid]: [usize; 3]) {
    let gpu = device();
    let classes = graph.features(graph.output());
    let data = Data::new(classes);
    let arena = Arena::new(gpu, graph.layout(), &vec![1.0; graph.params().len()]).unwrap();
    let values = |(i, p): (usize, &jostle::graph::Param)| samples(73 + i as u64, p.shape.iter().product(), 0.8);
    let params: Vec<Vec<f32>> = graph.params().iter().enumerate().map(values).collect();
    set(gpu, &arena, &arena.weights_eff, &params);
    let poison: Vec<Vec<f32>> = params.iter().map(|param| vec![f32::NAN; param.len()]).collect();
    let metrics = gpu.upload("metrics", &[f32::NAN; 6]).unwrap();
    let schedule = Schedule::new(graph, batch, PlanMode::Train, loss).unwrap();
    let plan = Plan::new(gpu, &schedule, &arena, &data.views(), &metrics.view()).unwrap();
    for (first, valid, slot) in [(0, batch, 0), (first, valid, 1)] {
        set(gpu, &arena, &arena.grads, &poison);
        let mut recorder = gpu.record();
        plan.record(&mut recorder, BatchInfo::new(first as u32, valid as u32, slot));
        recorder.submit().unwrap();
    }

    let wide: Vec<Vec<f64>> = params.iter().map(|param| wide(param)).collect();
    let sample_loss = |params: Params<'_>, position: usize| {
        let (input, label) = data.sample(position);
        let output = forward(params, &input);
        match loss {
            Loss::Nll => nll(&output, label),
            Loss::Mse => mse(&output, &one_hot(classes, label)),
        }
    };
    let batch_loss = |params: Params<'_>| (first..first + valid).map(|p| sample_loss(params, p)).sum::<f64>();
    let found = get(gpu, &arena, &arena.grads);
    for tensor in 0..wide.len() {
        let loss_at = |x: &[f64]| {
            let mut params = wide.clone();
            params[tensor] = x.to_vec();
            batch_loss(&params) / valid as f64
        };
        // Differences: eps^2 = 1e-10 times a third derivative below 100, and 1e-16/eps of rounding. Device: some 300
        // roundings between a gradient of size 1 and its result.
        let expected = central_difference(loss_at, &wide[tensor], 1e-5);
        let size = expected.iter().fold(1.0_f64, |m, g| m.max(g.abs()));
        let name = format!("{name}, {loss:?}, {valid} of {batch}: gradient of {}", graph.params()[tensor].name);
        assert_close(&name, &found[tensor], &expected, 2e-8 + 300.0 * ROUNDOFF * size, 0.0);
    }
    assert!(padding(gpu, &arena, &arena.grads).iter().all(|x| *x == 0.0), "{name}: padding of grads stays 0");

    let slots: Vec<f32> = gpu.read(&metrics.view()).unwrap();
    let expected = batch_loss(&wide);
    let right = |p: &usize| argmax(&forward(&wide, &data.sample(*p).0)) == data.sample(*p).1;
    let correct = (first..first + valid).filter(right).count() as f64;
    assert_close(&format!("{name}: loss"), &slots[2..3], &[expected], 0.0, 300.0 * ROUNDOFF);
    assert_close(&format!("{name}: correct"), &slots[3..4], &[correct], 0.0, 0.0);
    assert!(slots[4].is_nan() && slots[5].is_nan(), "other slots are left alone");
}

/// Batches: whole, of one, partial, partial with a single row.
const BATCHES: [[usize; 3]; 4] = [[6, 3, 6], [1, 4, 1], [6, 5, 4], [6, 8, 1]];

fn check_all(name: &str, graph: &Graph, forward: Forward<'_>) {
    for batch in BATCHES {
        for loss in [Loss::Nll, Loss::Mse] {
            check(name, graph, forward, loss, batch);
        }
    }
}

#[test]
fn perceptrons_with_each_activation() {
    for kind in Activation::ALL {
        let model = Sequential::new(FEATURES).linear(7).activation(kind).linear(6).activation(kind).linear(3);
        let forward = |p: Params<'_>, x: &[f64]| fc(p, 3, &map(kind, &fc(p, 2, &map(kind, &fc(p, 1, x)))));
        check_all(kind.name(), &model.build().unwrap().graph, &forward);
    }
}

#[test]
fn a_single_layer_and_an_activated_output() {
    let model = Sequential::new(FEATURES).linear(4).build().unwrap();
    check_all("linear", &model.graph, &|p, x| fc(p, 1, x));
    for kind in Activation::ALL {
        let model = Sequential::new(FEATURES).linear(4).activation(kind).build().unwrap();
        check_all(&format!("{kind} output"), &model.graph, &|p, x| map(kind, &fc(p, 1, x)));
    }
}

#[test]
fn residual_blocks() {
    let kind = Activation::Gelu;
    let model = Sequential::new(FEATURES).linear(6).tanh().residual(|b| b.linear(6).gelu().linear(6)).linear(3);
    check_all("residual", &model.build().unwrap().graph, &|p, x| {
        let entry = map(Activation::Tanh, &fc(p, 1, x));
        fc(p, 4, &plus(&entry, &fc(p, 3, &map(kind, &fc(p, 2, &entry)))))
    });
    let nested = Sequential::new(FEATURES)
        .linear(6)
        .residual(|b| b.linear(6).relu().residual(|b| b.linear(6).sigmoid()))
        .linear(2);
    check_all("nested residual", &nested.build().unwrap().graph, &|p, x| {
        let outer = fc(p, 1, x);
        let inner = map(Activation::Relu, &fc(p, 2, &outer));
        fc(p, 4, &plus(&outer, &plus(&inner, &map(Activation::Sigmoid, &fc(p, 3, &inner)))))
    });
}

/// The activation is the block's: the skip connection takes the value before it.
#[test]
fn a_block_that_begins_with_its_activation() {
    for kind in [Activation::Relu, Activation::Gelu, Activation::Tanh] {
        let model = Sequential::new(FEATURES).linear(6).residual(|b| b.activation(kind).linear(6)).linear(3);
        check_all(&format!("pre-activation {kind}"), &model.build().unwrap().graph, &|p, x| {
            let entry = fc(p, 1, x);
            fc(p, 3, &plus(&entry, &fc(p, 2, &map(kind, &entry))))
        });
    }
}

#[test]
fn an_activation_by_itself() {
    for kind in Activation::ALL {
        let model = Sequential::new(FEATURES).linear(6).residual(|b| b.linear(6)).activation(kind).linear(3);
        check_all(&format!("{kind} after a sum"), &model.build().unwrap().graph, &|p, x| {
            let entry = fc(p, 1, x);
            fc(p, 3, &map(kind, &plus(&entry, &fc(p, 2, &entry))))
        });
    }
    // first of all, on the input, and twice in a row
    let model = Sequential::new(FEATURES).tanh().linear(6).gelu().sigmoid().linear(3).build().unwrap();
    check_all("activations in a row", &model.graph, &|p, x| {
        fc(p, 2, &map(Activation::Sigmoid, &map(Activation::Gelu, &fc(p, 1, &map(Activation::Tanh, x)))))
    });
}

#[test]
fn values_used_more_than_once() {
    let (mut graph, input) = Graph::new(FEATURES).unwrap();
    let h = graph.linear(input, "a", 4, Activation::Gelu).unwrap();
    let left = graph.linear(h, "b", 4, Activation::Relu).unwrap();
    let right = graph.linear(h, "c", 4, Activation::Tanh).unwrap();
    let sum = graph.add(left, right).unwrap();
    let sum = graph.add(sum, h).unwrap();
    let doubled = graph.add(sum, sum).unwrap();
    graph.linear(doubled, "d", 3, Activation::Identity).unwrap();
    check_all("shared", &graph, &|p, x| {
        let h = map(Activation::Gelu, &fc(p, 1, x));
        let (left, right) = (map(Activation::Relu, &fc(p, 2, &h)), map(Activation::Tanh, &fc(p, 3, &h)));
        let sum = plus(&plus(&left, &right), &h);
        fc(p, 4, &plus(&sum, &sum))
    });
}

#[test]
fn the_input_used_more_than_once() {
    let (mut graph, input) = Graph::new(FEATURES).unwrap();
    let h = graph.linear(input, "a", FEATURES, Activation::Sigmoid).unwrap();
    let sum = graph.add(h, input).unwrap();
    let other = graph.linear(input, "b", FEATURES, Activation::Identity).unwrap();
    let sum = graph.add(sum, other).unwrap();
    graph.linear(sum, "c", 3, Activation::Identity).unwrap();
    check_all("input", &graph, &|p, x| {
        let h = map(Activation::Sigmoid, &fc(p, 1, x));
        fc(p, 3, &plus(&plus(&h, x), &fc(p, 2, x)))
    });
}

/// Whoever holds a value holds that value, whatever is done with it later.
#[test]
fn activating_a_value_leaves_the_value_alone() {
    let (mut graph, input) = Graph::new(FEATURES).unwrap();
    let h = graph.linear(input, "a", 4, Activation::Identity).unwrap();
    let activated = graph.activate(h, Activation::Relu).unwrap();
    graph.add(h, activated).unwrap();
    check_all("kept", &graph, &|p, x| {
        let h = fc(p, 1, x);
        plus(&h, &map(Activation::Relu, &h))
    });
}

#[test]
fn activations_are_fused_where_nothing_else_reads() {
    let count = |model: Sequential| {
        let schedule = Schedule::new(&model.build().unwrap().graph, 4, PlanMode::Train, Loss::Nll).unwrap();
        schedule.steps.iter().filter(|step| step.call.kernel_as::<ElementwiseStep>().is_some()).count()
    };
    let plain = || Sequential::new(FEATURES).linear(6).gelu();
    assert_eq!(count(plain().linear(6).relu().linear(3)), 0, "in the products' epilogues, forward and backward");
    // the activation and its gradient; the sum, whose own gradient is that of either side
    assert_eq!(count(plain().linear(6).residual(|b| b.relu().linear(6)).linear(3)), 2 + 1);
}

/// Copies that backward makes of gradients.
fn copies(graph: &Graph) -> usize {
    let schedule = Schedule::new(graph, 4, PlanMode::HessianProduct, Loss::Nll).unwrap();
    let is_copy = |kernel: &ElementwiseStep| kernel.0 == Elementwise::Copy;
    let copies = schedule.steps.iter().filter(|step| step.call.kernel_as().is_some_and(is_copy));
    copies.filter(|step| step.name == "gradient").count()
}

/// A sum's gradient is that of both values: they may share a tensor unless one of them gets more before the other was read.
#[test]
fn gradients_of_sums_are_copied_where_they_have_to_be() {
    let residual = |first: &str| {
        let (mut graph, input) = Graph::new(FEATURES).unwrap();
        let h = graph.linear(input, "a", 4, Activation::Identity).unwrap();
        let inner = if first == "norm" { graph.layer_norm(h, "n").unwrap() } else { h };
        let branch = graph.linear(inner, "b", 4, Activation::Identity).unwrap();
        graph.add(h, branch).unwrap();
        graph
    };
    // h gets the norm's part after the branch's product was differentiated
    assert_eq!(copies(&residual("norm")), 0);
    // the product reads the gradient of its output while it adds to h's
    assert_eq!(copies(&residual("none")), 1);
    check_all("shared by a branch", &residual("norm"), &|p, x| {
        let h = fc(p, 1, x);
        let mean = h.iter().sum::<f64>() / 4.0;
        let deviation = (h.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 4.0 + 1e-5).sqrt();
        let affine = h.iter().zip(&p[2]).zip(&p[3]).map(|((x, weight), bias)| (x - mean) / deviation * weight + bias);
        plus(&h, &fc(p, 3, &affine.collect::<Vec<_>>()))
    });
    check_all("copied for a branch", &residual("none"), &|p, x| {
        let h = fc(p, 1, x);
        plus(&h, &fc(p, 2, &h))
    });
}
