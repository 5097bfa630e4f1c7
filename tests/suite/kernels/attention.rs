//! Attention's kernels against f64: each with what it reads on the device, within its own roundings, and all in a row.

use crate::common::{
    Guarded, ROUNDOFF, assert_close, assert_within, attention::Attention, bits, central_difference, classes, device,
    elements, guarded, guarded_as, narrow, poisoned, poisoned_as, rounding, run, samples, stored, wide,
};
use jostle::{
    gpu::{Dispatch, Element, GpuError},
    graph::{Graph, GraphError, ValueShape},
    kernels::AdapterClass,
    ops::{
        AttentionOptions, AttentionProduct, AttentionShape, attention_product, attention_softmax,
        attention_softmax_curvature, attention_softmax_gradient,
    },
};

/// Batch, length, heads, elements of a head: one of each; one position; odd lengths; no whole vec4s; past a tile of each kind.
const SHAPES: [[usize; 4]; 8] = [
    [1, 1, 1, 1],
    [3, 1, 2, 4],
    [2, 5, 3, 3],
    [1, 64, 4, 32],
    [2, 37, 3, 20],
    [1, 129, 2, 80],
    [1, 129, 1, 4],
    [1, 68, 1, 70],
];

/// More heads of samples than a side of the grid has workgroups.
const MANY: [[usize; 4]; 2] = [[21_846, 2, 3, 4], [65_537, 1, 1, 4]];

const PRODUCTS: [AttentionProduct; 6] = [
    AttentionProduct::Scores,
    AttentionProduct::ProbabilityGradient,
    AttentionProduct::Output,
    AttentionProduct::QueryGradient,
    AttentionProduct::KeyGradient,
    AttentionProduct::ValueGradient,
];

/// What a result holds before it is added to.
const START: f32 = 0.25;

struct Case {
    shape: AttentionShape,
    reference: Attention,
    class: AdapterClass,
    element: Element,
}

/// Where a product's operands for row, column and term of a head lie, and by what it is scaled.
struct Places<'a> {
    a: &'a dyn Fn([usize; 2], usize, usize) -> usize,
    b: &'a dyn Fn([usize; 2], usize, usize) -> usize,
    c: &'a dyn Fn([usize; 2], usize, usize) -> usize,
    columns: usize,
    terms: usize,
    scale: f64,
}

impl Case {
    fn new([batch, length, heads, head_dim]: [usize; 4], causal: bool, class: AdapterClass, element: Element) -> Self {
        let shape = AttentionShape::new([batch, length, heads, head_dim], causal).unwrap();
        let reference = Attention { batch, length, heads, head_dim, causal, mask: None };
        Self { shape, reference, class, element }
    }

    fn name(&self, what: &str) -> String {
        format!("{what} of {:?}, {:?}, {:?}", self.shape, self.class, self.element)
    }

    /// Values for the scores, 0 where they are masked.
    fn scores(&self, seed: u64, element: Element) -> Vec<f32> {
        let mut values = stored(element, &samples(seed, self.shape.scores(), 1.0));
        for (place, value) in values.iter_mut().enumerate() {
            if !self.is_seen(place) {
                *value = 0.0;
            }
        }
        values
    }

    fn is_seen(&self, place: usize) -> bool {
        let length = self.shape.length;
        self.reference.sees(place / length % length, place % length)
    }

    fn vectors(&self, seed: u64, len: usize) -> Vec<f32> {
        stored(self.element, &samples(seed, len, 1.0))
    }

    fn upload(&self, values: &[f32]) -> Guarded {
        guarded_as(device(), values, self.element)
    }

    /// The terms of a product in f64, and the sums of their sizes, added to `start`.
    fn expect(&self, places: &Places<'_>, a: &[f32], b: &[f32], start: &mut [[f64; 2]]) {
        for head in self.reference.heads_of_samples() {
            for row in 0..self.shape.length {
                for column in 0..places.columns {
                    let sum = &mut start[(places.c)(head, row, column)];
                    for term in 0..places.terms {
                        let [x, y] = [a[(places.a)(head, row, term)], b[(places.b)(head, term, column)]].map(f64::from);
                        sum[0] += places.scale * x * y;
                        sum[1] += places.scale * (x * y).abs();
                    }
                }
            }
        }
    }

    /// Runs a product into `c` and adds what it has to be to `expected`.
    fn product(&self, product: AttentionProduct, c: &Guarded, accumulate: bool, expected: &mut [[f64; 2]]) {
        let (gpu, r) = (device(), &self.reference);
        let score = |head, i, j| r.score(head, i, j);
        let turned = |head, j, i| r.score(head, i, j);
        let output = |head, t, e| r.output(head, t, e);
        let [query, key, value] = [0, 1, 2].map(|part| move |head, t, e| r.packed(part, head, t, e));
        let (key_turned, value_turned) = (|head, e, t| key(head, t, e), |head, e, t| value(head, t, e));
        let [length, head_dim] = [r.length, r.head_dim];
        let (a, b): (Vec<f32>, Vec<f32>) = match product {
            AttentionProduct::Scores => {
                let packed = self.vectors(1, self.shape.inputs());
                (packed.clone(), packed)
            }
            AttentionProduct::ProbabilityGradient => {
                (self.vectors(2, self.shape.outputs()), self.vectors(1, self.shape.inputs()))
            }
            AttentionProduct::ValueGradient => (self.scores(3, self.element), self.vectors(2, self.shape.outputs())),
            _ => (self.scores(3, self.element), self.vectors(1, self.shape.inputs())),
        };
        let (columns, terms) = match product {
            AttentionProduct::Scores | AttentionProduct::ProbabilityGradient => (length, head_dim),
            _ => (head_dim, length),
        };
        let places: Places<'_> = match product {
            AttentionProduct::Scores => {
                Places { a: &query, b: &key_turned, c: &score, columns, terms, scale: r.scale() }
            }
            AttentionProduct::ProbabilityGradient => {
                Places { a: &output, b: &value_turned, c: &score, columns, terms, scale: 1.0 }
            }
            AttentionProduct::Output => Places { a: &score, b: &value, c: &output, columns, terms, scale: 1.0 },
            AttentionProduct::QueryGradient => {
                Places { a: &score, b: &key, c: &query, columns, terms, scale: r.scale() }
            }
            AttentionProduct::KeyGradient => {
                Places { a: &turned, b: &query, c: &key, columns, terms, scale: r.scale() }
            }
            AttentionProduct::ValueGradient => Places { a: &turned, b: &output, c: &value, columns, terms, scale: 1.0 },
        };
        self.expect(&places, &a, &b, expected);
        let (a, b) = (self.upload(&a), self.upload(&b));
        let views = [&a.view, &b.view, &c.view];
        run(gpu, &[attention_product(gpu, self.class, product, &self.shape, views, accumulate).unwrap()]);
    }

    fn check_products(&self) {
        let gpu = device();
        let depth = self.shape.length.max(self.shape.head_dim) as f64 + 4.0;
        let bound = |[value, size]: &[f64; 2], element| ROUNDOFF * depth * size + rounding(element, *value);
        for product in [AttentionProduct::Scores, AttentionProduct::ProbabilityGradient] {
            let mut expected = vec![[0.0; 2]; self.shape.scores()];
            let c = poisoned(gpu, self.shape.scores());
            self.product(product, &c, false, &mut expected);
            // Those that are masked may hold anything.
            let seen: Vec<usize> = (0..expected.len()).filter(|place| self.is_seen(*place)).collect();
            let found = c.read(gpu);
            let found: Vec<f32> = seen.iter().map(|place| found[*place]).collect();
            let values: Vec<f64> = seen.iter().map(|place| expected[*place][0]).collect();
            let bounds: Vec<f64> = seen.iter().map(|place| bound(&expected[*place], Element::Word)).collect();
            assert_within(&self.name(&format!("{product:?}")), &found, &values, &bounds);
        }
        let gradients = &PRODUCTS[3..];
        for (products, len) in [(&PRODUCTS[2..3], self.shape.outputs()), (gradients, self.shape.inputs())] {
            for accumulate in [false, true] {
                let start = if accumulate { START } else { 0.0 };
                let mut expected = vec![[f64::from(start); 2]; len];
                let c = if accumulate { self.upload(&vec![start; len]) } else { poisoned_as(gpu, len, self.element) };
                products.iter().for_each(|product| self.product(*product, &c, accumulate, &mut expected));
                let values: Vec<f64> = expected.iter().map(|[value, _]| *value).collect();
                let bounds: Vec<f64> = expected.iter().map(|sum| bound(sum, self.element)).collect();
                assert_within(&self.name(&format!("{products:?}")), &c.read(gpu), &values, &bounds);
            }
        }
    }

    /// f of each row, its seen elements' places.
    fn by_row(&self, mut f: impl FnMut(&[usize])) {
        for row in 0..self.shape.rows() {
            let start = row * self.shape.length;
            let seen: Vec<usize> = (start..start + self.shape.length).filter(|place| self.is_seen(*place)).collect();
            f(&seen);
        }
    }

    fn check_softmax(&self) {
        let (gpu, count, length) = (device(), self.shape.scores(), self.shape.length as f64);
        // Masked scores are anything: here what would be the largest by far.
        let mut scores = samples(4, count, 8.0);
        (0..count).filter(|place| !self.is_seen(*place)).for_each(|place| scores[place] = 1e9);
        let (mut expected, mut bounds) = (vec![0.0; count], vec![0.0; count]);
        self.by_row(|seen| {
            let largest = seen.iter().map(|place| f64::from(scores[*place])).fold(f64::MIN, f64::max);
            let weight = |place: &usize| (f64::from(scores[*place]) - largest).exp();
            let sum: f64 = seen.iter().map(weight).sum();
            for place in seen {
                let distance = largest - f64::from(scores[*place]);
                expected[*place] = weight(place) / sum;
                // The argument's rounding, a handful of the exponential's, and those of a sum of the row's terms.
                bounds[*place] = expected[*place] * ROUNDOFF * (16.0 + 2.0 * distance + length)
                    + rounding(self.element, expected[*place]);
            }
        });
        let (scores, found) = (guarded(gpu, &scores), poisoned_as(gpu, count, self.element));
        run(gpu, &[attention_softmax(gpu, self.class, &self.shape, [&scores.view, &found.view]).unwrap()]);
        assert_within(&self.name("softmax"), &found.read(gpu), &expected, &bounds);
    }

    fn check_softmax_gradient(&self) {
        let (gpu, count) = (device(), self.shape.scores());
        let probabilities = stored(self.element, &samples(5, count, 1.0));
        let mut upstream = samples(6, count, 1.0);
        (0..count).filter(|place| !self.is_seen(*place)).for_each(|place| upstream[place] = f32::NAN);
        let (mut expected, mut bounds) = (vec![0.0; count], vec![0.0; count]);
        self.by_row(|seen| {
            let product = |place: &usize| f64::from(probabilities[*place]) * f64::from(upstream[*place]);
            let [mean, size]: [f64; 2] =
                [seen.iter().map(product).sum(), seen.iter().map(|place| product(place).abs()).sum()];
            for place in seen {
                let [p, g] = [probabilities[*place], upstream[*place]].map(f64::from);
                expected[*place] = p * (g - mean);
                bounds[*place] = ROUNDOFF * (seen.len() as f64 + 4.0) * p.abs() * (g.abs() + size)
                    + rounding(self.element, expected[*place]);
            }
        });
        let (p, g, found) =
            (self.upload(&probabilities), guarded(gpu, &upstream), poisoned_as(gpu, count, self.element));
        let views = [&p.view, &g.view, &found.view];
        run(gpu, &[attention_softmax_gradient(gpu, self.class, &self.shape, views).unwrap()]);
        assert_within(&self.name("softmax gradient"), &found.read(gpu), &expected, &bounds);
    }

    /// The tangent of the gradient, against central differences of that in f64.
    fn check_softmax_curvature(&self) {
        const STEP: f64 = 1e-4;
        let (gpu, count) = (device(), self.shape.scores());
        let [p, g, p_tangent, g_tangent] = [5, 6, 7, 8].map(|seed| {
            let mut values = samples(seed, count, 1.0);
            (0..count).filter(|place| !self.is_seen(*place)).for_each(|place| values[place] = f32::NAN);
            values
        });
        let (mut expected, mut bounds) = (vec![0.0; count], vec![0.0; count]);
        self.by_row(|seen| {
            let at = |step: f64| {
                let moved = |from: &[f32], by: &[f32]| -> Vec<f64> {
                    seen.iter().map(|place| f64::from(from[*place]) + step * f64::from(by[*place])).collect()
                };
                let (p, g) = (moved(&p, &p_tangent), moved(&g, &g_tangent));
                let mean: f64 = p.iter().zip(&g).map(|(p, g)| p * g).sum();
                p.iter().zip(&g).map(|(p, g)| p * (g - mean)).collect::<Vec<f64>>()
            };
            for ((place, ahead), behind) in seen.iter().zip(at(STEP)).zip(at(-STEP)) {
                expected[*place] = (ahead - behind) / (2.0 * STEP);
                // Truncation: a cubic in the step, whose third derivative is at most 6 times the row's length. Roundings: every
                // factor is at most 1, and a row's sums have so many terms.
                let length = seen.len() as f64;
                bounds[*place] =
                    STEP * STEP * length + 1e-11 * length + ROUNDOFF * (length + 8.0) * (2.0 + 3.0 * length);
            }
        });
        let found = poisoned(gpu, count);
        let inputs = [&p, &g, &p_tangent, &g_tangent].map(|values| guarded(gpu, values));
        let [p, g, p_tangent, g_tangent] = inputs.each_ref().map(|input| &input.view);
        let views = [p, g, p_tangent, g_tangent, &found.view];
        run(gpu, &[attention_softmax_curvature(gpu, self.class, &self.shape, views).unwrap()]);
        assert_within(&self.name("softmax curvature"), &found.read(gpu), &expected, &bounds);
    }

    /// Output and gradient of the packed input, all kernels in a row.
    fn all(&self, packed: &[f32], grad: &[f32]) -> [Vec<f32>; 2] {
        let (gpu, shape) = (device(), &self.shape);
        let (packed, grad) = (self.upload(packed), self.upload(grad));
        let [scores, upstream] = [(); 2].map(|()| poisoned(gpu, shape.scores()));
        let lens = [shape.scores(), shape.scores(), shape.outputs(), shape.inputs()];
        let [p, score_gradient, output, result] = lens.map(|len| poisoned_as(gpu, len, self.element));
        let product = |product, [a, b, c]: [&Guarded; 3]| -> Dispatch {
            attention_product(gpu, self.class, product, shape, [&a.view, &b.view, &c.view], false).unwrap()
        };
        let dispatches = [
            product(AttentionProduct::Scores, [&packed, &packed, &scores]),
            attention_softmax(gpu, self.class, shape, [&scores.view, &p.view]).unwrap(),
            product(AttentionProduct::Output, [&p, &packed, &output]),
            product(AttentionProduct::ProbabilityGradient, [&grad, &packed, &upstream]),
            attention_softmax_gradient(gpu, self.class, shape, [&p.view, &upstream.view, &score_gradient.view])
                .unwrap(),
            product(AttentionProduct::QueryGradient, [&score_gradient, &packed, &result]),
            product(AttentionProduct::KeyGradient, [&score_gradient, &packed, &result]),
            product(AttentionProduct::ValueGradient, [&p, &grad, &result]),
        ];
        run(gpu, &dispatches);
        [output.read(gpu), result.read(gpu)]
    }

    fn check_all(&self) {
        let packed = self.vectors(1, self.shape.inputs());
        let grad = self.vectors(2, self.shape.outputs());
        let [output, gradient] = self.all(&packed, &grad);
        let again = self.all(&packed, &grad);
        assert_eq!([bits(&output), bits(&gradient)], again.map(|values| bits(&values)), "{}", self.name("repeat"));
        let expected_output = self.reference.forward(&wide(&packed));
        let expected_gradient = self.reference.backward(&wide(&packed), &wide(&grad));
        // Values are below 1, scores below sqrt(d): some 300 roundings of the largest number, or a handful of f16's.
        let unit = if self.element == Element::Half { 4.0 * 2f64.powi(-11) } else { 300.0 * ROUNDOFF };
        for (name, found, expected) in [("output", output, expected_output), ("gradient", gradient, expected_gradient)]
        {
            let size = expected.iter().fold(1.0_f64, |most, value| most.max(value.abs()));
            assert_close(&self.name(name), &found, &expected, unit * size, 0.0);
        }
    }
}

fn cases(shapes: &[[usize; 4]]) -> Vec<Case> {
    let mut cases = Vec::new();
    for element in elements(device()) {
        for class in classes() {
            for shape in shapes {
                cases.extend([false, true].map(|causal| Case::new(*shape, causal, class, element)));
            }
        }
    }
    cases
}

#[test]
fn products_agree_with_f64() {
    cases(&SHAPES).iter().for_each(Case::check_products);
}

#[test]
fn softmax_and_its_derivatives_agree_with_f64() {
    for case in cases(&SHAPES) {
        case.check_softmax();
        case.check_softmax_gradient();
        if case.element == Element::Word {
            case.check_softmax_curvature();
        }
    }
}

#[test]
fn output_and_gradient_agree_with_f64() {
    cases(&SHAPES).iter().for_each(Case::check_all);
}

#[test]
fn more_heads_than_a_grid_is_wide() {
    for case in cases(&MANY).iter().filter(|case| case.element == Element::Word) {
        case.check_all();
        case.check_softmax_curvature();
    }
}

/// The reference's gradient against central differences, with a mask and without.
#[test]
fn the_reference_is_its_own_derivative() {
    for (causal, masked) in [(false, false), (true, false), (true, true)] {
        let mut reference = Attention { batch: 2, length: 4, heads: 2, head_dim: 3, causal, mask: None };
        let factors = |place: usize| if place % 3 == 1 { 0.0 } else { 1.5 };
        reference.mask = masked.then(|| (0..reference.scores_len()).map(factors).collect());
        let packed = wide(&samples(11, 3 * reference.output_len(), 1.0));
        let grad = wide(&samples(12, reference.output_len(), 1.0));
        let along = |x: &[f64]| reference.forward(x).iter().zip(&grad).map(|(y, g)| y * g).sum();
        let expected = reference.backward(&packed, &grad);
        // eps^2 times a third derivative of some 10, and 1e-16 / eps of rounding
        let differences = central_difference(along, &packed, 1e-5);
        assert_close("differences", &narrow(&differences), &expected, 1e-7, 1e-7);
    }
}

/// A row that holds a NaN among what a query sees has to show it; a masked one must not.
#[test]
fn what_is_no_number_shows() {
    let gpu = device();
    for class in classes() {
        for at in [0, 3, 6] {
            let case = Case::new([1, 8, 1, 4], true, class, Element::Word);
            let mut scores = samples(4, 64, 1.0);
            (0..8).for_each(|row| scores[row * 8 + at] = f32::NAN);
            let (scores, found) = (guarded(gpu, &scores), poisoned(gpu, 64));
            run(gpu, &[attention_softmax(gpu, class, &case.shape, [&scores.view, &found.view]).unwrap()]);
            for (row, values) in found.read(gpu).chunks(8).enumerate() {
                let seen = &values[..=row];
                assert!(if row >= at { seen.iter().all(|x| x.is_nan()) } else { seen.iter().all(|x| x.is_finite()) });
                assert!(values[row + 1..].iter().all(|x| *x == 0.0));
            }
        }
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let refused = |sides| matches!(AttentionShape::new(sides, false), Err(GpuError::Shape { .. }));
    assert!(refused([0, 2, 2, 2]) && refused([2, 0, 2, 2]) && refused([2, 2, 0, 2]) && refused([2, 2, 2, 0]));
    assert!(refused([1 << 10, 1 << 10, 1 << 12, 1]), "scores past 2^32");
    let gpu = device();
    let case = Case::new([1, 4, 2, 3], false, classes()[0], Element::Word);
    let [packed, output, scores] = [72, 24, 32].map(|len| poisoned(gpu, len));
    let plan = |product, views| attention_product(gpu, case.class, product, &case.shape, views, false);
    assert!(plan(AttentionProduct::Scores, [&packed.view, &packed.view, &scores.view]).is_ok());
    let short = plan(AttentionProduct::Scores, [&packed.view, &output.view, &scores.view]);
    assert!(matches!(short, Err(GpuError::Length { argument: "b", expected: 72, found: 24, .. })));

    let sequence = |features| Graph::with_input(ValueShape::Sequence { length: 4, features }).unwrap();
    let options = AttentionOptions { heads: 2, causal: true, dropout: 0.0 };
    let cases = [
        (12, options, ""),
        (13, options, "13 features are no queries, keys and values of one width"),
        (9, options, "2 heads do not divide 3 channels"),
        (12, AttentionOptions { heads: 0, ..options }, "0 heads do not divide 4 channels"),
        (12, AttentionOptions { dropout: 1.0, ..options }, "probability 1 is not in [0, 1)"),
    ];
    for (features, options, expected) in cases {
        let (mut graph, input) = sequence(features);
        match graph.attention(input, options) {
            Ok(value) => assert_eq!(graph.shape(value), ValueShape::Sequence { length: 4, features: features / 3 }),
            Err(GraphError::Shape { reason, .. }) => assert_eq!(reason, expected),
            Err(other) => panic!("{other}"),
        }
    }
    let (mut graph, input) = Graph::new(12).unwrap();
    assert!(
        matches!(graph.attention(input, options), Err(GraphError::Shape { reason, .. }) if reason.contains("sequence"))
    );
}
