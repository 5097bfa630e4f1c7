//! Softmax with negative log likelihood, and mean squared error: values, gradients and predictions against f64.

use crate::common::{
    ROUNDOFF, assert_close, assert_within, assert_within_f64, central_difference, classes, device, guarded, hash,
    poisoned, reference, samples, target, wide, words,
};
use jostle::{
    gpu::{GpuError, View},
    graph::LossTerms,
    kernels::{AdapterClass, Lanes, Target},
    ops::{
        LossBuffers, LossGradient, LossKernel, LossTangent, MseTargets, loss_tangent, loss_tangent_launch, mse,
        mse_launch, softmax_nll, softmax_nll_launch,
    },
};

/// [batch, positions, width]
const SHAPES: [[usize; 3]; 8] =
    [[1, 1, 1], [3, 1, 2], [7, 1, 10], [8, 1, 10], [129, 1, 10], [5, 1, 1000], [4, 5, 10], [3, 7, 33]];

type Plan<'a> = &'a dyn Fn(&LossBuffers<'_>) -> Result<LossKernel, GpuError>;

/// A batch of logits with the data set that its targets come from.
struct Batch {
    logits: Vec<f32>,
    labels: Vec<u32>,
    order: Vec<u32>,
    first: u32,
    valid: u32,
    shape: [usize; 3],
}

impl Batch {
    fn new(shape: [usize; 3], valid: usize, logits: Vec<f32>) -> Self {
        let [batch, positions, classes] = shape;
        let samples = batch + 3;
        let labels = (0..samples * positions).map(|i| (hash(41, i as u64) % classes as u64) as u32).collect();
        let order = (0..samples as u32).rev().collect();
        Self { logits, labels, order, first: 2, valid: valid as u32, shape }
    }

    /// Where the target of a row stands among all.
    fn place(&self, row: usize) -> usize {
        let [_, positions, _] = self.shape;
        self.order[self.first as usize + row / positions] as usize * positions + row % positions
    }

    fn label(&self, row: usize) -> usize {
        self.labels[self.place(row)] as usize
    }

    fn rows(&self, values: &[f64]) -> Vec<Vec<f64>> {
        let [_, positions, width] = self.shape;
        values.chunks_exact(width).take(self.valid as usize * positions).map(<[f64]>::to_vec).collect()
    }

    /// (gradient, row statistics) of a loss on the device.
    fn run(&self, loss: impl Fn(&LossBuffers<'_>) -> Result<LossKernel, GpuError>) -> (Vec<f32>, Vec<f32>) {
        self.run_with(&words(device(), &self.labels), loss)
    }

    fn run_with(
        &self,
        labels: &View,
        loss: impl Fn(&LossBuffers<'_>) -> Result<LossKernel, GpuError>,
    ) -> (Vec<f32>, Vec<f32>) {
        let gpu = device();
        let logits = guarded(gpu, &self.logits);
        let (grad, stats) = (poisoned(gpu, self.logits.len()), poisoned(gpu, self.shape[0] * self.shape[1] * 2));
        let indices = words(gpu, &self.order);
        let buffers = LossBuffers {
            logits: &logits.view,
            labels,
            indices: &indices,
            windows: false,
            gradient: LossGradient::Apart(&grad.view),
            row_stats: &stats.view,
            scaling: None,
        };
        let mut recorder = gpu.record();
        loss(&buffers).unwrap().record(&mut recorder, self.first, self.valid, LossTerms::mean_over(self.valid));
        recorder.submit().unwrap();
        (grad.read(gpu), stats.read(gpu))
    }

    /// Checks the device against the f64 loss of each row and the gradient of their mean.
    fn check(
        &self,
        name: &str,
        loss: impl Fn(&LossBuffers<'_>) -> Result<LossKernel, GpuError>,
        row_loss: impl Fn(usize, &[f64]) -> f64,
        gradient: &[f64],
        chain: usize,
        error: impl Fn(f64) -> f64,
    ) {
        let [batch, positions, classes] = self.shape;
        let rows = self.rows(&wide(&self.logits));
        let (grad, stats) = self.run(loss);
        let count = batch * positions * 2;
        let mut expected = vec![0.0; count];
        for (row, values) in rows.iter().enumerate() {
            expected[row * 2] = row_loss(row, values);
            expected[row * 2 + 1] = f64::from(u8::from(reference::argmax(values) == self.label(row)));
        }
        let bounds: Vec<f64> = (0..count).map(|i| if i % 2 == 0 { error(expected[i]) } else { 0.0 }).collect();
        assert_within(&format!("{name}: loss and accuracy"), &stats, &expected, &bounds);
        let end = rows.len() * classes;
        assert!(grad[end..].iter().all(|g| *g == 0.0), "{name}: rows that hold no sample have no gradient");
        // A sum `chain` additions deep, the exponentials' 4 ulp, a quotient, a scale; relative to the largest gradient
        // of a row, which is at most 1/valid for a softmax.
        let scale = gradient.iter().fold(0.0_f64, |m, g| m.max(g.abs())).max(1.0 / rows.len().max(1) as f64);
        assert_close(&format!("{name}: gradient"), &grad[..end], gradient, (chain + 16) as f64 * ROUNDOFF * scale, 0.0);
    }
}

/// Gradient of the mean over the valid rows, by central differences, each row by itself.
fn mean_gradient(batch: &Batch, row_loss: &dyn Fn(usize, &[f64]) -> f64, eps: f64) -> Vec<f64> {
    let rows = batch.rows(&wide(&batch.logits));
    let row_gradient =
        |(row, x): (usize, &Vec<f64>)| central_difference(|x| row_loss(row, x) / rows.len() as f64, x, eps);
    rows.iter().enumerate().flat_map(row_gradient).collect()
}

/// (softmax - one hot) / valid, in f64.
fn nll_gradient(batch: &Batch) -> Vec<f64> {
    let rows = batch.rows(&wide(&batch.logits));
    let row_gradient = |(row, x): (usize, &Vec<f64>)| {
        let target = batch.label(row);
        let share = |(c, softmax): (usize, f64)| (softmax - f64::from(u8::from(c == target))) / rows.len() as f64;
        reference::softmax(x).into_iter().enumerate().map(share).collect::<Vec<_>>()
    };
    rows.iter().enumerate().flat_map(row_gradient).collect()
}

/// The loss is log(sum) + (max - target): 4 ulp of each, and the relative error of a sum `chain` additions deep.
fn nll_error(chain: usize) -> impl Fn(f64) -> f64 {
    move |loss: f64| (chain as f64 + 8.0) * ROUNDOFF * loss.abs().max(1.0)
}

#[test]
fn nll_matches_f64_and_central_differences() {
    let gpu = device();
    for shape in SHAPES {
        for valid in [shape[0], shape[0] / 2] {
            // from 80 on exp overflows without the shift
            for scale in [3.0, 80.0, 1000.0] {
                let batch = Batch::new(shape, valid, samples(42, shape.iter().product(), scale));
                let row_loss = |row: usize, x: &[f64]| reference::nll(x, batch.label(row));
                let gradient = nll_gradient(&batch);
                // third derivatives of the loss are below 1: eps^2/6, and 1e-16 |loss| / eps of rounding
                let tolerance = 1e-9 + 1e-10 * f64::from(scale);
                let differences = mean_gradient(&batch, &row_loss, 1e-5);
                let bounds = vec![tolerance; gradient.len()];
                assert_within_f64("central differences", &differences, &gradient, &bounds);
                for class in classes() {
                    let chain = softmax_nll_launch(&target(class), shape, false, None).unwrap().chain;
                    let name = format!("nll {shape:?} {class:?}, {valid} valid, +-{scale}");
                    let kernel = |buffers: &LossBuffers<'_>| softmax_nll(gpu, class, buffers, shape);
                    batch.check(&name, kernel, row_loss, &gradient, chain, nll_error(chain));
                }
            }
        }
    }
}

#[test]
fn mse_matches_f64_and_central_differences() {
    let gpu = device();
    for shape in SHAPES {
        for valid in [shape[0], shape[0] / 2] {
            let batch = Batch::new(shape, valid, samples(43, shape.iter().product(), 2.0));
            let wanted = |row: usize| reference::one_hot(shape[2], batch.label(row));
            let row_loss = |row: usize, x: &[f64]| reference::mse(x, &wanted(row));
            // a quadratic has no third derivative: only rounding, 1e-16/eps
            let gradient = mean_gradient(&batch, &row_loss, 1e-3);
            for class in classes() {
                let chain = mse_launch(&target(class), shape, MseTargets::OneHot, false).unwrap().chain;
                let name = format!("mse {shape:?} {class:?}, {valid} valid");
                let kernel = |buffers: &LossBuffers<'_>| mse(gpu, class, buffers, MseTargets::OneHot, shape);
                batch.check(&name, kernel, row_loss, &gradient, chain, mse_error(chain));
            }
        }
    }
}

/// Squares of rounded differences, summed: the sum's depth and 4 roundoffs.
fn mse_error(chain: usize) -> impl Fn(f64) -> f64 {
    move |loss: f64| (chain + 4) as f64 * ROUNDOFF * loss.abs()
}

/// Against numbers in the place of the labels, of which no answer is right or wrong.
#[test]
fn mse_against_vectors_matches_f64_and_central_differences() {
    let gpu = device();
    for shape in SHAPES {
        let [rows, positions, width] = shape;
        let batch = Batch::new(shape, rows / 2 + 1, samples(43, shape.iter().product(), 2.0));
        let given = samples(44, batch.labels.len() * width, 1.0);
        let view = gpu.upload("targets", &given).unwrap().view();
        let wanted = |row: usize| wide(&given[batch.place(row) * width..][..width]);
        let row_loss = |row: usize, x: &[f64]| reference::mse(x, &wanted(row));
        let gradient = mean_gradient(&batch, &row_loss, 1e-3);
        let losses: Vec<f64> =
            batch.rows(&wide(&batch.logits)).iter().enumerate().map(|(row, x)| row_loss(row, x)).collect();
        for class in classes() {
            let chain = mse_launch(&target(class), shape, MseTargets::Given, false).unwrap().chain;
            let (grad, stats) = batch.run_with(&view, |buffers| mse(gpu, class, buffers, MseTargets::Given, shape));
            let name = format!("{shape:?} {class:?}");
            let end = losses.len();
            let (found, correct): (Vec<f32>, Vec<f32>) = stats.chunks(2).map(|row| (row[0], row[1])).unzip();
            let bounds: Vec<f64> = losses.iter().map(|loss| mse_error(chain)(*loss)).collect();
            assert_within(&name, &found[..end], &losses, &bounds);
            assert!(correct.iter().chain(&found[end..]).all(|value| *value == 0.0), "{name}");
            assert!(grad[end * width..].iter().all(|value| *value == 0.0), "{name}, {positions} positions");
            let scale = gradient.iter().fold(0.0_f64, |most, g| most.max(g.abs()));
            assert_close(&name, &grad[..end * width], &gradient, (chain + 16) as f64 * ROUNDOFF * scale, 0.0);
        }
    }
}

#[test]
fn the_first_largest_output_is_the_prediction() {
    let logits = [[1.0, 2.0, 2.0], [5.0, 5.0, 5.0], [-1.0, -3.0, -1.0], [0.0, -0.0, 0.0]].concat();
    // each row's first largest: 1, 0, 0, 0
    for (labels, correct) in [([1, 0, 0, 0], [1.0; 4]), ([2, 1, 2, 1], [0.0; 4])] {
        let order = vec![0, 1, 2, 3];
        let batch =
            Batch { logits: logits.clone(), labels: labels.to_vec(), order, first: 0, valid: 4, shape: [4, 1, 3] };
        check_predictions(&batch, &correct);
    }
    // Equals among an invocation's classes, and among those of different invocations.
    let mut wide = samples(46, 2 * 1500, 1.0);
    for c in [[77, 77 + 256, 333 + 256], [601, 602, 1400]].concat().iter().enumerate() {
        wide[c.0 / 3 * 1500 + c.1] = 2.0;
    }
    for (labels, correct) in [([77, 601], [1.0; 2]), ([77 + 256, 602], [0.0; 2]), ([333 + 256, 1400], [0.0; 2])] {
        let (labels, order) = (labels.to_vec(), vec![0, 1]);
        let batch = Batch { logits: wide.clone(), labels, order, first: 0, valid: 2, shape: [2, 1, 1500] };
        check_predictions(&batch, &correct);
    }
}

/// Whether the predictions of both losses are counted as correct.
fn check_predictions(batch: &Batch, correct: &[f32]) {
    let gpu = device();
    for class in classes() {
        let losses: [Plan<'_>; 2] = [&|buffers| softmax_nll(gpu, class, buffers, batch.shape), &|buffers| {
            mse(gpu, class, buffers, MseTargets::OneHot, batch.shape)
        }];
        for loss in losses {
            let found: Vec<f32> = batch.run(loss).1.into_iter().skip(1).step_by(2).collect();
            assert_eq!(found, correct, "{class:?}, labels {:?}", batch.labels);
        }
    }
}

/// Rows past a workgroup's invocations, in which all classes but one weigh alike: a sum of equal terms, whose roundings do not
/// average out.
#[test]
fn wide_rows_are_summed_to_their_depth() {
    let gpu = device();
    for shape in [[3, 1, 50_257], [1, 1, 300_007], [2, 1, 257], [1, 1, 1021]] {
        let [batch, _, width] = shape;
        let mut logits = vec![-0.7; batch * width];
        (0..batch).for_each(|row| logits[row * width + 7 * row] = 0.0);
        let batch = Batch::new(shape, batch, logits);
        let gradient = nll_gradient(&batch);
        let row_loss = |row: usize, x: &[f64]| reference::nll(x, batch.label(row));
        for class in classes() {
            let chain = softmax_nll_launch(&target(class), shape, false, None).unwrap().chain;
            let kernel = |buffers: &LossBuffers<'_>| softmax_nll(gpu, class, buffers, shape);
            batch.check(&format!("nll {shape:?} {class:?}"), kernel, row_loss, &gradient, chain, nll_error(chain));
        }
    }
}

#[test]
fn no_invocation_walks_a_row_alone() {
    let (gpu, digits) = (&Target::GENERIC, [128, 1, 10]);
    let wide = softmax_nll_launch(gpu, [128, 1, 50_304], false, None).unwrap();
    assert!(wide.chain <= 64 && wide.workgroups() == 128 && wide.threads == 256, "{wide:?}");
    let narrow = [
        softmax_nll_launch(gpu, digits, false, None),
        mse_launch(gpu, digits, MseTargets::OneHot, false),
        loss_tangent_launch(gpu, LossTangent::Nll, digits),
    ];
    for launch in narrow.map(Result::unwrap) {
        assert!(launch.chain <= 5 && launch.workgroups() >= 8, "{launch:?}");
    }
}

#[test]
fn a_loss_of_nan_is_nan() {
    let gpu = device();
    let mut batch = Batch::new([2, 1, 3], 2, samples(45, 6, 1.0));
    batch.logits[4] = f32::NAN;
    for class in classes() {
        let (_, stats) = batch.run(|buffers| softmax_nll(gpu, class, buffers, [2, 1, 3]));
        assert!(stats[0].is_finite() && stats[2].is_nan(), "{class:?} {stats:?}");
        let (_, stats) = batch.run(|buffers| mse(gpu, class, buffers, MseTargets::OneHot, [2, 1, 3]));
        assert!(stats[0].is_finite() && stats[2].is_nan(), "{class:?} {stats:?}");
    }
    // Nothing of a row that has no largest may look like a loss.
    for row in [[f32::NEG_INFINITY; 3], [f32::NAN, 0.0, 1.0], [f32::INFINITY, 0.0, 1.0]] {
        batch.logits[3..].copy_from_slice(&row);
        for class in classes() {
            let (_, stats) = batch.run(|buffers| softmax_nll(gpu, class, buffers, [2, 1, 3]));
            assert!(stats[0].is_finite() && stats[2].is_nan(), "{row:?} {class:?} {stats:?}");
        }
    }
}

#[test]
fn wrong_lengths_are_named() {
    let (gpu, class) = (device(), AdapterClass::Software(Lanes::Eight));
    let index = words(gpu, &[0; 4]);
    let right = [12, 12, 8];
    for (wrong, name) in ["logits", "grad_logits", "row_stats"].into_iter().enumerate() {
        let mut lengths = right;
        lengths[wrong] -= 1;
        let guarded = lengths.map(|length| poisoned(gpu, length));
        let [logits, grad_logits, row_stats]: [&View; 3] = guarded.each_ref().map(|guarded| &guarded.view);
        let gradient = LossGradient::Apart(grad_logits);
        let buffers =
            LossBuffers { logits, labels: &index, indices: &index, windows: false, gradient, row_stats, scaling: None };
        for found in
            [softmax_nll(gpu, class, &buffers, [4, 1, 3]), mse(gpu, class, &buffers, MseTargets::OneHot, [4, 1, 3])]
        {
            let is_named = matches!(found, Err(GpuError::Length { argument, .. }) if argument == name);
            assert!(is_named, "{name}");
        }
    }
    let guarded = right.map(|length| poisoned(gpu, length));
    let [logits, grad_logits, row_stats] = guarded.each_ref().map(|guarded| &guarded.view);
    let gradient = LossGradient::Apart(grad_logits);
    let buffers =
        LossBuffers { logits, labels: &index, indices: &index, windows: false, gradient, row_stats, scaling: None };
    // 4 words are no whole vectors of 3, and no labels of 3 positions.
    let short = [
        mse(gpu, class, &buffers, MseTargets::Given, [4, 1, 3]),
        mse(gpu, class, &buffers, MseTargets::OneHot, [1, 3, 4]),
        softmax_nll(gpu, class, &buffers, [1, 3, 4]),
    ];
    for found in short {
        assert!(matches!(found, Err(GpuError::Length { argument: "labels", expected: 6, found: 4, .. })), "{found:?}");
    }
}

/// The losses' own Hessian times a tangent, written out in f64.
#[test]
fn tangents_of_the_gradient_match_f64() {
    let gpu = device();
    for (class, shape) in classes().into_iter().flat_map(|class| SHAPES.map(|shape| (class, shape))) {
        let [batch, positions, classes] = shape;
        let rows = batch * positions;
        let (logits, tangent) = (samples(51, rows * classes, 6.0), samples(52, rows * classes, 3.0));
        for (loss, valid) in [LossTangent::Nll, LossTangent::Mse]
            .into_iter()
            .zip([batch, batch.div_ceil(2)])
            .chain([(LossTangent::Nll, 0)])
        {
            let row = |row: usize| -> Vec<f64> {
                let at = |values: &[f32]| wide(&values[row * classes..][..classes]);
                let (p, t) = (reference::softmax(&at(&logits)), at(&tangent));
                let mean: f64 = p.iter().zip(&t).map(|(p, t)| p * t).sum();
                let curved = |(p, t): (&f64, &f64)| match loss {
                    LossTangent::Nll => p * (t - mean) / (valid * positions) as f64,
                    LossTangent::Mse => 2.0 * t / (valid * positions * classes) as f64,
                };
                if row < valid * positions { p.iter().zip(&t).map(curved).collect() } else { vec![0.0; classes] }
            };
            let expected: Vec<f64> = (0..rows).flat_map(row).collect();
            let (a, b, output) = (guarded(gpu, &logits), guarded(gpu, &tangent), poisoned(gpu, rows * classes));
            let mut recorder = gpu.record();
            loss_tangent(gpu, class, loss, [&a.view, &b.view, &output.view], shape).unwrap().record(
                &mut recorder,
                0,
                valid as u32,
                LossTerms::mean_over(valid as u32),
            );
            recorder.submit().unwrap();
            // two sums of terms of size 3, the exponentials' 4 ulp, a quotient, a difference, a scale
            let chain = loss_tangent_launch(&target(class), loss, shape).unwrap().chain;
            let bound = 3.0 * (2 * chain + 16) as f64 * ROUNDOFF / (valid.max(1) * positions) as f64;
            assert_close(&format!("{loss:?} {shape:?} {class:?} {valid}"), &output.read(gpu), &expected, bound, 0.0);
        }
    }
}
