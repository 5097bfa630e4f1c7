//! Pools: the device against f64 over random windows, PyTorch's rules for ties, NaN and padding among them.

use crate::common::{
    ROUNDOFF, assert_close, assert_within, central_difference, device, guarded, hash,
    images::{grid, largest, padded, pool_windows, unpadded},
    narrow, poisoned,
    reference::{derivative, saved},
    run, samples, wide,
};
use jostle::{
    gpu::{GpuError, View},
    kernels::Activation,
    ops::{Pool, PoolShape, pool, pool_gradient, pool_select},
};

/// What results are added to, where they are.
const START: f32 = 0.25;

/// Images channel-last.
struct Case {
    pool: Pool,
    batch: usize,
    /// height, width, channels
    size: [usize; 3],
    x: Vec<f32>,
    upstream: Vec<f32>,
}

impl Case {
    fn new(pool: Pool, batch: usize, size: [usize; 3]) -> Self {
        let [height, width, channels] = size;
        let outputs = batch * pool.output_size([height, width]).unwrap().iter().product::<usize>() * channels;
        // Negative throughout, so that padding would show as the largest.
        let x = samples(1, batch * height * width * channels, 1.0).iter().map(|x| x - 2.0).collect();
        Self { pool, batch, size, x, upstream: samples(2, outputs, 1.0) }
    }

    fn shape(&self) -> PoolShape {
        PoolShape::new(self.batch, self.size, &self.pool).unwrap()
    }

    fn windows(&self) -> Vec<(Vec<usize>, f64)> {
        pool_windows(&self.pool, [self.size[0], self.size[1]])
    }

    /// Every term of the definition for an input `x`: (index of the output, index of the input, its share).
    fn terms(&self, x: &[f64]) -> Vec<(usize, usize, f64)> {
        let ([height, width, channels], windows) = (self.size, self.windows());
        let mut terms = Vec::new();
        for (n, o, c) in grid([self.batch, windows.len(), channels]) {
            let (pixels, count) = &windows[o];
            let output = (n * windows.len() + o) * channels + c;
            let input = |pixel: usize| (n * height * width + pixel) * channels + c;
            if self.pool.chooses() {
                terms.push((output, input(largest(pixels, |pixel| x[input(pixel)])), 1.0));
            } else {
                terms.extend(pixels.iter().map(|pixel| (output, input(*pixel), 1.0 / count)));
            }
        }
        terms
    }

    fn forward(&self, x: &[f64]) -> Vec<f64> {
        let mut output = vec![0.0; self.upstream.len()];
        for (o, i, share) in self.terms(x) {
            output[o] += share * x[i];
        }
        output
    }

    fn backward(&self, x: &[f64], upstream: &[f64]) -> Vec<f64> {
        let mut gradient = vec![0.0; x.len()];
        for (o, i, share) in self.terms(x) {
            gradient[i] += share * upstream[o];
        }
        gradient
    }

    /// The output and, of a max pool, the pixel chosen for each of its elements.
    fn run_forward(&self, accumulate: bool) -> (Vec<f32>, Vec<f32>) {
        let (gpu, channels) = (device(), self.size[2]);
        let x = guarded(gpu, &padded(&self.x, channels));
        let count = self.upstream.len() / channels * channels.next_multiple_of(4);
        let output = if accumulate { guarded(gpu, &vec![START; count]) } else { poisoned(gpu, count) };
        let chosen = poisoned(gpu, count);
        let kept = self.pool.chooses().then_some(&chosen.view);
        run(gpu, &[&pool(gpu, &self.pool, &self.shape(), [&x.view, &output.view], kept, accumulate).unwrap()]);
        (unpadded(&output.read(gpu), channels), chosen.read(gpu))
    }

    fn run_backward(&self, chosen: &[f32], activation: Option<(Activation, &[f32])>, accumulate: bool) -> Vec<f32> {
        let (gpu, channels) = (device(), self.size[2]);
        let grad = guarded(gpu, &padded(&self.upstream, channels));
        let chosen = guarded(gpu, chosen);
        let kept = self.pool.chooses().then_some(&chosen.view);
        let count = self.x.len() / channels * channels.next_multiple_of(4);
        let output = if accumulate { guarded(gpu, &vec![START; count]) } else { poisoned(gpu, count) };
        let saved = activation.map(|(kind, saved)| (kind, guarded(gpu, &padded(saved, channels))));
        let saved = saved.as_ref().map(|(kind, saved)| (*kind, &saved.view));
        let views = [&grad.view, &output.view];
        run(gpu, &[&pool_gradient(gpu, &self.pool, &self.shape(), views, kept, saved, accumulate).unwrap()]);
        unpadded(&output.read(gpu), channels)
    }

    fn check(&self, activation: Activation, accumulate: bool) {
        let name = format!("{:?} of {} x {:?}, {activation}, {accumulate}", self.pool, self.batch, self.size);
        let (x, upstream, start) =
            (wide(&self.x), wide(&self.upstream), if accumulate { f64::from(START) } else { 0.0 });
        let gradient = self.backward(&x, &upstream);
        let loss = |x: &[f64]| self.forward(x).iter().zip(&upstream).map(|(y, g)| y * g).sum();
        // Linear but where a max pool changes its mind; what is left is the rounding of the loss over eps.
        let differences = central_difference(loss, &x, 1e-5);
        assert_close(&format!("{name}: differences"), &narrow(&differences), &gradient, 1e-6, 1e-6);

        let (output, chosen) = self.run_forward(accumulate);
        let expected: Vec<f64> = self.forward(&x).iter().map(|y| y + start).collect();
        // A maximum is exact; a mean is off by a rounding for each of its window, and the division's.
        let most = self.windows().iter().map(|(pixels, _)| pixels.len()).max().unwrap() as f64;
        let roundings = if self.pool.chooses() { 0.0 } else { 3.0 * (most + 1.0) } + if accumulate { 3.0 } else { 0.0 };
        assert_close(&format!("{name}: output"), &output, &expected, roundings * ROUNDOFF, 0.0);

        let pre = samples(3, x.len(), 2.0);
        let saved: Vec<f32> = wide(&pre).iter().map(|x| saved(activation, *x)).collect();
        let fused = (activation != Activation::Identity).then_some((activation, saved.as_slice()));
        let found = self.run_backward(&chosen, fused, accumulate);
        let slope = |i: usize| if fused.is_some() { derivative(activation, f64::from(pre[i])) } else { 1.0 };
        let expected: Vec<f64> = (0..x.len()).map(|i| gradient[i] * slope(i) + start).collect();
        let magnitudes = self.backward(&x, &upstream.iter().map(|g| g.abs()).collect::<Vec<_>>());
        // A rounding for each window that reaches a pixel, at most all of them along both sides; the activation's own dozen.
        let bounds: Vec<f64> = magnitudes.iter().map(|m| ROUNDOFF * ((most + 16.0) * m + 2.0 * start)).collect();
        assert_within(&format!("{name}: gradient"), &found, &expected, &bounds);
    }
}

/// A pool drawn from a seed, valid for an image of `size`.
fn random_pool(seed: u64, size: [usize; 2]) -> Pool {
    let draw = |i: u64, below: usize| (hash(seed, i) % below as u64) as usize;
    let kernel = [0, 1].map(|side| 1 + draw(side as u64, size[side].min(4)));
    let stride = [1 + draw(2, 3), 1 + draw(3, 3)];
    let padding = [0, 1].map(|side| draw(4 + side as u64, kernel[side] / 2 + 1));
    match seed % 4 {
        0 | 1 => Pool::Max { kernel, stride, padding },
        2 => Pool::Average { kernel, stride, padding, count_padding: draw(6, 2) == 0 },
        _ => Pool::AdaptiveAverage { output: [1 + draw(7, 5), 1 + draw(8, 5)] },
    }
}

#[test]
fn random_windows_agree_with_the_definition() {
    for seed in 0..32u64 {
        let draw = |i: u64, below: u64| (hash(seed, 100 + i) % below) as usize;
        let size = [1 + draw(0, 8), 1 + draw(1, 8), 1 + draw(2, 6)];
        let case = Case::new(random_pool(seed, [size[0], size[1]]), 1 + draw(3, 3), size);
        case.check(Activation::ALL[draw(4, 6)], draw(5, 2) == 1);
    }
}

#[test]
fn windows_that_overlap_or_leave_gaps_or_are_padded() {
    let max = |kernel, stride, padding| Pool::Max { kernel, stride, padding };
    let average = |kernel, stride, padding, count_padding| Pool::Average { kernel, stride, padding, count_padding };
    let pools = [
        max([3, 3], [2, 2], [1, 1]),
        max([4, 3], [1, 1], [2, 1]),
        max([1, 2], [3, 3], [0, 1]),
        average([3, 3], [2, 2], [1, 1], true),
        average([3, 3], [2, 2], [1, 1], false),
        average([4, 2], [1, 3], [2, 0], false),
        average([2, 5], [3, 1], [1, 2], true),
        Pool::max(2),
        Pool::average(3),
        Pool::global(),
        Pool::AdaptiveAverage { output: [3, 9] }, // more columns than the input has
        Pool::AdaptiveAverage { output: [7, 2] },
    ];
    for pool in pools {
        let case = Case::new(pool, 2, [7, 6, 5]);
        case.check(Activation::Identity, false);
        case.check(Activation::Relu, true);
    }
}

/// torch.nn.AdaptiveAvgPool2d((1, 3)) of five columns takes 0..2, 1..4 and 3..5.
#[test]
fn adaptive_windows_are_pytorchs() {
    let mut case = Case::new(Pool::AdaptiveAverage { output: [1, 3] }, 1, [1, 5, 1]);
    case.x = vec![1.0, 2.0, 4.0, 8.0, 16.0];
    assert_close("bins", &case.run_forward(false).0, &[1.5, 14.0 / 3.0, 12.0], 4.0 * ROUNDOFF * 5.0, 0.0);
}

#[test]
fn the_first_of_equals_is_chosen() {
    // three values only: most windows hold their largest more than once
    for (seed, stride) in [(0, [1, 1]), (1, [2, 2]), (2, [3, 1])] {
        let mut case = Case::new(Pool::Max { kernel: [3, 3], stride, padding: [1, 1] }, 2, [7, 8, 5]);
        case.x = (0..case.x.len()).map(|i| (hash(seed, i as u64) % 3) as f32 - 2.0).collect();
        case.upstream = (0..case.upstream.len()).map(|i| 1.0 + (i % 7) as f32).collect();
        let (output, chosen) = case.run_forward(false);
        assert_close("output", &output, &case.forward(&wide(&case.x)), 0.0, 0.0);
        // whole numbers: exact
        let expected = case.backward(&wide(&case.x), &wide(&case.upstream));
        assert_close("gradient", &case.run_backward(&chosen, None, false), &expected, 0.0, 0.0);
    }
}

/// A NaN is the largest of every window that holds it, the last of several the one chosen; of nothing but -inf the first
/// is, and never the padding.
#[test]
fn nan_spreads_and_infinities_are_chosen_inside_of_the_image() {
    let mut case = Case::new(Pool::Max { kernel: [3, 2], stride: [1, 1], padding: [1, 1] }, 2, [6, 5, 3]);
    for (i, x) in case.x.iter_mut().enumerate() {
        match hash(5, i as u64) % 8 {
            0 => *x = f32::NAN,
            1..=5 => *x = f32::NEG_INFINITY,
            _ => {}
        }
    }
    let x = wide(&case.x);
    let (output, chosen) = case.run_forward(false);
    let mut chosen_of = vec![0; output.len()];
    for (o, i, _) in case.terms(&x) {
        chosen_of[o] = i;
    }
    let kinds = |test: fn(&f32) -> bool| output.iter().filter(|y| test(y)).count();
    assert!(kinds(|y| y.is_nan()) > 20 && kinds(|y| y.is_infinite()) > 20 && kinds(|y| y.is_finite()) > 20);
    for (o, y) in output.iter().enumerate() {
        let expected = case.x[chosen_of[o]];
        assert!(y.to_bits() == expected.to_bits() || y.is_nan() && expected.is_nan(), "{o}: {y}, not {expected}");
    }
    let expected = case.backward(&x, &wide(&case.upstream));
    assert_close("gradient", &case.run_backward(&chosen, None, false), &expected, 6.0 * ROUNDOFF * 6.0, 0.0);
}

#[test]
fn means_of_a_window_with_nan_are_nan() {
    let mut case = Case::new(Pool::average(2), 1, [4, 4, 1]);
    case.x[5] = f32::NAN; // row 1, column 1: the first window
    let (output, _) = case.run_forward(false);
    assert!(output[0].is_nan() && output[1..].iter().all(|y| y.is_finite()), "{output:?}");
}

#[test]
fn what_a_max_pool_chose_is_selected_from_another_tensor() {
    let gpu = device();
    let case = Case::new(Pool::Max { kernel: [3, 3], stride: [2, 1], padding: [1, 0] }, 2, [6, 5, 7]);
    let (_, chosen) = case.run_forward(false);
    let other = samples(4, case.x.len(), 1.0);
    for accumulate in [false, true] {
        let (input, kept) = (guarded(gpu, &padded(&other, 7)), guarded(gpu, &chosen));
        let output = if accumulate { guarded(gpu, &vec![START; chosen.len()]) } else { poisoned(gpu, chosen.len()) };
        let views = [&input.view, &output.view];
        run(gpu, &[&pool_select(gpu, &case.shape(), views, &kept.view, accumulate).unwrap()]);
        let mut expected = vec![0.0; case.upstream.len()];
        for (o, i, _) in case.terms(&wide(&case.x)) {
            expected[o] = f64::from(other[i] + if accumulate { START } else { 0.0 });
        }
        assert_close("selected", &unpadded(&output.read(gpu), 7), &expected, 0.0, 0.0);
    }
}

#[test]
fn pools_that_cannot_be_are_refused() {
    let gpu = device();
    let refused = |pool: Pool, size| {
        let error = PoolShape::new(2, size, &pool).unwrap_err();
        assert!(matches!(error, GpuError::Shape { .. }), "{error}");
    };
    let max = |kernel, stride, padding| Pool::Max { kernel, stride, padding };
    refused(max([3, 3], [1, 1], [0, 0]), [2, 8, 4]); // larger than the image
    refused(max([3, 3], [1, 1], [2, 1]), [8, 8, 4]); // windows of padding alone
    refused(max([2, 2], [0, 1], [0, 0]), [8, 8, 4]);
    refused(max([0, 2], [1, 1], [0, 0]), [8, 8, 4]);
    refused(Pool::AdaptiveAverage { output: [0, 1] }, [8, 8, 4]);
    refused(Pool::global(), [8, 8, 0]);

    let case = Case::new(Pool::max(2), 1, [4, 4, 3]);
    let [image, short] = [4 * 4 * 4, 4 * 4 * 3].map(|words| poisoned(gpu, words));
    let output = poisoned(gpu, 2 * 2 * 4);
    let plan = |views: [&View; 2]| pool(gpu, &case.pool, &case.shape(), views, None, false);
    assert!(plan([&image.view, &output.view]).is_ok());
    let unpadded = plan([&short.view, &output.view]);
    assert!(matches!(unpadded, Err(GpuError::Length { argument: "input", expected: 64, found: 48, .. })));
    assert!(matches!(plan([&image.view, &image.view]), Err(GpuError::Length { argument: "output", .. })));
}
