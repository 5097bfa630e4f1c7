//! Batch norm with residual sum and activation: the device against f64, the f64 gradients against central differences.

use crate::common::{
    Guarded, ROUNDOFF, assert_close, assert_within, assert_within_f64, central_difference, device, guarded, hash,
    images::{padded, unpadded},
    narrow,
    norm::Norm,
    poisoned,
    reference::{activate, derivative},
    samples, wide,
};
use jostle::{
    gpu::GpuError,
    kernels::{Activation, BatchNorm, BatchNormGradient, BatchNormGradientViews, BatchNormShape, BatchNormViews},
};

const EPS: f32 = 1e-5;
const MOMENTUM: f32 = 0.1;
/// What gradients are added to, where they are.
const START: f32 = 0.25;
/// Rows that hold no sample; it has to reach nothing.
const RUBBISH: f32 = 500.0;

/// Values channel-last, rows beyond the valid ones rubbish.
struct Case {
    shape: BatchNormShape,
    valid: usize,
    activation: Activation,
    residual: Option<Vec<f32>>,
    x: Vec<f32>,
    weight: Vec<f32>,
    bias: Vec<f32>,
    running: [Vec<f32>; 2],
    upstream: Vec<f32>,
    /// Whether the gradients of x, of the residual, and of weight and bias add to [`START`].
    accumulate: [bool; 3],
}

#[derive(Debug)]
struct Found {
    y: Vec<f32>,
    running: [Vec<f32>; 2],
    grad_x: Vec<f32>,
    grad_residual: Vec<f32>,
    grad_weight: Vec<f32>,
    grad_bias: Vec<f32>,
}

impl Case {
    fn new(batch: usize, pixels: usize, channels: usize, valid: usize) -> Self {
        let shape = BatchNormShape { batch, pixels, channels };
        let of = |seed, scale| {
            let mut values = samples(seed, batch * pixels * channels, scale);
            values[valid * pixels * channels..].fill(RUBBISH);
            values
        };
        let positive = |seed| samples(seed, channels, 0.5).iter().map(|x| x + 1.0).collect();
        Self {
            shape,
            valid,
            activation: Activation::Identity,
            residual: None,
            x: of(1, 2.0),
            weight: positive(2),
            bias: samples(3, channels, 1.0),
            running: [samples(4, channels, 1.0), positive(5)],
            upstream: of(6, 1.0),
            accumulate: [false; 3],
        }
    }

    fn with_residual(mut self) -> Self {
        let mut residual = samples(7, self.x.len(), 1.0);
        residual[self.used()..].fill(RUBBISH);
        self.residual = Some(residual);
        self
    }

    /// Elements of valid rows.
    fn used(&self) -> usize {
        self.valid * self.shape.pixels * self.shape.channels
    }

    fn norm(&self) -> Norm {
        let channels: Vec<usize> = (0..self.used()).map(|i| i % self.shape.channels).collect();
        Norm { sets: channels.clone(), params: channels, eps: f64::from(EPS) }
    }

    /// Additions on the way into a mean: those of a chunk of rows, those over the chunks, and a few more.
    fn depth(&self) -> f64 {
        2.0 * ((self.valid * self.shape.pixels) as f64).sqrt() + 16.0
    }

    /// What the activation is applied to, in the valid rows.
    fn sums(&self, [x, residual, weight, bias]: [&[f64]; 4]) -> Vec<f64> {
        let normalised = self.norm().forward(x, weight, bias);
        normalised.iter().enumerate().map(|(i, y)| y + residual.get(i).unwrap_or(&0.0)).collect()
    }

    fn inputs(&self) -> [Vec<f64>; 4] {
        let residual = self.residual.as_ref().map_or(&[][..], |residual| &residual[..self.used()]);
        [&self.x[..self.used()], residual, &self.weight, &self.bias].map(wide)
    }

    fn upload(&self, values: &[f32]) -> Guarded {
        guarded(device(), &padded(values, self.shape.channels))
    }

    /// An output, NaN unless it is added to.
    fn output(&self, adds: bool, count: usize) -> Guarded {
        if adds { guarded(device(), &vec![START; count]) } else { poisoned(device(), count) }
    }

    /// Forward by the batch's statistics (or, with `evaluate`, the running ones), and unless that, backward.
    fn run(&self, evaluate: bool) -> Found {
        let (gpu, shape) = (device(), self.shape);
        let (x, grad) = (self.upload(&self.x), self.upload(&self.upstream));
        let residual = self.residual.as_ref().map(|residual| self.upload(residual));
        let [weight, bias, mean, var] =
            [&self.weight, &self.bias, &self.running[0], &self.running[1]].map(|values| guarded(gpu, values));
        let [partials, gradient_partials] = [(); 2].map(|()| poisoned(gpu, shape.partial_words()));
        let (table, y) = (poisoned(gpu, shape.table_words()), poisoned(gpu, shape.words()));
        let views = BatchNormViews {
            x: &x.view,
            residual: residual.as_ref().map(|residual| &residual.view),
            weight: &weight.view,
            bias: &bias.view,
            running_mean: &mean.view,
            running_var: &var.view,
            partials: (!evaluate).then_some(&partials.view),
            table: &table.view,
            y: &y.view,
        };
        let mut recorder = gpu.record();
        let forward = BatchNorm::new(gpu, shape, &views, self.activation, EPS).unwrap();
        forward.record(&mut recorder, self.valid as u32, MOMENTUM);

        let [of_x, of_residual, of_params] = self.accumulate;
        let [grad_x, grad_residual] = [of_x, of_residual].map(|adds| self.output(adds, shape.words()));
        let [grad_weight, grad_bias] = [(); 2].map(|()| self.output(of_params, shape.channels));
        let coefficients = poisoned(gpu, shape.coefficient_words());
        let views = BatchNormGradientViews {
            grad: &grad.view,
            saved: (self.activation != Activation::Identity).then_some(&y.view),
            x: &x.view,
            table: &table.view,
            partials: &gradient_partials.view,
            coefficients: &coefficients.view,
            grad_weight: &grad_weight.view,
            grad_bias: &grad_bias.view,
            grad_x: (&grad_x.view, of_x),
            grad_residual: residual.is_some().then_some((&grad_residual.view, of_residual)),
        };
        if !evaluate {
            let backward = BatchNormGradient::new(gpu, shape, &views, self.activation, of_params).unwrap();
            backward.record(&mut recorder, self.valid as u32);
        }
        recorder.submit().unwrap();
        let image = |value: &Guarded| unpadded(&value.read(gpu), shape.channels);
        let gradient = |value: &Guarded, there: bool| if there { image(value) } else { Vec::new() };
        Found {
            y: image(&y),
            running: [mean.read(gpu), var.read(gpu)],
            grad_x: gradient(&grad_x, !evaluate),
            grad_residual: gradient(&grad_residual, !evaluate && residual.is_some()),
            grad_weight: grad_weight.read(gpu),
            grad_bias: grad_bias.read(gpu),
        }
    }

    /// The device's training step against f64; returns it.
    fn check(&self, name: &str) -> Found {
        let (norm, found, used, depth) = (self.norm(), self.run(false), self.used(), self.depth());
        let inputs = self.inputs();
        let [x, residual, weight, bias] = &inputs;
        let sums = self.sums(inputs.each_ref().map(Vec::as_slice));
        let output: Vec<f64> = sums.iter().map(|sum| activate(self.activation, *sum)).collect();
        let mut bounds = norm.forward_bounds(x, weight, bias, depth);
        for (i, bound) in bounds.iter_mut().enumerate() {
            *bound += 8.0 * ROUNDOFF * (sums[i].abs() + residual.get(i).unwrap_or(&0.0).abs() + 1.0);
        }
        assert_within(&format!("{name}: y"), &found.y[..used], &output, &bounds);
        self.check_running(name, &found.running);

        let upstream = wide(&self.upstream[..used]);
        let g: Vec<f64> = (0..used).map(|i| upstream[i] * derivative(self.activation, sums[i])).collect();
        let expected = norm.backward(x, weight, &g);
        let bounds = norm.backward_bounds(x, weight, &upstream, depth);
        let start = self.accumulate.map(|adds| if adds { f64::from(START) } else { 0.0 });
        let hold = |of: &str, found: &[f32], expected: &[f64], bounds: &[f64], start: f64| {
            let expected: Vec<f64> = expected.iter().map(|e| e + start).collect();
            let bounds: Vec<f64> = bounds.iter().zip(&expected).map(|(b, e)| b + 2.0 * ROUNDOFF * e.abs()).collect();
            assert_within(&format!("{name}: gradient of {of}"), found, &expected, &bounds);
        };
        hold("x", &found.grad_x[..used], &expected.x, &bounds.x, start[0]);
        hold("weight", &found.grad_weight, &expected.weight, &bounds.weight, start[2]);
        hold("bias", &found.grad_bias, &expected.bias, &bounds.bias, start[2]);
        let mut beyond = vec![(&found.grad_x, start[0])];
        if self.residual.is_some() {
            // its terms, and not their sum, which is the bias' gradient
            let magnitudes = norm.magnitudes(x);
            let error = |i: usize| 2.0 * norm.errors(x, depth)[i] * upstream[i].abs() * magnitudes[i];
            let bounds: Vec<f64> = (0..used).map(error).collect();
            hold("residual", &found.grad_residual[..used], &g, &bounds, start[1]);
            beyond.push((&found.grad_residual, start[1]));
        }
        for (gradient, start) in beyond {
            let none = gradient[used..].iter().all(|value| f64::from(*value) == start);
            assert!(none, "{name}: rows that hold no sample have a gradient");
        }
        found
    }

    /// PyTorch's rule: the mean and the unbiased variance, each moved to by the momentum.
    fn check_running(&self, name: &str, found: &[Vec<f32>; 2]) {
        let momentum = f64::from(MOMENTUM);
        for (channel, of) in self.norm().moments(&wide(&self.x[..self.used()])).iter().enumerate() {
            let unbiased = of.var * of.count / (of.count - 1.0).max(1.0);
            let before = self.running.each_ref().map(|running| f64::from(running[channel]));
            let expected =
                [before[0] + momentum * (of.mean - before[0]), before[1] + momentum * (unbiased - before[1])];
            // The mean is off by depth roundings of the largest element, the variance by twice that times the deviation.
            let mean = self.depth() * ROUNDOFF * of.largest;
            let bounds =
                [mean, mean * 2.0 * unbiased.sqrt() + mean * mean].map(|b| b + 4.0 * ROUNDOFF * (1.0 + unbiased));
            let found = found.each_ref().map(|running| f64::from(running[channel]));
            assert_within_f64(&format!("{name}: running statistics of {channel}"), &found, &expected, &bounds);
        }
    }

    /// The reference's gradients against central differences.
    fn check_reference(&self, name: &str) {
        let inputs = self.inputs();
        let loss = |inputs: [&[f64]; 4]| {
            let terms = self.sums(inputs).into_iter().zip(&self.upstream);
            terms.map(|(sum, g)| activate(self.activation, sum) * f64::from(*g)).sum::<f64>()
        };
        let sums = self.sums(inputs.each_ref().map(Vec::as_slice));
        let slope = |(sum, g): (f64, &f32)| f64::from(*g) * derivative(self.activation, sum);
        let g: Vec<f64> = sums.into_iter().zip(&self.upstream).map(slope).collect();
        let of = self.norm().backward(&inputs[0], &inputs[2], &g);
        let residual = if self.residual.is_some() { g } else { Vec::new() };
        for (at, expected) in [of.x, residual, of.weight, of.bias].into_iter().enumerate() {
            let along = |moved: &[f64]| {
                let mut inputs = inputs.each_ref().map(Vec::as_slice);
                inputs[at] = moved;
                loss(inputs)
            };
            // eps^2 = 1e-10 times a third derivative of some 100, and 1e-16/eps of rounding
            let differences = central_difference(along, &inputs[at], 1e-5);
            assert_close(&format!("{name}: differences by {at}"), &narrow(&differences), &expected, 1e-6, 1e-6);
        }
    }
}

const ACTIVATIONS: [Activation; 4] = [Activation::Identity, Activation::Relu, Activation::Tanh, Activation::Sigmoid];

#[test]
fn random_batches_agree_with_f64() {
    for seed in 0..16u64 {
        let draw = |i: u64, below: u64| (hash(seed, i) % below) as usize;
        let batch = 2 + draw(0, 5);
        // rows of features, images of odd sizes
        let pixels = [1, 1 + draw(1, 15)][seed as usize % 2];
        let valid = if seed % 3 == 0 { batch } else { 1 + draw(2, batch as u64) };
        let mut case = Case::new(batch, pixels, 1 + draw(3, 10), valid);
        if seed % 4 >= 2 {
            case = case.with_residual();
        }
        case.activation = ACTIVATIONS[draw(4, 4)];
        case.accumulate = [0, 1, 2].map(|bit| hash(seed, 5) >> bit & 1 == 1);
        let name = format!("{}, {valid} valid, {}, {:?}", case.shape, case.activation, case.accumulate);
        case.check_reference(&name);
        case.check(&name);
    }
}

#[test]
fn every_fused_activation_with_a_residual() {
    for activation in ACTIVATIONS {
        let case = Case { activation, ..Case::new(3, 5 * 7, 6, 3).with_residual() };
        case.check_reference(activation.name());
        case.check(activation.name());
    }
}

#[test]
fn many_rows_are_summed_in_chunks() {
    // chunks of 8 rows at least; a last one that is short; chunks that hold no valid row; past a workgroup of channels
    for (batch, pixels, channels, valid) in [(1, 9, 2, 1), (4, 13 * 17, 3, 4), (9, 11 * 11, 5, 2), (70, 1, 70, 67)] {
        let case = Case { activation: Activation::Relu, ..Case::new(batch, pixels, channels, valid).with_residual() };
        case.check(&case.shape.to_string());
    }
}

/// Means of 1e4 with a deviation of 1, where E[x^2] - E[x]^2 has no digit right.
#[test]
fn large_means_cancel_nothing() {
    let mut case = Case::new(6, 5 * 5, 5, 6);
    let spread = 3f32.sqrt(); // uniform in +-sqrt(3): deviation 1
    case.x = samples(8, case.x.len(), spread).iter().map(|x| 1e4 + x).collect();
    let found = case.check("large means");
    let [x, _, weight, bias] = case.inputs();
    // Near 1e4 numbers are 1e-3 apart; the mean is off by some of that, as is y.
    assert_close("y", &found.y, &case.norm().forward(&x, &weight, &bias), 0.02, 0.0);
    let channel: Vec<f32> = case.x.iter().step_by(case.shape.channels).copied().collect();
    let mean = |values: &mut dyn Iterator<Item = f32>| values.sum::<f32>() / channel.len() as f32;
    let naive = mean(&mut channel.iter().map(|x| x * x)) - mean(&mut channel.iter().copied()).powi(2);
    let two_pass = (found.running[1][0] - (1.0 - MOMENTUM) * case.running[1][0]) / MOMENTUM;
    let truth = case.norm().moments(&x)[0].var as f32;
    assert!((two_pass - truth).abs() < 0.05, "{two_pass} of {truth}");
    assert!((naive - truth).abs() > 0.5, "{naive} of {truth}: the data do not show the difference");
}

/// torch.nn.BatchNorm1d(1)(torch.tensor([[1.], [2.], [3.], [6.]])) in training: var 3.5 biased, 14/3 unbiased.
#[test]
fn variances_are_biased_in_the_output_and_unbiased_in_the_running_one() {
    let mut case = Case::new(4, 1, 1, 4);
    (case.x, case.weight, case.bias) = (vec![1.0, 2.0, 3.0, 6.0], vec![1.0], vec![0.0]);
    case.running = [vec![0.0], vec![1.0]];
    let found = case.run(false);
    let y = [-1.069_043_4, -0.534_521_7, 0.0, 1.603_565_1];
    assert_close("y", &found.y, &y, 1e-6, 0.0);
    assert_close("running mean", &found.running[0], &[0.3], 1e-7, 0.0);
    assert_close("running variance", &found.running[1], &[0.9 + 0.1 * 14.0 / 3.0], 1e-6, 0.0);
}

#[test]
fn evaluation_goes_by_the_running_statistics_and_leaves_them() {
    for activation in Activation::ALL {
        let case = Case { activation, ..Case::new(3, 6, 7, 3).with_residual() };
        let found = case.run(true);
        assert_eq!(found.running, case.running);
        let [x, residual, weight, bias] = case.inputs();
        let [mean, var] = case.running.each_ref().map(|running| wide(running));
        let value = |i: usize| {
            let c = i % case.shape.channels;
            (x[i] - mean[c]) / (var[c] + f64::from(EPS)).sqrt() * weight[c] + bias[c] + residual[i]
        };
        let expected: Vec<f64> = (0..x.len()).map(|i| activate(activation, value(i))).collect();
        // a dozen roundings of values up to 8
        assert_close(activation.name(), &found.y, &expected, 12.0 * ROUNDOFF * 8.0, 0.0);
    }
}

#[test]
fn wrong_shapes_are_refused() {
    let gpu = device();
    let shape = BatchNormShape { batch: 2, pixels: 3, channels: 5 };
    let plan = |shape: BatchNormShape, channels: usize, words: usize| {
        let [x, y] = [(); 2].map(|()| poisoned(gpu, words));
        let params = poisoned(gpu, channels);
        let table = poisoned(gpu, shape.table_words().max(1));
        let views = BatchNormViews {
            x: &x.view,
            residual: None,
            weight: &params.view,
            bias: &params.view,
            running_mean: &params.view,
            running_var: &params.view,
            partials: None,
            table: &table.view,
            y: &y.view,
        };
        BatchNorm::new(gpu, shape, &views, Activation::Identity, EPS).map(|_| ())
    };
    assert!(plan(shape, 5, shape.words()).is_ok());
    let unpadded = plan(shape, 5, 2 * 3 * 5);
    assert!(matches!(unpadded, Err(GpuError::Length { argument: "x", expected: 48, found: 30, .. })), "{unpadded:?}");
    assert!(matches!(plan(shape, 8, shape.words()), Err(GpuError::Length { argument: "weight", .. })));
    assert!(matches!(plan(BatchNormShape { pixels: 0, ..shape }, 5, 1), Err(GpuError::Shape { .. })));
}
