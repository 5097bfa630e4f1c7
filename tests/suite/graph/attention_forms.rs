//! The two forms of attention: that they agree, what memory each takes, and which is chosen.

use crate::common::{
    ROUNDOFF, classes, device,
    model::Data,
    network::{get, set},
    samples, wide,
};
use jostle::{
    analysis::{Curvature, CurvatureProduct, Subject},
    graph::{BatchInfo, Graph, Node, Plan, PlanMode, Schedule, ValueShape},
    kernels::{Activation, Arena, Target},
    nn::Model,
    ops::{AttentionForm, AttentionOptions, AttentionShape, FormChoice, Loss},
};

const BATCH: usize = 3;
const CLASSES: usize = 3;
const WIDTH: usize = 4;
const WORD: usize = 4;

/// linear - attention - linear - attention - linear over a sequence.
fn graph(length: usize, heads: usize, head_dim: usize, causal: bool) -> Graph {
    let (mut graph, mut value) = Graph::with_input(ValueShape::Sequence { length, features: WIDTH }).unwrap();
    for (name, dropout) in [("fc1", 0.3), ("fc2", 0.2)] {
        value = graph.linear(value, name, 3 * heads * head_dim, Activation::Identity).unwrap();
        value = graph.attention(value, AttentionOptions { heads, causal, dropout }).unwrap();
    }
    value = graph.flatten(value).unwrap();
    graph.linear(value, "fc3", CLASSES, Activation::Identity).unwrap();
    graph
}

/// A model of several tiles each way, none of them whole.
struct Case {
    graph: Graph,
    data: Data,
    arena: Arena,
}

impl Case {
    fn new(causal: bool) -> Self {
        const LENGTH: usize = 70;
        let graph = graph(LENGTH, 2, 36, causal);
        let arena = Arena::new(device(), graph.layout(), &vec![1.0; graph.params().len()]).unwrap();
        let draw = |(i, param): (usize, &jostle::graph::Param)| {
            samples(600 + i as u64, param.shape.iter().product(), 1.5 / (param.shape[0] as f32).sqrt())
        };
        let params: Vec<Vec<f32>> = graph.params().iter().enumerate().map(draw).collect();
        set(device(), &arena, &arena.weights, &params);
        set(device(), &arena, &arena.weights_eff, &params);
        Self { graph, data: Data::shaped(CLASSES, [1, LENGTH, WIDTH]), arena }
    }

    /// The gradients of a step of training, with dropout.
    fn gradients(&self, form: AttentionForm) -> Vec<f64> {
        let (gpu, arena) = (device(), &self.arena);
        let schedule = Schedule::new(&form.everywhere(&self.graph), BATCH, PlanMode::Train, Loss::Nll).unwrap();
        let metrics = gpu.buffer("metrics", 2).unwrap();
        let plan = Plan::new(gpu, &schedule, arena, &self.data.views(), &metrics.view()).unwrap();
        let mut recorder = gpu.record();
        plan.record(&mut recorder, BatchInfo { seed: 11, step: 4, ..BatchInfo::new(0, BATCH as u32, 0) });
        recorder.submit().unwrap();
        wide(&get(gpu, arena, &arena.grads).concat())
    }

    fn product(&self, form: AttentionForm, curvature: Curvature) -> Vec<f64> {
        let model = Model { description: String::new(), graph: form.everywhere(&self.graph) };
        let data = self.data.on_device(BATCH);
        let subject =
            Subject { model: &model, arena: &self.arena, loss: Loss::Nll.into(), label_smoothing: 0.0, data: &data };
        let product = CurvatureProduct::new(device(), &subject, curvature).unwrap();
        let mut direction = vec![0.0; product.words()];
        for (i, span) in self.arena.layout.spans().iter().enumerate() {
            direction[span.start..][..span.len].copy_from_slice(&samples(650 + i as u64, span.len, 0.2));
        }
        product.apply(&direction).unwrap()
    }
}

/// Fails unless both forms' results differ by no more than their roundings: sums of up to 72 terms, one after another in three
/// layers, and back.
fn assert_agree(name: &str, result: impl Fn(AttentionForm) -> Vec<f64>) {
    let [materialised, linear] = [AttentionForm::Materialised, AttentionForm::Linear].map(result);
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut materialised.iter().zip(&linear).map(|(m, l)| m - l));
    let size = norm(&mut materialised.iter().copied());
    println!("{name}: {:e} of {size:e}", difference / size);
    assert!(size > 1e-3, "{name}: there is nothing to compare");
    assert!(difference <= 6.0 * 72.0 * ROUNDOFF * size, "{name}: they differ by {:e}", difference / size);
    assert_ne!(materialised, linear, "{name}: it is one form twice");
}

#[test]
fn forms_agree() {
    for causal in [false, true] {
        let case = Case::new(causal);
        assert_agree(&format!("gradients, causal {causal}"), |form| case.gradients(form));
        for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
            assert_agree(&format!("{curvature:?}, causal {causal}"), |form| case.product(form, curvature));
        }
    }
}

/// Bytes of activations, tangents and what kernels keep for themselves.
fn bytes(form: AttentionForm, length: usize, mode: PlanMode) -> usize {
    let graph = form.everywhere(&graph(length, 3, 64, true));
    let schedule = Schedule::new(&graph, 2, mode, Loss::Nll).unwrap();
    WORD * (schedule.placement(usize::MAX / 64 * 64).words + schedule.scratch_words(Target::GENERIC.class).unwrap())
}

/// Twice the length is twice the memory of the linear form, products with the Hessian included, and four times that of scores.
#[test]
fn memory_grows_with_the_length() {
    for mode in [PlanMode::Evaluate, PlanMode::Train, PlanMode::HessianProduct, PlanMode::GaussNewtonProduct] {
        let [linear, materialised] = [AttentionForm::Linear, AttentionForm::Materialised]
            .map(|form| [256, 512, 1024].map(|length| bytes(form, length, mode)));
        println!("{mode:?}: linear {linear:?} B, materialised {materialised:?} B");
        for [shorter, longer] in [0, 1].map(|i| [linear[i], linear[i + 1]]) {
            let growth = longer as f64 / shorter as f64;
            assert!(growth < 2.05, "{mode:?}: {growth} times as much memory");
        }
        let growth = materialised[2] as f64 / materialised[1] as f64;
        assert!(growth > 3.0, "{mode:?}: scores take {growth} times as much memory");
        assert!(2 * linear[2] < materialised[2], "{mode:?}");
    }
}

#[test]
fn the_form_goes_by_length_and_class() {
    use AttentionForm::{Linear, Materialised};
    let shape = |batch, length, head_dim| AttentionShape::new([batch, length, 4, head_dim], false).unwrap();
    let [gpu, software] = classes().map(FormChoice::Suited);
    assert_eq!(FormChoice::default().form(&shape(1, 257, 64)), gpu.form(&shape(1, 257, 64)), "no class: a GPU's");
    assert_eq!([256, 257].map(|length| gpu.form(&shape(1, length, 64))), [Materialised, Linear]);
    assert_eq!([1024, 1025].map(|length| software.form(&shape(1, length, 64))), [Materialised, Linear]);
    // 128 MiB of scores.
    assert_eq!([128, 129].map(|batch| gpu.form(&shape(batch, 256, 64))), [Materialised, Linear]);
    assert_eq!(gpu.form(&shape(1, 1024, 129)), Materialised, "what the kernels do not take");
    assert_eq!(software.form(&shape(1, 16_384, 64)), Materialised, "rounds that the driver would leave out");
    assert_eq!(FormChoice::Only(Linear).form(&shape(1, 1, 4)), Linear);

    let model = graph(300, 2, 8, true);
    let calls = |graph: &Graph| {
        let schedule = Schedule::new(graph, 1, PlanMode::Train, Loss::Nll).unwrap();
        schedule.steps.iter().filter(|step| step.call.kernel.kind() == "linear attention").count()
    };
    assert_eq!(classes().map(|class| calls(&model.suited(class))), [2, 0]);
    let forced = Linear.everywhere(&model);
    assert_eq!(classes().map(|class| calls(&forced.suited(class))), [2, 2], "what is asked for stays");
    let text = |graph: &Graph| graph.nodes().iter().map(Node::canonical_text).collect::<Vec<_>>();
    assert_eq!(text(&forced), text(&model), "a model is the same in either form");
}
