//! A batch norm with residual sum and activation: what the device makes of it, and what f64 says.

use jostle::{
    gpu::{Element, Gpu},
    kernels::Activation,
    ops::{
        BatchNormDispatches, BatchNormGradientDispatches, BatchNormGradientViews, BatchNormShape, BatchNormVariant,
        BatchNormViews, Undone,
    },
};

use super::{
    Guarded, ROUNDOFF, assert_close, assert_within, assert_within_f64, central_difference, device, guarded, guarded_as,
    images::{padded, unpadded},
    narrow,
    norm::Norm,
    poisoned, poisoned_as,
    reference::{activate, derivative},
    rounding, samples, stored, wide,
};

pub const EPS: f32 = 1e-5;
pub const MOMENTUM: f32 = 0.1;
/// What gradients are added to, where they are.
const START: f32 = 0.25;
/// Rows that hold no sample; it has to reach nothing.
const RUBBISH: f32 = 500.0;

/// Which gradients add to [`START`] instead of being written anew.
#[derive(Clone, Copy, Debug, Default)]
pub struct Accumulate {
    pub x: bool,
    pub residual: bool,
    /// Weight and bias.
    pub params: bool,
}

/// Values channel-last, rows beyond the valid ones rubbish.
#[derive(Clone)]
pub struct Case {
    pub shape: BatchNormShape,
    pub valid: usize,
    pub activation: Activation,
    pub residual: Option<Vec<f32>>,
    /// Whether its gradient is wanted.
    pub residual_gradient: bool,
    /// Whether that is where the input's is, which is added to it.
    pub gradients_share: bool,
    pub x: Vec<f32>,
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
    pub running: [Vec<f32>; 2],
    pub upstream: Vec<f32>,
    pub accumulate: Accumulate,
    /// How activations, their gradients, weight and bias are stored.
    pub element: Element,
}

/// What the device made; `running` is the statistics' means and variances.
#[derive(Debug)]
pub struct Found {
    pub y: Vec<f32>,
    pub running: [Vec<f32>; 2],
    pub grad_x: Vec<f32>,
    pub grad_residual: Vec<f32>,
    pub grad_weight: Vec<f32>,
    pub grad_bias: Vec<f32>,
}

impl Found {
    /// Every result one after the other.
    pub fn values(&self) -> Vec<f32> {
        let [mean, var] = &self.running;
        [&self.y, mean, var, &self.grad_x, &self.grad_residual, &self.grad_weight, &self.grad_bias]
            .into_iter()
            .flatten()
            .copied()
            .collect()
    }
}

impl Case {
    pub fn new([batch, pixels, channels]: [usize; 3], valid: usize) -> Self {
        let shape = BatchNormShape { batch, pixels, channels };
        let images = |seed, scale| {
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
            residual_gradient: true,
            gradients_share: false,
            x: images(1, 2.0),
            weight: positive(2),
            bias: samples(3, channels, 1.0),
            running: [samples(4, channels, 1.0), positive(5)],
            upstream: images(6, 1.0),
            accumulate: Accumulate::default(),
            element: Element::Word,
        }
    }

    pub fn with_residual(mut self) -> Self {
        let mut residual = samples(7, self.x.len(), 1.0);
        residual[self.used()..].fill(RUBBISH);
        self.residual = Some(residual);
        self
    }

    /// The same with every value as `element` holds it.
    pub fn stored_as(mut self, element: Element) -> Self {
        self.element = element;
        let tensors = [&mut self.x, &mut self.weight, &mut self.bias, &mut self.upstream];
        for values in tensors.into_iter().chain(&mut self.residual) {
            *values = stored(element, values);
        }
        self
    }

    /// The error of storing a result; that of f32 is among the others.
    fn storage(&self, value: f64) -> f64 {
        if self.element == Element::Half { rounding(Element::Half, value) } else { 0.0 }
    }

    /// Elements of valid rows.
    fn used(&self) -> usize {
        self.valid * self.shape.pixels * self.shape.channels
    }

    pub fn norm(&self) -> Norm {
        let channels: Vec<usize> = (0..self.used()).map(|i| i % self.shape.channels).collect();
        Norm { sets: channels.clone(), params: channels, eps: f64::from(EPS), about_zero: false }
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

    pub fn inputs(&self) -> [Vec<f64>; 4] {
        let residual = self.residual.as_ref().map_or(&[][..], |residual| &residual[..self.used()]);
        [&self.x[..self.used()], residual, &self.weight, &self.bias].map(wide)
    }

    /// An output, NaN unless it is added to.
    fn output(gpu: &Gpu, adds: bool, count: usize, element: Element) -> Guarded {
        guarded_as(gpu, &vec![if adds { START } else { f32::NAN }; count], element)
    }

    /// Forward by the batch's statistics (or, with `evaluate`, the running ones), and unless that, backward.
    pub fn run(&self, gpu: &Gpu, variant: BatchNormVariant, evaluate: bool) -> Found {
        let (shape, element) = (self.shape, self.element);
        let upload = |values: &[f32]| guarded_as(gpu, &padded(values, shape.channels), element);
        let (x, grad, residual) = (upload(&self.x), upload(&self.upstream), self.residual.as_deref().map(upload));
        let wants_residual = residual.is_some() && self.residual_gradient;
        let [weight, bias] = [&self.weight, &self.bias].map(|values| guarded_as(gpu, values, element));
        let [mean, var] = self.running.each_ref().map(|values| guarded(gpu, values));
        let [partials, gradient_partials] = [(); 2].map(|()| poisoned(gpu, shape.partial_words()));
        let (table, y) = (poisoned(gpu, shape.table_words()), poisoned_as(gpu, shape.words(), element));
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
        let forward = BatchNormDispatches::new(gpu, variant, shape, &views, self.activation, EPS).unwrap();
        forward.record(&mut recorder, self.valid as u32, MOMENTUM);

        let Accumulate { x: adds_x, residual: adds_residual, params: adds_params } = self.accumulate;
        let [grad_x, grad_residual] =
            [adds_x, adds_residual].map(|adds| Self::output(gpu, adds, shape.words(), element));
        let [grad_weight, grad_bias] = [(); 2].map(|()| Self::output(gpu, adds_params, shape.channels, Element::Word));
        let coefficients = poisoned(gpu, shape.coefficient_words());
        let undone = Undone::new(self.activation, residual.is_some());
        let residual_place = if self.gradients_share { &grad_x } else { &grad_residual };
        let views = BatchNormGradientViews {
            grad: &grad.view,
            saved: undone.by_output.then_some(&y.view),
            x: &x.view,
            table: &table.view,
            partials: &gradient_partials.view,
            coefficients: &coefficients.view,
            grad_weight: &grad_weight.view,
            grad_bias: &grad_bias.view,
            grad_x: (&grad_x.view, adds_x || self.gradients_share),
            grad_residual: wants_residual.then_some((&residual_place.view, adds_residual)),
        };
        if !evaluate {
            let backward = BatchNormGradientDispatches::new(gpu, variant, shape, &views, undone, adds_params);
            let backward = backward.unwrap();
            backward.record(&mut recorder, self.valid as u32);
        }
        recorder.submit().unwrap();
        let image = |value: &Guarded| unpadded(&value.read(gpu), shape.channels);
        let gradient = |value: &Guarded, there: bool| if there { image(value) } else { Vec::new() };
        Found {
            y: image(&y),
            running: [mean.read(gpu), var.read(gpu)],
            grad_x: gradient(&grad_x, !evaluate),
            grad_residual: gradient(residual_place, !evaluate && wants_residual),
            grad_weight: grad_weight.read(gpu),
            grad_bias: grad_bias.read(gpu),
        }
    }

    /// The device's training step by every variant against f64; returns them.
    pub fn check(&self, name: &str) -> [Found; 2] {
        BatchNormVariant::ALL.map(|variant| self.check_variant(&format!("{name}, {variant:?}"), variant))
    }

    fn check_variant(&self, name: &str, variant: BatchNormVariant) -> Found {
        let (norm, used, depth) = (self.norm(), self.used(), self.depth());
        let found = self.run(device(), variant, false);
        let inputs = self.inputs();
        let [x, residual, weight, bias] = &inputs;
        let sums = self.sums(inputs.each_ref().map(Vec::as_slice));
        let output: Vec<f64> = sums.iter().map(|sum| activate(self.activation, *sum)).collect();
        let mut bounds = norm.forward_bounds(x, weight, bias, depth);
        for (i, bound) in bounds.iter_mut().enumerate() {
            *bound += 8.0 * ROUNDOFF * (sums[i].abs() + residual.get(i).unwrap_or(&0.0).abs() + 1.0);
            *bound += self.storage(output[i].abs() + *bound);
        }
        assert_within(&format!("{name}: y"), &found.y[..used], &output, &bounds);
        self.check_running(name, &found.running);

        let upstream = wide(&self.upstream[..used]);
        let g: Vec<f64> = (0..used).map(|i| upstream[i] * derivative(self.activation, sums[i])).collect();
        let expected = norm.backward(x, weight, &g);
        let mut bounds = norm.backward_bounds(x, weight, &upstream, depth);
        let start = |adds: bool| if adds { f64::from(START) } else { 0.0 };
        let hold = |quantity: &str, found: &[f32], expected: &[f64], bounds: &[f64], start: f64| {
            let expected: Vec<f64> = expected.iter().map(|e| e + start).collect();
            let bounds: Vec<f64> = bounds.iter().zip(&expected).map(|(b, e)| b + 2.0 * ROUNDOFF * e.abs()).collect();
            assert_within(&format!("{name}: gradient of {quantity}"), found, &expected, &bounds);
        };
        self.widen(&mut bounds.x, &expected.x);
        hold("x", &found.grad_x[..used], &expected.x, &bounds.x, start(self.accumulate.x));
        hold("weight", &found.grad_weight, &expected.weight, &bounds.weight, start(self.accumulate.params));
        hold("bias", &found.grad_bias, &expected.bias, &bounds.bias, start(self.accumulate.params));
        let mut beyond = vec![(&found.grad_x, start(self.accumulate.x))];
        if self.residual.is_some() && self.residual_gradient {
            // its terms, and not their sum, which is the bias' gradient
            let magnitudes = norm.magnitudes(x);
            let error = |i: usize| 2.0 * norm.errors(x, depth)[i] * upstream[i].abs() * magnitudes[i];
            let mut bounds: Vec<f64> = (0..used).map(error).collect();
            self.widen(&mut bounds, &g);
            hold("residual", &found.grad_residual[..used], &g, &bounds, start(self.accumulate.residual));
            beyond.push((&found.grad_residual, start(self.accumulate.residual)));
        }
        for (gradient, start) in beyond {
            let none = gradient[used..].iter().all(|value| f64::from(*value) == start);
            assert!(none, "{name}: rows that hold no sample have a gradient");
        }
        found
    }

    /// Bounds of a gradient's errors, once it is stored beside or on top of [`START`].
    fn widen(&self, bounds: &mut [f64], expected: &[f64]) {
        for (bound, expected) in bounds.iter_mut().zip(expected) {
            *bound += self.storage(expected.abs() + f64::from(START) + *bound);
        }
    }

    /// PyTorch's rule: the mean and the unbiased variance, each moved to by the momentum.
    fn check_running(&self, name: &str, found: &[Vec<f32>; 2]) {
        let momentum = f64::from(MOMENTUM);
        for (channel, moments) in self.norm().moments(&wide(&self.x[..self.used()])).iter().enumerate() {
            let unbiased = moments.var * moments.count / (moments.count - 1.0).max(1.0);
            let before = self.running.each_ref().map(|running| f64::from(running[channel]));
            let expected =
                [before[0] + momentum * (moments.mean - before[0]), before[1] + momentum * (unbiased - before[1])];
            // The mean is off by depth roundings of the largest element, the variance by twice that times the deviation.
            let mean = self.depth() * ROUNDOFF * moments.largest;
            let bounds =
                [mean, mean * 2.0 * unbiased.sqrt() + mean * mean].map(|b| b + 4.0 * ROUNDOFF * (1.0 + unbiased));
            let found = found.each_ref().map(|running| f64::from(running[channel]));
            assert_within_f64(&format!("{name}: running statistics of {channel}"), &found, &expected, &bounds);
        }
    }

    /// The reference's gradients against central differences.
    pub fn check_reference(&self, name: &str) {
        let inputs = self.inputs();
        let loss = |inputs: [&[f64]; 4]| {
            let terms = self.sums(inputs).into_iter().zip(&self.upstream);
            terms.map(|(sum, g)| activate(self.activation, sum) * f64::from(*g)).sum::<f64>()
        };
        let sums = self.sums(inputs.each_ref().map(Vec::as_slice));
        let slope = |(sum, g): (f64, &f32)| f64::from(*g) * derivative(self.activation, sum);
        let g: Vec<f64> = sums.into_iter().zip(&self.upstream).map(slope).collect();
        let gradients = self.norm().backward(&inputs[0], &inputs[2], &g);
        let residual = if self.residual.is_some() { g } else { Vec::new() };
        for (at, expected) in [gradients.x, residual, gradients.weight, gradients.bias].into_iter().enumerate() {
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
