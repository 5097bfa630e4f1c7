//! Rows by their tokens, and the gradients of tables of vectors, against a sort and sums on the host.

use crate::common::{
    ROUNDOFF, assert_within, classes, device, elements, guarded, guarded_as, hash, poisoned, run, samples, stored,
    wide, words,
};
use jostle::{
    gpu::{Element, GpuError, View},
    kernels::{AdapterClass, Target},
    ops::{EmbeddingShape, TokenOrder, embedding_gradient},
};

/// What gradients are added to, where they are.
const START: f32 = 0.25;

/// Tokens of which one is far more frequent than others, as in texts.
fn tokens(seed: u64, rows: usize, vocabulary: usize) -> Vec<u32> {
    let token = |i: usize| {
        let draw = hash(seed, i as u64);
        if draw.is_multiple_of(3) { (vocabulary / 2) as u32 } else { ((draw >> 8) % vocabulary as u64) as u32 }
    };
    (0..rows).map(token).collect()
}

/// The words of a buffer, its guards checked.
fn integers(found: &[f32]) -> Vec<u32> {
    found.iter().map(|value| value.to_bits()).collect()
}

/// Order and starts on the device.
fn order_on_device(tokens: &[u32], vocabulary: usize) -> [Vec<u32>; 2] {
    let (gpu, rows) = (device(), tokens.len());
    let kernel = TokenOrder { rows, vocabulary };
    let tokens = words(gpu, tokens);
    let [scratch, order, starts] = [kernel.words(), rows, vocabulary + 1].map(|count| poisoned(gpu, count));
    run(gpu, &kernel.plan(gpu, [&tokens, &scratch.view, &order.view, &starts.view]).unwrap());
    scratch.read(gpu); // its guards
    [integers(&order.read(gpu)), integers(&starts.read(gpu))]
}

#[test]
fn rows_are_in_the_order_of_their_tokens() {
    // one row; a block and its neighbours; many blocks, the last of them short; more tokens than rows
    for (rows, vocabulary) in [(1, 1), (1, 9), (63, 5), (64, 65), (65, 3), (768, 65), (5003, 71), (16_384, 50_304)] {
        let tokens = tokens(41, rows, vocabulary);
        let mut expected: Vec<u32> = (0..rows as u32).collect();
        expected.sort_by_key(|row| tokens[*row as usize]);
        let starts: Vec<u32> = (0..=vocabulary as u32)
            .map(|token| expected.partition_point(|row| tokens[*row as usize] < token) as u32)
            .collect();
        let [found, found_starts] = order_on_device(&tokens, vocabulary);
        assert!(found == expected, "{rows} rows, {vocabulary} tokens");
        assert!(found_starts == starts, "{rows} rows, {vocabulary} tokens: starts");
    }
}

/// As forward takes them.
#[test]
fn tokens_past_the_vocabulary_are_the_last() {
    let [order, starts] = order_on_device(&[7, 1, u32::MAX, 2, 0], 3);
    assert_eq!((order, starts), (vec![4, 1, 0, 2, 3], vec![0, 1, 2, 5]));
}

/// Launches stay within the rounds after which a software adapter ends loops, and no workgroup sums a text alone.
#[test]
fn loops_are_short() {
    for rows in [1, 768, 1 << 16, 1 << 20, 1 << 24] {
        let launches = TokenOrder { rows, vocabulary: 50_304 }.launches_on(&Target::GENERIC).unwrap();
        let most = 12 * rows.isqrt() + 64;
        assert!(launches.iter().all(|launch| launch.chain <= most.min(65_535)), "{rows}: {launches:?}");
    }
}

struct Case {
    shape: EmbeddingShape,
    tokens: Vec<u32>,
    grad: Vec<f32>,
}

impl Case {
    fn new([rows, features, vocabulary]: [usize; 3]) -> Self {
        let shape = EmbeddingShape { rows, features, vocabulary };
        Self { shape, tokens: tokens(42, rows, vocabulary), grad: samples(43, rows * features, 1.0) }
    }

    /// The gradients, and the sums of magnitudes.
    fn expected(&self, element: Element) -> [Vec<f64>; 2] {
        let EmbeddingShape { features, vocabulary, .. } = self.shape;
        let mut sums = [(); 2].map(|()| vec![0.0; vocabulary * features]);
        for (row, grad) in wide(&stored(element, &self.grad)).chunks_exact(features).enumerate() {
            for (c, g) in grad.iter().enumerate() {
                let at = self.tokens[row] as usize * features + c;
                sums[0][at] += g;
                sums[1][at] += g.abs();
            }
        }
        sums
    }

    fn run(&self, class: AdapterClass, element: Element, accumulate: bool) -> Vec<f32> {
        let gpu = device();
        let EmbeddingShape { rows, features, vocabulary } = self.shape;
        let [order, starts] = order_on_device(&self.tokens, vocabulary);
        assert_eq!(order.len(), rows);
        let [order, starts] = [order, starts].map(|values| words(gpu, &values));
        let grad = guarded_as(gpu, &self.grad, element);
        let count = vocabulary * features;
        let output = if accumulate { guarded(gpu, &vec![START; count]) } else { poisoned(gpu, count) };
        let views: [&View; 4] = [&grad.view, &order, &starts, &output.view];
        run(gpu, &[&embedding_gradient(gpu, class, self.shape, views, accumulate).unwrap()]);
        output.read(gpu)
    }

    fn check(&self) {
        for (class, element) in classes().into_iter().flat_map(|class| elements(device()).map(move |e| (class, e))) {
            let [sums, magnitudes] = self.expected(element);
            for accumulate in [false, true] {
                let start = if accumulate { f64::from(START) } else { 0.0 };
                let expected: Vec<f64> = sums.iter().map(|sum| sum + start).collect();
                // A rounding for each row of a token, were they all of one.
                let depth = self.shape.rows as f64 + 1.0;
                let bounds: Vec<f64> = magnitudes.iter().map(|size| ROUNDOFF * depth * (size + start)).collect();
                let found = self.run(class, element, accumulate);
                let name = format!("{:?}, {class:?}, {element:?}, {accumulate}", self.shape);
                assert_within(&name, &found, &expected, &bounds);
                let again = self.run(class, element, accumulate);
                assert_eq!(integers(&found), integers(&again), "{name}: the same bits again");
            }
        }
    }
}

#[test]
fn gradients_of_tables_match_f64() {
    for sizes in [[1, 1, 1], [24, 5, 7], [768, 128, 65], [700, 33, 3], [130, 40, 1009]] {
        Case::new(sizes).check();
    }
}

/// One token in all rows, more than a software adapter's loops have rounds.
#[test]
fn a_text_of_one_token_is_summed_whole() {
    let rows = 70_001;
    let shape = EmbeddingShape { rows, features: 2, vocabulary: 1 };
    let case = Case { shape, tokens: vec![0; rows], grad: vec![1.0; 2 * rows] };
    for class in classes() {
        assert_eq!(case.run(class, Element::Word, false), [rows as f32; 2]);
    }
}

#[test]
fn wrong_lengths_are_refused() {
    let gpu = device();
    let kernel = TokenOrder { rows: 5, vocabulary: 3 };
    let [five, four, scratch] = [5, 4, 15].map(|count| poisoned(gpu, count));
    let found = kernel.plan(gpu, [&five.view, &scratch.view, &five.view, &five.view]);
    assert!(matches!(found, Err(GpuError::Length { argument: "starts", expected: 4, found: 5, .. })));
    assert!(kernel.plan(gpu, [&five.view, &scratch.view, &five.view, &four.view]).is_ok());
    let shape = EmbeddingShape { rows: 5, features: 2, vocabulary: 3 };
    let class = AdapterClass::for_device(gpu);
    let views = [&five.view, &five.view, &four.view, &five.view];
    let found = embedding_gradient(gpu, class, shape, views, false);
    assert!(matches!(found, Err(GpuError::Length { argument: "grad_output", expected: 10, found: 5, .. })));
}
