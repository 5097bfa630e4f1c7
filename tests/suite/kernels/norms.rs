//! Norms within a sample, their weights and biases, and fixed norms: the device against f64, the f64 gradients against
//! central differences.

use crate::common::{
    ROUNDOFF, assert_close, assert_within, assert_within_f64, bits, central_difference, classes, depth, device,
    guarded, hash,
    images::{padded, unpadded},
    narrow,
    norm::Norm,
    poisoned, run, samples, target, wide,
};
use jostle::{
    gpu::{Element, GpuError},
    kernels::{AdapterClass, Target},
    ops::{
        NormAffine, NormCurvatureViews, NormShape, affine, affine_gradient, channel_normalise, group_normalise,
        group_normalise_curvature, group_normalise_gradient,
    },
};

const EPS: f32 = 1e-5;
/// What results are added to, where they are.
const START: f32 = 0.25;

/// A value [batch, pixels, channels] and the norm of it.
struct Case {
    batch: usize,
    pixels: usize,
    channels: usize,
    groups: usize,
    per_pixel: bool,
    /// Whether channels are padded, as those of images are; rows of features are not.
    pads: bool,
    /// Whether it is an RMS norm.
    about_zero: bool,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    upstream: Vec<f32>,
}

impl Case {
    fn new([batch, pixels, channels]: [usize; 3], groups: usize, per_pixel: bool, pads: bool) -> Self {
        let (count, params) = (batch * pixels * channels, channels * if per_pixel { pixels } else { 1 });
        Self {
            batch,
            pixels,
            channels,
            groups,
            per_pixel,
            pads,
            about_zero: false,
            x: samples(1, count, 2.0),
            weight: samples(2, params, 0.5).iter().map(|w| w + 1.0).collect(),
            bias: samples(3, params, 1.0),
            upstream: samples(4, count, 1.0),
        }
    }

    fn shape(&self) -> NormShape {
        let stride = if self.pads { self.channels.next_multiple_of(4) } else { self.channels };
        let sizes = [self.batch, self.pixels, self.channels, stride];
        let shape = NormShape::new(sizes, self.groups, self.per_pixel, EPS).unwrap();
        if self.about_zero { shape.about_zero() } else { shape }
    }

    fn norm(&self) -> Norm {
        let place = |i: usize| (i / self.channels / self.pixels, i / self.channels % self.pixels, i % self.channels);
        let set = |i: usize| {
            let (n, _, c) = place(i);
            n * self.groups + c * self.groups / self.channels
        };
        let param = |i: usize| {
            let (_, pixel, c) = place(i);
            if self.per_pixel { c * self.pixels + pixel } else { c }
        };
        let all = 0..self.x.len();
        let (sets, params) = (all.clone().map(set).collect(), all.map(param).collect());
        Norm { sets, params, eps: f64::from(EPS), about_zero: self.about_zero }
    }

    /// Additions on the way into the longest sum, by the geometry.
    fn depth(&self, class: AdapterClass) -> f64 {
        let shape = self.shape();
        let target = target(class);
        let group = shape.group_normalise_launch(&target, [true; 2]).unwrap().chain;
        let param = depth(&shape.affine_gradient_launches(&target, [true, false], Element::Word).unwrap());
        (group.max(param) + 16) as f64
    }

    fn lay_out(&self, values: &[f32]) -> Vec<f32> {
        if self.pads { padded(values, self.channels) } else { values.to_vec() }
    }

    fn words(&self) -> usize {
        self.lay_out(&self.x).len()
    }

    /// The channels in use; the others have to be 0 unless they were added to.
    fn pick_up(&self, values: &[f32], accumulate: bool) -> Vec<f32> {
        if !self.pads {
            return values.to_vec();
        }
        let mut pixels = values.chunks_exact(self.channels.next_multiple_of(4));
        let zero = pixels.all(|pixel| pixel[self.channels..].iter().all(|value| *value == 0.0));
        assert!(accumulate || zero, "padding channels are written as 0");
        unpadded(values, self.channels)
    }

    /// Forward and backward on the device, as every class of adapters does it, against f64.
    fn check(&self, accumulate: bool) {
        for class in classes() {
            self.check_as(class, accumulate);
        }
    }

    /// Forward and backward on the device against f64; returns the output.
    fn check_as(&self, class: AdapterClass, accumulate: bool) -> Vec<f32> {
        let gpu = device();
        let (shape, norm, depth) = (self.shape(), self.norm(), self.depth(class));
        let name = format!("{shape:?}, {class:?}, {accumulate}");
        let output = |count: usize, adds: bool| {
            if adds { guarded(gpu, &vec![START; count]) } else { poisoned(gpu, count) }
        };
        let [x, grad] = [&self.x, &self.upstream].map(|values| guarded(gpu, &self.lay_out(values)));
        let [weight, bias] = [&self.weight, &self.bias].map(|values| guarded(gpu, values));
        let [xhat, grad_xhat] = [(); 2].map(|()| poisoned(gpu, self.words()));
        let [y, grad_x] = [(); 2].map(|()| output(self.words(), accumulate));
        let [grad_weight, grad_bias] = [(); 2].map(|()| output(self.weight.len(), accumulate));
        let inv_std = poisoned(gpu, shape.group_count());
        let shift = Some(&bias.view);
        let at_once = poisoned(gpu, self.words());
        let norm_affine = NormAffine { scale: &weight.view, shift, output: &at_once.view };
        let scratch = poisoned(gpu, shape.gradient_scratch_words(class));
        let (views, grads) = ([&grad.view, &xhat.view, &scratch.view], [&grad_weight.view, &grad_bias.view]);
        let gradients = affine_gradient(gpu, class, &shape, views, grads[0], Some(grads[1]), accumulate).unwrap();
        let [before, after] = [
            [
                group_normalise(gpu, class, &shape, [&x.view, &xhat.view], &inv_std.view, Some(norm_affine)).unwrap(),
                affine(gpu, &shape, [&xhat.view, &y.view], &weight.view, shift, accumulate).unwrap(),
            ],
            [
                affine(gpu, &shape, [&grad.view, &grad_xhat.view], &weight.view, None, false).unwrap(),
                group_normalise_gradient(
                    gpu,
                    class,
                    &shape,
                    [&grad_xhat.view, &xhat.view, &grad_x.view],
                    &inv_std.view,
                    accumulate,
                )
                .unwrap(),
            ],
        ];
        run(gpu, &before.into_iter().chain(gradients).chain(after).collect::<Vec<_>>());
        scratch.read(gpu); // its guards

        let [x, w, b, upstream] = [&self.x, &self.weight, &self.bias, &self.upstream].map(|values| wide(values));
        let expected = norm.backward(&x, &w, &upstream);
        let bounds = norm.backward_bounds(&x, &w, &upstream, depth);
        let start = if accumulate { f64::from(START) } else { 0.0 };
        let hold = |quantity: &str, found: &[f32], expected: &[f64], bounds: &[f64]| {
            let expected: Vec<f64> = expected.iter().map(|e| e + start).collect();
            let bounds: Vec<f64> = bounds.iter().zip(&expected).map(|(b, e)| b + 2.0 * ROUNDOFF * e.abs()).collect();
            assert_within(&format!("{name}: {quantity}"), found, &expected, &bounds);
        };
        let y = self.pick_up(&y.read(gpu), false);
        let at_once = self.pick_up(&at_once.read(gpu), false);
        assert!(accumulate || bits(&at_once) == bits(&y), "{name}: weight and bias with the norm, and after it");
        hold("y", &y, &norm.forward(&x, &w, &b), &norm.forward_bounds(&x, &w, &b, depth));
        self.pick_up(&xhat.read(gpu), false);
        self.pick_up(&grad_xhat.read(gpu), false);
        hold("gradient of x", &self.pick_up(&grad_x.read(gpu), accumulate), &expected.x, &bounds.x);
        hold("gradient of weight", &grad_weight.read(gpu), &expected.weight, &bounds.weight);
        hold("gradient of bias", &grad_bias.read(gpu), &expected.bias, &bounds.bias);
        y
    }

    /// The reference's gradients against central differences.
    fn check_reference(&self) {
        let norm = self.norm();
        let inputs = [&self.x, &self.weight, &self.bias].map(|values| wide(values));
        let expected = norm.backward(&inputs[0], &inputs[1], &wide(&self.upstream));
        for (at, expected) in [expected.x, expected.weight, expected.bias].into_iter().enumerate() {
            let along = |moved: &[f64]| {
                let mut inputs = inputs.each_ref().map(Vec::as_slice);
                inputs[at] = moved;
                let y = norm.forward(inputs[0], inputs[1], inputs[2]);
                y.iter().zip(&self.upstream).map(|(y, g)| y * f64::from(*g)).sum()
            };
            // eps^2 = 1e-10 times a third derivative of some 100, and 1e-16/eps of rounding
            let differences = central_difference(along, &inputs[at], 1e-5);
            assert_close(&format!("differences by {at}"), &narrow(&differences), &expected, 1e-6, 1e-6);
        }
    }
}

#[test]
fn random_group_and_layer_norms_agree_with_f64() {
    for seed in 0..20u64 {
        let draw = |i: u64, below: u64| (hash(seed, i) % below) as usize;
        // group norms of images; layer norms of images, of rows, and of images with a weight for each channel only
        let groups = if seed % 2 == 0 { 1 + draw(0, 4) } else { 1 };
        let pads = seed % 4 != 3;
        let pixels = if pads { 1 + draw(1, 12) } else { 1 };
        let per_channel = 2 + draw(2, 4) * (3 - groups.min(3)) + 1;
        let case = Case::new([1 + draw(3, 4), pixels, groups * per_channel], groups, seed % 4 == 1, pads);
        case.check_reference();
        case.check(draw(4, 2) == 1);
    }
}

#[test]
fn groups_of_every_size() {
    for groups in [1, 2, 3, 6] {
        let case = Case::new([3, 5 * 3, 6], groups, false, true);
        case.check_reference();
        case.check(false);
        case.check(true);
    }
    // an instance norm, a group of one channel; one pixel a group of one: no variance at all
    Case::new([9, 11 * 7, 5], 5, false, true).check(false);
    Case::new([2, 1, 3], 3, false, true).check(false);
    // past a workgroup of groups and of parameters
    Case::new([13, 9, 10], 2, true, true).check(false);
    // more rounds than llvmpipe gives an invocation
    Case::new([1, 181 * 191, 4], 1, false, true).check(false);
    // groups past a workgroup's invocations; gradients summed in parts, whose last is short
    Case::new([2, 37 * 31, 6], 1, true, true).check(true);
    Case::new([5, 31 * 29, 33], 3, false, true).check(false);
    Case::new([1031, 1, 70], 7, false, false).check(true);
}

#[test]
fn rms_norms_agree_with_f64() {
    // rows of features as a transformer has them, one of one feature, and past a workgroup; a padded image
    for (sizes, pads) in [([7, 1, 60], false), ([3, 1, 1], false), ([2, 1, 777], false), ([3, 5, 6], true)] {
        let case = Case { about_zero: true, ..Case::new(sizes, 1, true, pads) };
        case.check_reference();
        case.check(false);
        case.check(true);
    }
}

#[test]
fn no_invocation_sums_alone() {
    let gpu = &Target::GENERIC;
    let shape = NormShape::new([128, 32 * 32, 64, 64], 32, false, EPS).unwrap();
    let launches = shape.affine_gradient_launches(gpu, [true, false], Element::Word).unwrap();
    assert!(launches.iter().all(|launch| launch.chain <= 64) && launches[0].workgroups() >= 264, "{launches:?}");
    assert!(shape.group_normalise_launch(gpu, [true; 2]).unwrap().chain <= 64);
}

/// Roundings of equal terms do not average out: one after the other 2^20 of them lose a hundredth of the sum.
#[test]
fn long_gradients_are_as_exact_as_their_depth() {
    let gpu = device();
    let rows = (1 << 20) + 1;
    let shape = NormShape::new([1, rows, 1, 1], 1, false, EPS).unwrap();
    for class in classes() {
        let [grad, input] = [0.1, 1.0].map(|value| guarded(gpu, &vec![value; rows]));
        let [scale, shift, scratch] = [1, 1, shape.gradient_scratch_words(class)].map(|count| poisoned(gpu, count));
        let views = [&grad.view, &input.view, &scratch.view];
        run(gpu, &affine_gradient(gpu, class, &shape, views, &scale.view, Some(&shift.view), false).unwrap());
        let expected = rows as f64 * f64::from(0.1f32);
        let depth = depth(&shape.affine_gradient_launches(&target(class), [true, false], Element::Word).unwrap());
        let bound = (depth + 2) as f64 * ROUNDOFF * expected;
        for (name, sum) in [("scale", scale), ("shift", shift)] {
            assert_close(&format!("{name} {class:?}"), &sum.read(gpu), &[expected], bound, 0.0);
        }
    }
}

/// Means of 1e4 with a deviation of 1, where E[x^2] - E[x]^2 has no digit right.
#[test]
fn large_means_cancel_nothing() {
    for (groups, per_pixel) in [(2, false), (1, true)] {
        let mut case = Case::new([4, 3 * 3, 6], groups, per_pixel, true);
        let spread = 3f32.sqrt(); // uniform in +-sqrt(3): deviation 1
        case.x = samples(8, case.x.len(), spread).iter().map(|x| 1e4 + x).collect();
        let expected = case.norm().forward(&wide(&case.x), &wide(&case.weight), &wide(&case.bias));
        for class in classes() {
            let y = case.check_as(class, false);
            // Near 1e4 numbers are 1e-3 apart; the mean is off by some of that, as is y.
            assert_close("y", &y, &expected, 0.02, 0.0);
        }
    }
}

#[test]
fn a_norm_by_given_statistics() {
    let gpu = device();
    for (per_pixel, centre, accumulate) in [(false, true, false), (true, false, false), (false, false, true)] {
        let case = Case::new([3, 7, 5], 1, per_pixel, true);
        let mean = samples(5, case.channels, 3.0);
        let var: Vec<f32> = samples(6, case.channels, 0.9).iter().map(|v| v + 1.0).collect();
        let input = guarded(gpu, &case.lay_out(&case.x));
        let output = if accumulate { guarded(gpu, &vec![START; case.words()]) } else { poisoned(gpu, case.words()) };
        let (mean_view, var_view) = (guarded(gpu, &mean), guarded(gpu, &var));
        let statistics = [&mean_view.view, &var_view.view];
        let views = [&input.view, &output.view];
        run(gpu, &[&channel_normalise(gpu, &case.shape(), views, statistics, centre, accumulate).unwrap()]);
        let value = |i: usize| {
            let c = i % case.channels;
            let centred = f64::from(case.x[i]) - if centre { f64::from(mean[c]) } else { 0.0 };
            centred / (f64::from(var[c]) + f64::from(EPS)).sqrt() + if accumulate { f64::from(START) } else { 0.0 }
        };
        let expected: Vec<f64> = (0..case.x.len()).map(value).collect();
        // half a dozen roundings of numbers below 5 * sqrt(10)
        let found = case.pick_up(&output.read(gpu), accumulate);
        assert_close("by given statistics", &found, &expected, 6.0 * ROUNDOFF * 16.0, 0.0);
    }
}

/// The tangent of the gradient, against central differences of the f64 gradient along the direction.
#[test]
fn the_gradients_tangent_agrees_with_differences() {
    let gpu = device();
    let images = [(3, 5, false, true), (1, 5, true, true), (2, 101, false, true)];
    let cases = images.into_iter().chain([(1, 1, false, false)]).flat_map(|case| [(case, false), (case, true)]);
    for ((groups, pixels, per_pixel, pads), about_zero) in cases {
        let case = Case { about_zero, ..Case::new([2, pixels, 6], groups, per_pixel, pads) };
        let (norm, shape, one) = (case.norm(), case.shape(), vec![1.0; case.weight.len()]);
        let (x, grad, along) = (wide(&case.x), wide(&case.upstream), wide(&samples(9, case.x.len(), 1.0)));
        let xhat_tangent = norm.backward(&x, &one, &along).x; // the derivative is symmetric
        let at = |step: f64| {
            let moved: Vec<f64> = x.iter().zip(&along).map(|(x, d)| x + step * d).collect();
            norm.backward(&moved, &one, &grad).x
        };
        let step = 1e-5;
        let expected: Vec<f64> =
            at(step).iter().zip(at(-step)).map(|(a, b)| (a - b) / (2.0 * step) + f64::from(START)).collect();

        let inv_std: Vec<f32> =
            norm.moments(&x).iter().map(|moments| (moments.var + norm.eps).powf(-0.5) as f32).collect();
        let upload = |values: &[f64]| guarded(gpu, &case.lay_out(&narrow(values)));
        let [g, xhat, x_tangent, xhat_tangent] =
            [&grad, &norm.normalised(&x), &along, &xhat_tangent].map(|values| upload(values));
        let inv_std = guarded(gpu, &inv_std);
        for class in classes() {
            let output = guarded(gpu, &vec![START; case.words()]);
            let views = NormCurvatureViews {
                grad: &g.view,
                xhat: &xhat.view,
                x_tangent: &x_tangent.view,
                xhat_tangent: &xhat_tangent.view,
                inv_std: &inv_std.view,
                output: &output.view,
            };
            run(gpu, &[&group_normalise_curvature(gpu, class, &shape, &views).unwrap()]);
            // Third derivatives of some 100 times step^2, and on the device a rounding for each of a sum's terms, times a
            // handful of factors up to 2.
            let bounds: Vec<f64> =
                expected.iter().map(|e| 1e-7 + ROUNDOFF * case.depth(class) * 8.0 * (1.0 + e.abs())).collect();
            assert_within_f64("tangent", &wide(&case.pick_up(&output.read(gpu), true)), &expected, &bounds);
        }
    }
}

#[test]
fn shapes_that_cannot_be_are_refused() {
    let refused = |sizes, groups| matches!(NormShape::new(sizes, groups, false, EPS), Err(GpuError::Shape { .. }));
    assert!(refused([2, 3, 5, 8], 2), "groups that do not divide");
    assert!(refused([2, 3, 5, 8], 0) && refused([2, 0, 5, 8], 1) && refused([0, 3, 5, 8], 1));
    assert!(refused([2, 3, 5, 4], 1), "a stride below the channels");

    let gpu = device();
    let shape = NormShape::new([2, 3, 5, 8], 1, true, EPS).unwrap();
    let [value, short, params, few] = [48, 30, 15, 5].map(|count| poisoned(gpu, count));
    let plan = |input, scale| affine(gpu, &shape, [input, &value.view], scale, None, false);
    assert!(plan(&value.view, &params.view).is_ok());
    let unpadded = plan(&short.view, &params.view);
    assert!(matches!(unpadded, Err(GpuError::Length { argument: "input", expected: 48, found: 30, .. })));
    let by_channel = plan(&value.view, &few.view);
    assert!(matches!(by_channel, Err(GpuError::Length { argument: "scale", expected: 15, found: 5, .. })));
}
