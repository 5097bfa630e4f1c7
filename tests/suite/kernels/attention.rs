//! Attention's kernels against f64: each with what it reads on the device, within its own roundings, and all in a row.

use crate::common::{
    Guarded, ROUNDOFF, assert_close, assert_within, attention::Attention, bits, central_difference, classes, device,
    elements, guarded_as, narrow, poisoned, poisoned_as, rounding, run, samples, stored, wide,
};
use jostle::{
    gpu::{Dispatch, Element, GpuError},
    graph::{Graph, GraphError, ValueShape},
    kernels::{AdapterClass, Target},
    ops::{
        AttentionOptions, AttentionProduct, AttentionShape, Flash, attention_product, attention_softmax,
        attention_softmax_gradient,
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

/// Elements of a head of those shapes at which results are added to: of whole vec4s and not.
const ADDED: [usize; 2] = [3, 20];

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

pub(super) struct Case {
    pub(super) shape: AttentionShape,
    reference: Attention,
    pub(super) class: AdapterClass,
    pub(super) element: Element,
}

/// An operand as a matrix for each head, of so many rows and columns; turned where it is transposed.
#[derive(Clone, Copy)]
enum Matrix {
    Scores,
    ScoresTurned,
    Output,
    Packed(usize),
    PackedTurned(usize),
}

/// a, b and c of a product, and whether it is scaled.
fn operands(product: AttentionProduct) -> ([Matrix; 3], bool) {
    use Matrix::{Output, Packed, PackedTurned, Scores, ScoresTurned};
    let [query, key, value] = [0, 1, 2].map(Packed);
    match product {
        AttentionProduct::Scores => ([query, PackedTurned(1), Scores], true),
        AttentionProduct::ProbabilityGradient => ([Output, PackedTurned(2), Scores], false),
        AttentionProduct::Output => ([Scores, value, Output], false),
        AttentionProduct::QueryGradient => ([Scores, key, query], true),
        AttentionProduct::KeyGradient => ([ScoresTurned, query, key], true),
        AttentionProduct::ValueGradient => ([ScoresTurned, Output, value], false),
    }
}

impl Case {
    pub(super) fn new(
        [batch, length, heads, head_dim]: [usize; 4],
        causal: bool,
        class: AdapterClass,
        element: Element,
    ) -> Self {
        let shape = AttentionShape::new([batch, length, heads, head_dim], causal).unwrap();
        let reference = Attention { batch, length, heads, head_dim, causal, mask: None };
        Self { shape, reference, class, element }
    }

    pub(super) fn name(&self, what: &str) -> String {
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

    pub(super) fn is_seen(&self, place: usize) -> bool {
        let length = self.shape.length;
        self.reference.sees(place / length % length, place % length)
    }

    fn vectors(&self, seed: u64, len: usize) -> Vec<f32> {
        stored(self.element, &samples(seed, len, 1.0))
    }

    pub(super) fn upload(&self, values: &[f32]) -> Guarded {
        guarded_as(device(), values, self.element)
    }

    /// Where an element of a matrix lies.
    fn place(&self, matrix: Matrix, head: [usize; 2], row: usize, column: usize) -> usize {
        match matrix {
            Matrix::Scores => self.reference.score(head, row, column),
            Matrix::ScoresTurned => self.reference.score(head, column, row),
            Matrix::Output => self.reference.output(head, row, column),
            Matrix::Packed(part) => self.reference.packed(part, head, row, column),
            Matrix::PackedTurned(part) => self.reference.packed(part, head, column, row),
        }
    }

    fn values(&self, matrix: Matrix) -> Vec<f32> {
        match matrix {
            Matrix::Scores | Matrix::ScoresTurned => self.scores(3, self.element),
            Matrix::Output => self.vectors(2, self.shape.outputs()),
            Matrix::Packed(_) | Matrix::PackedTurned(_) => self.vectors(1, self.shape.inputs()),
        }
    }

    /// Runs a product into `c` and adds what it has to be to `expected`: the sums of its terms and of their sizes.
    fn product(&self, product: AttentionProduct, c: &Guarded, accumulate: bool, expected: &mut [[f64; 2]]) {
        let (gpu, AttentionShape { length, head_dim, .. }) = (device(), self.shape);
        let ([a, b, result], is_scaled) = operands(product);
        let scale = if is_scaled { self.reference.scale() } else { 1.0 };
        let makes_scores = matches!(result, Matrix::Scores);
        let (columns, terms) = if makes_scores { (length, head_dim) } else { (head_dim, length) };
        let (left, right) = (self.values(a), self.values(b));
        for head in self.reference.heads_of_samples() {
            for (row, column) in (0..length).flat_map(|row| (0..columns).map(move |column| (row, column))) {
                let sum = &mut expected[self.place(result, head, row, column)];
                for term in 0..terms {
                    let x = f64::from(left[self.place(a, head, row, term)]);
                    let y = f64::from(right[self.place(b, head, term, column)]);
                    sum[0] += scale * x * y;
                    sum[1] += scale * (x * y).abs();
                }
            }
        }
        let (left, right) = (self.upload(&left), self.upload(&right));
        let views = [&left.view, &right.view, &c.view];
        run(gpu, &[attention_product(gpu, self.class, product, &self.shape, views, accumulate).unwrap()]);
    }

    /// How far a sum of products may be off, from its value and the sum of its terms' sizes.
    fn bound(&self, [value, size]: [f64; 2], element: Element) -> f64 {
        let depth = self.shape.length.max(self.shape.head_dim) as f64 + 4.0;
        ROUNDOFF * depth * size + rounding(element, value)
    }

    /// Scores that are masked may hold anything.
    fn check_product_to_scores(&self, product: AttentionProduct) {
        let gpu = device();
        let mut expected = vec![[0.0; 2]; self.shape.scores()];
        let c = poisoned(gpu, self.shape.scores());
        self.product(product, &c, false, &mut expected);
        let seen: Vec<usize> = (0..expected.len()).filter(|place| self.is_seen(*place)).collect();
        let found = c.read(gpu);
        let found: Vec<f32> = seen.iter().map(|place| found[*place]).collect();
        let values: Vec<f64> = seen.iter().map(|place| expected[*place][0]).collect();
        let bounds: Vec<f64> = seen.iter().map(|place| self.bound(expected[*place], Element::Word)).collect();
        assert_within(&self.name(&format!("{product:?}")), &found, &values, &bounds);
    }

    /// Products that make one tensor together.
    fn check_products_to_vectors(&self, products: &[AttentionProduct], len: usize, accumulate: bool) {
        let gpu = device();
        let start = if accumulate { START } else { 0.0 };
        let mut expected = vec![[f64::from(start); 2]; len];
        let c = if accumulate { self.upload(&vec![start; len]) } else { poisoned_as(gpu, len, self.element) };
        products.iter().for_each(|product| self.product(*product, &c, accumulate, &mut expected));
        let values: Vec<f64> = expected.iter().map(|[value, _]| *value).collect();
        let bounds: Vec<f64> = expected.iter().map(|sum| self.bound(*sum, self.element)).collect();
        assert_within(&self.name(&format!("{products:?}")), &c.read(gpu), &values, &bounds);
    }

    fn check_products(&self, accumulate: bool) {
        let [to_scores, to_output, to_input] = [&PRODUCTS[..2], &PRODUCTS[2..3], &PRODUCTS[3..]];
        if !accumulate {
            to_scores.iter().for_each(|product| self.check_product_to_scores(*product));
        }
        self.check_products_to_vectors(to_output, self.shape.outputs(), accumulate);
        self.check_products_to_vectors(to_input, self.shape.inputs(), accumulate);
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

/// Shapes causal, and every other one not causal too, on both classes of adapters: a kernel is compiled for each. In f16 those of its
/// few that differ in what lines up.
pub(super) fn cases() -> impl Iterator<Item = Case> {
    elements(device()).flat_map(|element| {
        let shapes = if element == Element::Half { &SHAPES[3..5] } else { &SHAPES[..] };
        shapes.iter().enumerate().flat_map(move |(number, shape)| {
            let both = element == Element::Word && number.is_multiple_of(2);
            let causal = if both { &[false, true][..] } else { &[true] };
            let case = move |class| causal.iter().map(move |causal| Case::new(*shape, *causal, class, element));
            classes().into_iter().flat_map(case)
        })
    })
}

#[test]
fn products_output_and_gradient_agree_with_f64() {
    for case in cases() {
        case.check_products(false);
        case.check_all();
        // Added to by kernels of their own, whose heads differ in what lines up.
        if !case.shape.causal && ADDED.contains(&case.shape.head_dim) {
            case.check_products(true);
        }
    }
}

/// Workgroups of many invocations take a software adapter long: of those one product.
#[test]
fn more_heads_than_a_grid_is_wide() {
    for class in classes() {
        for shape in MANY {
            let case = Case::new(shape, true, class, Element::Word);
            case.check_softmax();
            case.check_softmax_gradient();
            case.check_softmax_curvature();
            if class.is_software() {
                case.check_all();
            }
        }
        Case::new(MANY[1], false, class, Element::Word).check_product_to_scores(AttentionProduct::Scores);
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

#[test]
fn shapes_that_cannot_be_are_refused() {
    let refused = |sides| matches!(AttentionShape::new(sides, false), Err(GpuError::Shape { .. }));
    assert!(refused([0, 2, 2, 2]) && refused([2, 0, 2, 2]) && refused([2, 2, 0, 2]) && refused([2, 2, 2, 0]));
    assert!(refused([1 << 10, 1 << 10, 1 << 12, 1]), "an input past 2^32");
    // Scores past 2^32 are none where nobody keeps them.
    let long = AttentionShape::new([1, 1 << 15, 8, 4], true).unwrap();
    let kept = AttentionProduct::Scores.launch(&Target::GENERIC, &long, false);
    assert!(matches!(kept, Err(GpuError::Shape { reason: "more than 2^32 - 1 elements", .. })), "{kept:?}");
    assert!(Flash { shape: long, dropout: None }.launch(&Target::GENERIC).is_ok());
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
