//! The kernels of attention in memory linear in the length: each against f64, its tangents against differences of the f64 gradients.

use crate::common::{
    Guarded, ROUNDOFF, assert_within, attention::Attention, bits, classes, device, elements, guarded, guarded_as,
    keeps, narrow, poisoned, poisoned_as, rounding, samples, stored, wide,
};
use jostle::{
    gpu::{Element, GpuError},
    kernels::{AdapterClass, Lanes, Target},
    ops::{
        AttentionShape, Dropout, Flash, FlashDispatches, FlashGradientTangentViews, FlashGradientViews,
        FlashTangentViews, flash, flash_gradient, flash_gradient_tangent, flash_tangent,
    },
};

/// Batch, length, heads, elements of a head: one of each; one position; nothing a multiple of four; whole tiles, and past them;
/// every number of parts of a head.
const SHAPES: [[usize; 4]; 8] = [
    [1, 1, 1, 1],
    [3, 1, 2, 4],
    [2, 5, 3, 3],
    [1, 64, 4, 32],
    [2, 37, 3, 20],
    [1, 129, 2, 80],
    [1, 65, 1, 33],
    [1, 33, 1, 128],
];

/// What results hold that are added to.
const START: f32 = 0.25;

const DROPOUT: Dropout = Dropout { probability: 0.3, layer: 2 };
const SEED: u64 = 0x1234_5678_9ABC_DEF0;
const STEP: u64 = 7;

struct Case {
    reference: Attention,
    flash: Flash,
    element: Element,
    class: AdapterClass,
    qkv: Vec<f32>,
    grad: Vec<f32>,
    qkv_tangent: Vec<f32>,
    grad_tangent: Vec<f32>,
}

/// What forward makes.
struct Forwarded {
    output: Guarded,
    lse: Guarded,
}

fn run(dispatches: &FlashDispatches) {
    let mut recorder = device().record();
    dispatches.record(&mut recorder, SEED, STEP);
    recorder.submit().unwrap();
}

impl Case {
    fn new([batch, length, heads, head_dim]: [usize; 4], causal: bool, element: Element, class: AdapterClass) -> Self {
        let shape = AttentionShape::new([batch, length, heads, head_dim], causal).unwrap();
        let values = |seed, len, scale| stored(element, &samples(seed, len, scale));
        Self {
            reference: Attention { batch, length, heads, head_dim, causal, mask: None },
            flash: Flash { shape, dropout: None },
            element,
            class,
            qkv: values(1, shape.inputs(), 2.0),
            grad: values(2, shape.outputs(), 1.0),
            qkv_tangent: values(3, shape.inputs(), 1.0),
            grad_tangent: values(4, shape.outputs(), 1.0),
        }
    }

    fn with_dropout(mut self) -> Self {
        let factor = |i| f64::from(u8::from(keeps(DROPOUT.probability, [SEED, STEP], DROPOUT.layer, i)));
        let scale = 1.0 / (1.0 - f64::from(DROPOUT.probability));
        self.reference.mask = Some((0..self.reference.scores_len()).map(|i| scale * factor(i)).collect());
        self.flash.dropout = Some(DROPOUT);
        self
    }

    fn name(&self, what: &str) -> String {
        format!("{what} of {:?}, {:?}, {:?}", self.flash, self.class, self.element)
    }

    fn upload(&self, values: &[f32]) -> Guarded {
        guarded_as(device(), values, self.element)
    }

    fn result(&self, len: usize, adds: bool) -> Guarded {
        if adds { self.upload(&vec![START; len]) } else { poisoned_as(device(), len, self.element) }
    }

    /// L of each row in f64.
    fn lse_of(&self, qkv: &[f64]) -> Vec<f64> {
        let r = &self.reference;
        let row = |head, i| {
            let product = |j, e| qkv[r.packed(0, head, i, e)] * qkv[r.packed(1, head, j, e)];
            let score = |j| r.scale() * (0..r.head_dim).map(|e| product(j, e)).sum::<f64>();
            let scores: Vec<f64> = (0..r.length).filter(|j| r.sees(i, *j)).map(score).collect();
            let most = scores.iter().copied().fold(f64::MIN, f64::max);
            most + scores.iter().map(|score| (score - most).exp()).sum::<f64>().ln()
        };
        r.heads_of_samples().flat_map(|head| (0..r.length).map(move |i| row(head, i))).collect()
    }

    fn lse(&self) -> Vec<f64> {
        self.lse_of(&wide(&self.qkv))
    }

    /// Fails unless `found` is within what rounds: a score is a sum of as many terms as a head has elements, whose error is one
    /// of its probability; a result is a sum of as many terms as there are positions, or as heads have elements.
    fn check(&self, what: &str, found: &[f32], expected: &[f64], start: f32) {
        let size = expected.iter().fold(1.0_f64, |most, x| most.max(x.abs()));
        let terms = (self.reference.head_dim + self.reference.length + 32) as f64;
        // D is of an output that is stored as f16, as many roundings as a head has elements, most of which cancel.
        let of_output = if self.element == Element::Half { 2f64.powi(-11) } else { 0.0 };
        let expected: Vec<f64> = expected.iter().map(|x| x + f64::from(start)).collect();
        let own = 4.0 * terms * ROUNDOFF * size + of_output * size;
        let bounds: Vec<f64> = expected.iter().map(|x| own + rounding(self.element, *x)).collect();
        assert_within(&self.name(what), found, &expected, &bounds);
    }

    /// Forward on the device.
    fn forward(&self) -> Forwarded {
        let (gpu, shape) = (device(), &self.flash.shape);
        let output = poisoned_as(gpu, shape.outputs(), self.element);
        let lse = poisoned(gpu, shape.rows());
        run(&flash(gpu, &self.flash, [&self.upload(&self.qkv).view, &output.view], &lse.view).unwrap());
        Forwarded { output, lse }
    }

    fn check_forward(&self) {
        let Forwarded { output, lse } = self.forward();
        self.check("output", &output.read(device()), &self.reference.forward(&wide(&self.qkv)), 0.0);
        let bounds = vec![ROUNDOFF * 4.0 * (self.reference.head_dim + 64) as f64; self.flash.shape.rows()];
        assert_within(&self.name("L"), &lse.read(device()), &self.lse(), &bounds);
    }

    /// The gradient on the device, from what forward has to make of the input.
    fn gradient(&self, adds: bool) -> Vec<f32> {
        let (gpu, shape) = (device(), &self.flash.shape);
        let output = self.upload(&narrow(&self.reference.forward(&wide(&self.qkv))));
        let (lse, rows) = (guarded(gpu, &narrow(&self.lse())), poisoned(gpu, self.flash.row_words()));
        let (qkv, grad, result) = (self.upload(&self.qkv), self.upload(&self.grad), self.result(shape.inputs(), adds));
        let views = FlashGradientViews {
            qkv: &qkv.view,
            output: &output.view,
            lse: &lse.view,
            grad: &grad.view,
            rows: &rows.view,
            result: &result.view,
        };
        run(&flash_gradient(gpu, self.class, &self.flash, &views, adds).unwrap());
        for input in [&qkv, &output, &lse, &grad, &rows] {
            input.read(gpu);
        }
        result.read(gpu)
    }

    fn check_gradient(&self, adds: bool) {
        let expected = self.reference.backward(&wide(&self.qkv), &wide(&self.grad));
        self.check("gradient", &self.gradient(adds), &expected, if adds { START } else { 0.0 });
    }

    /// The derivative of `f` along the direction of packed input and gradient, in f64.
    fn along(&self, grad_moves: bool, f: impl Fn(&[f64], &[f64]) -> Vec<f64>) -> Vec<f64> {
        const STEP: f64 = 1e-5;
        let moved = |values: &[f32], tangent: &[f32], by: f64| -> Vec<f64> {
            values.iter().zip(tangent).map(|(x, t)| f64::from(*x) + by * f64::from(*t)).collect()
        };
        let at = |by: f64| {
            let grad_by = if grad_moves { by } else { 0.0 };
            f(&moved(&self.qkv, &self.qkv_tangent, by), &moved(&self.grad, &self.grad_tangent, grad_by))
        };
        at(STEP).iter().zip(at(-STEP)).map(|(after, before)| (after - before) / (2.0 * STEP)).collect()
    }

    fn check_tangents(&self, grad_moves: bool, adds: bool) {
        let (gpu, shape) = (device(), &self.flash.shape);
        let Forwarded { output, lse } = self.forward();
        let [qkv, qkv_tangent] = [&self.qkv, &self.qkv_tangent].map(|values| self.upload(values));
        let [grad, grad_tangent] = [&self.grad, &self.grad_tangent].map(|values| self.upload(values));
        let (output_tangent, mu) = (poisoned(gpu, shape.outputs()), poisoned(gpu, shape.rows()));
        let views = FlashTangentViews {
            qkv: &qkv.view,
            qkv_tangent: &qkv_tangent.view,
            lse: &lse.view,
            output: &output.view,
            output_tangent: &output_tangent.view,
            mu: &mu.view,
        };
        run(&flash_tangent(gpu, &self.flash, &views).unwrap());
        let expected = self.along(false, |qkv, _| self.reference.forward(qkv));
        self.check("output's tangent", &output_tangent.read(gpu), &expected, 0.0);
        self.check("mu", &mu.read(gpu), &self.along(false, |qkv, _| self.lse_of(qkv)), 0.0);

        let (rows, result) = (poisoned(gpu, self.flash.row_words()), self.result(shape.inputs(), adds));
        let gradient = FlashGradientViews {
            qkv: &qkv.view,
            output: &output.view,
            lse: &lse.view,
            grad: &grad.view,
            rows: &rows.view,
            result: &result.view,
        };
        let views = FlashGradientTangentViews {
            gradient,
            qkv_tangent: &qkv_tangent.view,
            output_tangent: &output_tangent.view,
            mu: &mu.view,
            grad_tangent: grad_moves.then_some(&grad_tangent.view),
        };
        run(&flash_gradient_tangent(gpu, self.class, &self.flash, &views, adds).unwrap());
        let expected = self.along(grad_moves, |qkv, grad| self.reference.backward(qkv, grad));
        self.check("gradient's tangent", &result.read(gpu), &expected, if adds { START } else { 0.0 });
        rows.read(gpu);
    }
}

/// Every shape, causal and not.
fn cases(element: Element, class: AdapterClass) -> impl Iterator<Item = Case> {
    SHAPES.into_iter().flat_map(move |shape| [false, true].map(|causal| Case::new(shape, causal, element, class)))
}

#[test]
fn forward_agrees_with_f64() {
    for element in elements(device()) {
        cases(element, classes()[0]).for_each(|case| case.check_forward());
    }
}

#[test]
fn gradients_agree_with_f64() {
    for element in elements(device()) {
        cases(element, classes()[0]).for_each(|case| case.check_gradient(false));
    }
    let case = |shape, class| Case::new(shape, true, Element::Word, class);
    case([2, 37, 3, 20], classes()[0]).check_gradient(true);
    // As software adapters share out the sums over rows.
    SHAPES.into_iter().for_each(|shape| case(shape, classes()[1]).check_gradient(false));
}

#[test]
fn tangents_agree_with_differences() {
    cases(Element::Word, classes()[0]).for_each(|case| case.check_tangents(true, false));
    Case::new([2, 37, 3, 20], true, Element::Word, classes()[1]).check_tangents(true, false);
    let case = Case::new([2, 37, 3, 20], true, Element::Word, classes()[0]);
    case.check_tangents(true, true);
    case.check_tangents(false, false);
}

#[test]
fn long_sequences_agree_with_f64() {
    for causal in [false, true] {
        let case = Case::new([1, 1024, 1, 4], causal, Element::Word, classes()[0]);
        case.check_forward();
        case.check_gradient(false);
        case.check_tangents(true, false);
    }
}

/// Masks are those that `shaders/dropout.wgsl` draws of the probabilities, whether rows of them are whole vec4s or not.
#[test]
fn dropout_masks_probabilities() {
    for shape in [[1, 1, 1, 1], [2, 5, 3, 3], [1, 64, 4, 32], [2, 37, 3, 20], [1, 38, 2, 8], [1, 39, 2, 8]] {
        for causal in [false, true] {
            let case = Case::new(shape, causal, Element::Word, classes()[0]).with_dropout();
            case.check_forward();
            case.check_gradient(false);
        }
    }
}

/// More heads of samples than a side of the grid has workgroups.
#[test]
fn many_heads_are_folded() {
    let case = Case::new([21_846, 2, 3, 4], true, Element::Word, classes()[0]);
    case.check_forward();
    let (flash, target) = (&case.flash, Target::GENERIC);
    let others = [flash.gradient_launches(&target, false), flash.gradient_tangent_launches(&target, true, false)];
    let tiles = others.into_iter().flat_map(|launches| launches.unwrap().into_iter().skip(1));
    for launch in tiles.chain([flash.tangent_launch(&target).unwrap()]) {
        assert_eq!(launch.grid, flash.launch(&target).unwrap().grid, "{}", launch.spec.entry);
        assert!(launch.grid.0[1] > 1, "they fold as forward does, by shared/flash.wgsl");
    }
}

/// Scores of some hundreds: what is exponentiated is the difference from the largest.
#[test]
fn large_scores_overflow_nothing() {
    let mut case = Case::new([1, 70, 2, 16], false, Element::Word, classes()[0]);
    case.qkv.iter_mut().for_each(|x| *x *= 16.0);
    let Forwarded { output, lse } = case.forward();
    let size = 4.0 * 32.0 * 32.0; // of a score: sqrt(d) times the sizes of queries and keys
    let bound = |terms: f64| ROUNDOFF * terms * size;
    let expected = case.reference.forward(&wide(&case.qkv));
    // A score's error is its probability's, of values up to 32.
    assert_within("output", &output.read(device()), &expected, &vec![32.0 * 2.0 * bound(20.0); expected.len()]);
    let expected = case.lse();
    assert_within("L", &lse.read(device()), &expected, &vec![bound(20.0); expected.len()]);
}

#[test]
fn repeats_are_exact() {
    let case = Case::new([2, 129, 3, 20], true, Element::Word, classes()[0]).with_dropout();
    let Forwarded { output, lse } = case.forward();
    let again = case.forward();
    assert_eq!(bits(&output.read(device())), bits(&again.output.read(device())));
    assert_eq!(bits(&lse.read(device())), bits(&again.lse.read(device())));
    assert_eq!(bits(&case.gradient(false)), bits(&case.gradient(false)));
}

#[test]
fn what_the_kernels_do_not_take_is_refused() {
    let gpu = classes()[0];
    let flash = |length, head_dim| {
        let shape = AttentionShape::new([1, length, 1, head_dim], false).unwrap();
        Flash { shape, dropout: None }
    };
    let software = AdapterClass::Software(Lanes::Eight);
    assert!(flash(64, 128).check(gpu).is_ok() && flash(1024, 128).check(software).is_ok());
    assert!(matches!(flash(64, 129).check(gpu), Err(GpuError::Shape { .. })));
    assert!(flash(16_384, 64).check(gpu).is_ok());
    assert!(matches!(flash(16_384, 64).check(software), Err(GpuError::Shape { .. })), "llvmpipe ends long loops");
    assert!(flash(16_384, 64).launch(&Target::GENERIC).is_ok());
}
