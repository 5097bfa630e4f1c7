//! Attention in a model: gradients with masks and without against differences of the model written out by hand, evaluation, f16,
//! repeats, and what a schedule holds.

use crate::common::{
    ROUNDOFF, assert_close,
    attention::Attention,
    central_difference, device, keeps,
    model::{Data, Params},
    network::{get, set},
    own_device,
    reference::{linear, nll},
    samples, sanitize, wide,
};
use jostle::{
    gpu::{Element, Family, Faults},
    graph::{BatchInfo, Graph, Plan, PlanMode, PlannedLaunch, Schedule, TangentArenas, ValueShape},
    kernels::{Activation, Arena, EffectiveWeights, GradientScaling, Target},
    nn::{Model, Signature},
    ops::{AttentionForm, AttentionOptions, Loss},
};

const BATCH: usize = 4;
const LENGTH: usize = 5;
const WIDTH: usize = 3;
const HEADS: usize = 2;
const HEAD_DIM: usize = 3;
const CLASSES: usize = 3;
const CHANNELS: usize = HEADS * HEAD_DIM;

/// Of the two attentions, and of the dropout between them.
const DROPOUTS: [f32; 3] = [0.4, 0.3, 0.25];

/// Seed and step.
const DRAW: [u64; 2] = [9 << 33 | 5, 3];

/// Of f16: small, so that nothing overflows here.
const LOSS_SCALE: f32 = 64.0;

struct Case {
    causal: bool,
    graph: Graph,
    data: Data,
    params: Vec<Vec<f32>>,
}

const FORMS: [AttentionForm; 2] = [AttentionForm::Materialised, AttentionForm::Linear];

/// What a run leaves: gradients, the sum of the losses, and the outputs where nothing is trained.
struct Found {
    grads: Vec<Vec<f32>>,
    loss: f32,
    outputs: Vec<f32>,
}

impl Case {
    /// linear - attention - linear - dropout - attention - linear, the dropouts of these chances.
    fn new(causal: bool, dropouts: [f32; 3]) -> Self {
        let input = ValueShape::Sequence { length: LENGTH, features: WIDTH };
        let (mut graph, mut value) = Graph::with_input(input).unwrap();
        let [first, between, second] = dropouts;
        let options = |dropout| AttentionOptions { heads: HEADS, causal, dropout };
        value = graph.linear(value, "fc1", 3 * CHANNELS, Activation::Identity).unwrap();
        value = graph.attention(value, options(first)).unwrap();
        value = graph.linear(value, "fc2", 3 * CHANNELS, Activation::Identity).unwrap();
        value = graph.dropout(value, between).unwrap();
        value = graph.attention(value, options(second)).unwrap();
        value = graph.flatten(value).unwrap();
        graph.linear(value, "fc3", CLASSES, Activation::Identity).unwrap();
        let draw = |(i, param): (usize, &jostle::graph::Param)| {
            samples(500 + i as u64, param.shape.iter().product(), 2.0 / (param.shape[0] as f32).sqrt())
        };
        let params = graph.params().iter().enumerate().map(draw).collect();
        Self { causal, graph, data: Data::shaped(CLASSES, [1, LENGTH, WIDTH]), params }
    }

    /// The same in each form, causal and not.
    fn in_forms(dropouts: [f32; 3]) -> impl Iterator<Item = Self> {
        let both = [false, true].map(|causal| FORMS.map(|form| (causal, form)));
        both.into_iter().flatten().map(move |(causal, form)| {
            let case = Self::new(causal, dropouts);
            Self { graph: form.everywhere(&case.graph), ..case }
        })
    }

    /// Outputs of a batch in f64; `draw` of training.
    fn outputs(&self, p: Params<'_>, inputs: &[f64], draw: Option<[u64; 2]>) -> Vec<f64> {
        let factors = |layer: usize, count: usize| -> Option<Vec<f64>> {
            let (probability, draw) = (DROPOUTS[layer], draw?);
            let kept = 1.0 / f64::from(1.0 - probability);
            let factor = |i| if keeps(probability, draw, layer, i) { kept } else { 0.0 };
            Some((0..count).map(factor).collect())
        };
        let by_row = |x: &[f64], width: usize, n: usize| -> Vec<f64> {
            x.chunks_exact(width).flat_map(|row| linear(&p[2 * n], &p[2 * n + 1], row)).collect()
        };
        let batch = inputs.len() / (LENGTH * WIDTH);
        let attend = |x: &[f64], layer: usize| {
            let bare =
                Attention { batch, length: LENGTH, heads: HEADS, head_dim: HEAD_DIM, causal: self.causal, mask: None };
            let mask = factors(layer, bare.scores_len());
            Attention { mask, ..bare }.forward(x)
        };
        let first = attend(&by_row(inputs, WIDTH, 0), 0);
        let mut between = by_row(&first, CHANNELS, 1);
        if let Some(mask) = factors(1, between.len()) {
            between.iter_mut().zip(mask).for_each(|(x, factor)| *x *= factor);
        }
        by_row(&attend(&between, 2), LENGTH * CHANNELS, 2)
    }

    /// Sum of the losses of positions from `first` on.
    fn loss(&self, p: Params<'_>, [first, valid]: [usize; 2], draw: Option<[u64; 2]>) -> f64 {
        let batch: Vec<_> = (first..first + valid).map(|position| self.data.sample(position)).collect();
        let inputs: Vec<f64> = batch.iter().flat_map(|(input, _)| input.clone()).collect();
        let outputs = self.outputs(p, &inputs, draw);
        outputs.chunks_exact(CLASSES).zip(&batch).map(|(row, (_, label))| nll(row, *label)).sum()
    }

    /// Runs a batch, after another that leaves its rubbish behind.
    fn run(&self, mode: PlanMode, element: Element, [first, valid]: [usize; 2], [seed, step]: [u64; 2]) -> Found {
        let gpu = device();
        let arena = Arena::stored(gpu, self.graph.layout(), &vec![1.0; self.params.len()], element).unwrap();
        set(gpu, &arena, &arena.weights, &self.params);
        let mut recorder = gpu.record();
        EffectiveWeights::new(gpu, &arena, &arena.weights).unwrap().record(&mut recorder);
        recorder.submit().unwrap();
        let scaling = GradientScaling { loss_scale: LOSS_SCALE, ..GradientScaling::initial(element) };
        gpu.write(&arena.scaling.view(), &[scaling]).unwrap();
        let metrics = gpu.upload("metrics", &[f32::NAN; 4]).unwrap();
        let schedule = Schedule::stored(&self.graph, BATCH, mode, Loss::Nll, element).unwrap();
        let plan = Plan::new(gpu, &schedule, &arena, &self.data.views(), &metrics.view()).unwrap();
        let poison: Vec<Vec<f32>> = self.params.iter().map(|param| vec![f32::NAN; param.len()]).collect();
        for (first, valid, slot, step) in [(0, BATCH, 0, step + 1), (first, valid, 1, step)] {
            set(gpu, &arena, &arena.grads, &poison);
            let mut recorder = gpu.record();
            plan.record(&mut recorder, BatchInfo { seed, step, ..BatchInfo::new(first as u32, valid as u32, slot) });
            recorder.submit().unwrap();
        }
        let metrics: Vec<f32> = gpu.read(&metrics.view()).unwrap();
        let outputs = if mode == PlanMode::Evaluate { gpu.read(plan.output()).unwrap() } else { Vec::new() };
        Found { grads: get(gpu, &arena, &arena.grads), loss: metrics[2], outputs }
    }

    fn wide_params(&self) -> Vec<Vec<f64>> {
        self.params.iter().map(|param| wide(param)).collect()
    }

    /// The gradients of a step of training, and its loss, against differences.
    fn check_gradients(&self, draw: Option<[u64; 2]>) {
        for batch in [[0, BATCH], [2, BATCH - 1]] {
            let found = self.run(PlanMode::Train, Element::Word, batch, DRAW);
            let params = self.wide_params();
            assert_close("loss", &[found.loss], &[self.loss(&params, batch, draw)], 0.0, 300.0 * ROUNDOFF);
            for (tensor, grad) in found.grads.iter().enumerate() {
                let mean_loss = |x: &[f64]| {
                    let mut moved = params.clone();
                    moved[tensor] = x.to_vec();
                    self.loss(&moved, batch, draw) / batch[1] as f64
                };
                // As in the tests of sequences: truncation, rounding, and some 300 roundings of the device.
                let expected = central_difference(mean_loss, &params[tensor], 1e-5);
                let size = expected.iter().fold(1.0_f64, |most, g| most.max(g.abs()));
                let name = format!("causal {}, {draw:?}: {}", self.causal, self.graph.params()[tensor].name);
                assert_close(&name, grad, &expected, 2e-8 + 300.0 * ROUNDOFF * size, 0.0);
            }
        }
    }
}

#[test]
fn gradients_agree_with_differences() {
    Case::in_forms([0.0; 3]).for_each(|case| case.check_gradients(None));
}

/// The mask that backward regenerates is forward's: that of (seed, step, number among the dropouts, element).
#[test]
fn masks_are_the_same_both_ways() {
    Case::in_forms(DROPOUTS).for_each(|case| case.check_gradients(Some(DRAW)));
}

#[test]
fn evaluation_has_no_masks() {
    for case in Case::in_forms(DROPOUTS) {
        let found = case.run(PlanMode::Evaluate, Element::Word, [1, BATCH], DRAW);
        let inputs: Vec<f64> = (1..=BATCH).flat_map(|position| case.data.sample(position).0).collect();
        let expected = case.outputs(&case.wide_params(), &inputs, None);
        assert_close("outputs", &found.outputs, &expected, 300.0 * ROUNDOFF, 0.0);
    }
}

#[test]
fn steps_repeat_bit_for_bit_and_differ_from_others() {
    for case in Case::in_forms(DROPOUTS) {
        let run = |[seed, step]: [u64; 2]| {
            let found = case.run(PlanMode::Train, Element::Word, [0, BATCH], [seed, step]);
            (found.grads.concat().iter().map(|x| x.to_bits()).collect::<Vec<_>>(), found.loss.to_bits())
        };
        let [seed, step] = DRAW;
        assert_eq!(run(DRAW), run(DRAW));
        assert_ne!(run(DRAW), run([seed, step + 1]));
        assert_ne!(run(DRAW), run([seed + 1, step]));
    }
}

/// At weights that f16 holds, so that only what is stored on the way differs: values, probabilities and gradients.
#[test]
fn f16_gradients_agree_with_f32() {
    if !device().has_f16() {
        eprintln!("skipped: no f16");
        return;
    }
    for mut case in Case::in_forms(DROPOUTS) {
        let causal = case.causal;
        case.params.iter_mut().flatten().for_each(|value| *value = half::f16::from_f32(*value).to_f32());
        let [exact, rounded] = [Element::Word, Element::Half].map(|element| {
            let found = case.run(PlanMode::Train, element, [0, BATCH], DRAW);
            (wide(&found.grads.concat()), f64::from(found.loss))
        });
        let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|x| x * x).sum::<f64>().sqrt();
        let difference = |(e, r): (&f64, &f64)| r / f64::from(LOSS_SCALE) - e;
        let error = norm(&mut exact.0.iter().zip(&rounded.0).map(difference)) / norm(&mut exact.0.iter().copied());
        // Six roundings of f16, as networks without attention have.
        assert!(error < 3e-3, "causal {causal}: relative error {error}");
        assert!((exact.1 - rounded.1).abs() < 1e-2 * exact.1, "{} and {}", exact.1, rounded.1);
    }
}

#[test]
fn files_hold_attention() {
    let text = r#"
layers = [
    { type = "linear", features = 18 },
    { type = "attention", heads = 2, causal = true, dropout = 0.1 },
    { type = "dropout", probability = 0.5 },
    { type = "linear", features = 18 },
    { type = "attention", heads = 3 },
    { type = "linear", features = 2 },
]
"#;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.toml");
    std::fs::write(&path, text).unwrap();
    let signature = Signature { input: ValueShape::Sequence { length: 4, features: 3 }, classes: 2 };
    let model = Model::build(path.to_str().unwrap(), &signature).unwrap();
    let texts: Vec<String> = model.graph.nodes().iter().map(jostle::graph::Node::canonical_text).collect();
    let expected = [
        "attention heads 2 causal true dropout 0.1 layer 0",
        "dropout probability 0.5 layer 1",
        "attention heads 3 causal false",
    ];
    let found: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.starts_with("linear")).collect();
    assert_eq!(found, expected);
}

/// On the device as it is, and taken for a GPU.
#[test]
fn a_plan_binds_what_the_schedule_says() {
    let families = [None, Some(Family::Gpu), Some(Family::Gpu), None];
    for (case, family) in Case::in_forms(DROPOUTS).zip(families) {
        let gpu = own_device().with_faults(Faults { family, ..sanitize::faults() });
        let (layout, target) = (case.graph.layout(), Target::for_device(&gpu));
        let words = layout.words();
        let tangents = TangentArenas {
            direction: gpu.buffer("direction", words).unwrap(),
            product: gpu.buffer("product", words).unwrap(),
        };
        let arena = Arena::new(&gpu, layout, &vec![1.0; case.params.len()]).unwrap();
        let data = case.data.views_on(&gpu);
        let metrics = gpu.buffer("metrics", 2).unwrap().view();
        for mode in [PlanMode::Train, PlanMode::Evaluate, PlanMode::HessianProduct, PlanMode::GaussNewtonProduct] {
            let schedule = Schedule::new(&case.graph, BATCH, mode, Loss::Nll).unwrap();
            let launches = schedule.launches(&target, [1, LENGTH, WIDTH]).unwrap();
            let said = launches.iter().map(|PlannedLaunch { launch, .. }| (launch.spec.entry, launch.grid.0));
            let plan = Plan::with_tangents(&gpu, &schedule, &arena, Some(&tangents), &data, &metrics).unwrap();
            let bound = plan.dispatches().into_iter().map(|dispatch| (dispatch.kernel_name(), dispatch.grid().0));
            assert_eq!(said.collect::<Vec<_>>(), bound.collect::<Vec<_>>(), "{mode:?}, {target:?}");
            assert!(launches.iter().all(|planned| planned.launch.work.bytes > 0), "{mode:?}: a launch of no work");
        }
    }
}
