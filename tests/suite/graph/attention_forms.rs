//! The two forms of attention: that they agree, what memory each takes, which is chosen, and that a device is tested for it.

use crate::common::{
    ROUNDOFF, bits, classes, device, elements,
    model::Data,
    network::{get, set},
    own_device, samples, wide,
};
use jostle::{
    analysis::{Curvature, CurvatureProduct, Subject},
    gpu::{AdapterChoice, Element, Family, Faults, Gpu},
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
struct Case<'g> {
    gpu: &'g Gpu,
    graph: Graph,
    data: Data,
    arena: Arena,
}

impl Case<'static> {
    fn new(causal: bool) -> Self {
        const LENGTH: usize = 70;
        Self::on(device(), LENGTH, graph(LENGTH, 2, 36, causal))
    }
}

impl<'g> Case<'g> {
    fn on(gpu: &'g Gpu, length: usize, graph: Graph) -> Self {
        let arena = Arena::new(gpu, graph.layout(), &vec![1.0; graph.params().len()]).unwrap();
        let draw = |(i, param): (usize, &jostle::graph::Param)| {
            samples(600 + i as u64, param.shape.iter().product(), 1.5 / (param.shape[0] as f32).sqrt())
        };
        let params: Vec<Vec<f32>> = graph.params().iter().enumerate().map(draw).collect();
        set(gpu, &arena, &arena.weights, &params);
        set(gpu, &arena, &arena.weights_eff, &params);
        Self { gpu, graph, data: Data::shaped(CLASSES, [1, length, WIDTH]), arena }
    }

    /// The gradients of a step of training, with dropout.
    fn gradients(&self, form: AttentionForm) -> Vec<f64> {
        let schedule = Schedule::new(&form.everywhere(&self.graph), BATCH, PlanMode::Train, Loss::Nll).unwrap();
        wide(&self.step(&schedule).1)
    }

    /// Metrics and gradients of a step of training.
    fn step(&self, schedule: &Schedule) -> (Vec<f32>, Vec<f32>) {
        let Self { gpu, arena, .. } = self;
        let metrics = gpu.buffer("metrics", 2).unwrap();
        let plan = Plan::new(gpu, schedule, arena, &self.data.views_on(gpu), &metrics.view()).unwrap();
        let mut recorder = gpu.record();
        plan.record(&mut recorder, BatchInfo { seed: 11, step: 4, ..BatchInfo::new(0, BATCH as u32, 0) });
        recorder.submit().unwrap();
        (gpu.read(&metrics.view()).unwrap(), get(gpu, arena, &arena.grads).concat())
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

fn linear_calls(schedule: &Schedule) -> usize {
    schedule.steps.iter().filter(|step| step.call.kernel.kind() == "linear attention").count()
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
    let calls = |graph: &Graph| linear_calls(&Schedule::new(graph, 1, PlanMode::Train, Loss::Nll).unwrap());
    assert_eq!(classes().map(|class| calls(&model.suited(class))), [2, 0]);
    let forced = Linear.everywhere(&model);
    assert_eq!(classes().map(|class| calls(&forced.suited(class))), [2, 2], "what is asked for stays");
    let text = |graph: &Graph| graph.nodes().iter().map(Node::canonical_text).collect::<Vec<_>>();
    assert_eq!(text(&forced), text(&model), "a model is the same in either form");
}

/// Positions for which a GPU's table wants the linear form.
const LONG: usize = 257;

/// What a driver makes of a kernel's text.
type Misread = fn(&str) -> String;

/// The device taken for a GPU.
fn as_gpu(gpu: Gpu, misread: Option<Misread>) -> Gpu {
    gpu.with_faults(Faults { family: Some(Family::Gpu), misread, ..Faults::default() })
}

fn suited(gpu: &Gpu, graph: &Graph, mode: PlanMode, element: Element) -> Schedule {
    Schedule::suited(graph, BATCH, mode, Loss::Nll, element, gpu).unwrap()
}

#[test]
fn the_linear_form_is_admitted_here() {
    let gpu = as_gpu(device().again(), None);
    for (head_dim, causal) in [4, 20, 64].into_iter().flat_map(|size| [(size, false), (size, true)]) {
        let graph = graph(LONG, 2, head_dim, causal);
        let calls = |mode, element| linear_calls(&suited(&gpu, &graph, mode, element));
        for element in elements(&gpu) {
            assert_eq!(calls(PlanMode::Train, element), 2, "{head_dim}, causal {causal}, {element:?}");
        }
        for mode in [PlanMode::Evaluate, PlanMode::Accumulate, PlanMode::HessianProduct, PlanMode::GaussNewtonProduct] {
            assert_eq!(calls(mode, Element::Word), 2, "{head_dim}, causal {causal}, {mode:?}");
        }
    }
}

/// Each kernel as a driver might spoil it, with the modes that need it and those that do not.
#[test]
fn wrong_kernels_are_refused_where_they_are_needed() {
    use PlanMode::{Evaluate, HessianProduct, Train};
    let faults: [(Misread, &[PlanMode], &[PlanMode]); 7] = [
        (|text| text.replace("flash_scale(&sums, shrunk);", ""), &[Evaluate, Train], &[]),
        (|text| text.replace("return min(4u, shape.length", "return min(3u, shape.length"), &[Evaluate], &[]),
        (|text| text.replace("own.x += slope", "own.x -= slope"), &[Train], &[Evaluate]),
        (|text| text.replace("slope * kept - mean", "slope * kept"), &[Train], &[Evaluate]),
        (|text| text.replace("probability * kept, prob", "probability, prob"), &[Train], &[Evaluate]),
        (|text| text.replace("value[k] - row_means[k] * output[at[k]]", "value[k]"), &[HessianProduct], &[Train]),
        (|text| text.replace("(slopes[1] - stats[3])", "slopes[1]"), &[HessianProduct], &[Train]),
    ];
    let graph = graph(LONG, 2, 20, true);
    for (i, (misread, wrong, right)) in faults.into_iter().enumerate() {
        let gpu = as_gpu(own_device(), Some(misread));
        let calls = |mode: &PlanMode| linear_calls(&suited(&gpu, &graph, *mode, Element::Word));
        assert!(wrong.iter().all(|mode| calls(mode) == 0), "fault {i} is not seen");
        assert!(right.iter().all(|mode| calls(mode) == 2), "fault {i} is seen where it is not");
    }
}

#[test]
fn the_materialised_form_takes_the_place_of_a_refused_one() {
    let gpu = as_gpu(own_device(), Some(|text| text.replace("slope * kept - mean", "slope * kept")));
    let case = Case::on(&gpu, LONG, graph(LONG, 2, 4, true));
    let step = |graph: &Graph| {
        let (metrics, gradients) = case.step(&suited(&gpu, graph, PlanMode::Train, Element::Word));
        assert!(metrics[0] > 0.0, "there is no loss");
        (bits(&metrics), bits(&gradients))
    };
    assert_eq!(step(&case.graph), step(&AttentionForm::Materialised.everywhere(&case.graph)));
    let forced = AttentionForm::Linear.everywhere(&case.graph);
    assert_eq!(linear_calls(&suited(&gpu, &forced, PlanMode::Train, Element::Word)), 2, "what is asked for stays");
}

#[test]
fn a_device_is_tested_once() {
    let folder = tempfile::tempdir().unwrap();
    let graph = graph(LONG, 2, 20, false);
    // Bytes of the trials' tensors, for a schedule and for the next one.
    let tested = || {
        let gpu = as_gpu(Gpu::with_cache(&AdapterChoice::from_environment(), folder.path()).unwrap(), None);
        [(); 2].map(|()| {
            let before = gpu.allocated_bytes();
            assert_eq!(linear_calls(&suited(&gpu, &graph, PlanMode::HessianProduct, Element::Word)), 2);
            gpu.allocated_bytes() - before
        })
    };
    let [first, again] = tested();
    assert!(first > 0 && again == 0, "{first} bytes, then {again}");
    assert_eq!(tested(), [0; 2], "another process knows it from the folder");
}
