//! f64 references of the building blocks; they share nothing with `src/` or `shaders/` but the formulas' names.

use jostle::kernels::Activation;

/// erf to about 1e-15: its Maclaurin series where that converges fast, the continued fraction of erfc beyond.
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a < 2.5 {
        let (mut term, mut sum) = (x, x);
        for n in 1..80 {
            term *= -x * x / f64::from(n);
            sum += term / f64::from(2 * n + 1);
        }
        return sum * 2.0 / std::f64::consts::PI.sqrt();
    }
    // erfc(x) sqrt(pi) exp(x^2) = 1/(x + (1/2)/(x + 1/(x + (3/2)/(x + ...)))), Abramowitz & Stegun 7.1.14
    let fraction = (1..120).rev().fold(a, |f, n| a + 0.5 * f64::from(n) / f);
    let erfc = (-a * a).exp() / (fraction * std::f64::consts::PI.sqrt());
    (1.0 - erfc).copysign(x)
}

fn normal_cdf(x: f64) -> f64 {
    0.5 * (1.0 + erf(x / std::f64::consts::SQRT_2))
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// The tanh's argument in GELU by tanh, with its first and second derivative.
fn gelu_argument(x: f64) -> [f64; 3] {
    let c = (2.0 / std::f64::consts::PI).sqrt();
    [x + 0.044715 * x.powi(3), 1.0 + 3.0 * 0.044715 * x * x, 6.0 * 0.044715 * x].map(|value| c * value)
}

pub fn activate(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => x * normal_cdf(x),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => sigmoid(x),
        Activation::Silu => x * sigmoid(x),
        Activation::GeluTanh => 0.5 * x * (1.0 + gelu_argument(x)[0].tanh()),
    }
}

/// The derivative at the argument `x`, whatever the kernels keep of it.
pub fn derivative(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Identity => 1.0,
        Activation::Relu => f64::from(u8::from(x > 0.0)),
        Activation::Gelu => normal_cdf(x) + x * (-0.5 * x * x).exp() / (2.0 * std::f64::consts::PI).sqrt(),
        Activation::Tanh => 1.0 / x.cosh().powi(2),
        Activation::Sigmoid => sigmoid(x) * sigmoid(-x),
        Activation::Silu => sigmoid(x) * (1.0 + x * sigmoid(-x)),
        Activation::GeluTanh => {
            let [u, first, _] = gelu_argument(x);
            0.5 * (1.0 + u.tanh()) + 0.5 * x * first / u.cosh().powi(2)
        }
    }
}

/// The derivative of `derivative` by what forward saves, in terms of that.
pub fn curvature(kind: Activation, saved: f64) -> f64 {
    match kind {
        Activation::Identity | Activation::Relu => 0.0,
        Activation::Gelu => (-0.5 * saved * saved).exp() / std::f64::consts::TAU.sqrt() * (2.0 - saved * saved),
        Activation::Tanh => -2.0 * saved,
        Activation::Sigmoid => 1.0 - 2.0 * saved,
        Activation::Silu => {
            let s = sigmoid(saved);
            s * (1.0 - s) * (2.0 + saved * (1.0 - 2.0 * s))
        }
        Activation::GeluTanh => {
            let [u, first, second] = gelu_argument(saved);
            (first + 0.5 * saved * (second - 2.0 * u.tanh() * first * first)) / u.cosh().powi(2)
        }
    }
}

/// What forward leaves for backward: the argument where the derivative needs it (GELU), else the output.
pub fn saved(kind: Activation, x: f64) -> f32 {
    (if kind.saves_input() { x } else { activate(kind, x) }) as f32
}

/// -log softmax(logits)[target]
pub fn nll(logits: &[f64], target: usize) -> f64 {
    let largest = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = logits.iter().map(|logit| (logit - largest).exp()).sum();
    sum.ln() + (largest - logits[target])
}

pub fn softmax(logits: &[f64]) -> Vec<f64> {
    let largest = logits.iter().copied().fold(f64::MIN, f64::max);
    let weights: Vec<f64> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.iter().map(|weight| weight / sum).collect()
}

/// Mean over the outputs of the squared difference.
pub fn mse(outputs: &[f64], targets: &[f64]) -> f64 {
    outputs.iter().zip(targets).map(|(o, t)| (o - t).powi(2)).sum::<f64>() / outputs.len() as f64
}

pub fn one_hot(classes: usize, label: usize) -> Vec<f64> {
    (0..classes).map(|class| f64::from(u8::from(class == label))).collect()
}

/// The first largest of a row.
pub fn argmax(row: &[f64]) -> usize {
    let mut best = 0;
    for (i, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = i;
        }
    }
    best
}

/// weight x + bias; weight is [out, in].
pub fn linear(weight: &[f64], bias: &[f64], x: &[f64]) -> Vec<f64> {
    let row = |row: &[f64]| row.iter().zip(x).map(|(w, x)| w * x).sum::<f64>();
    weight.chunks_exact(x.len()).map(row).zip(bias).map(|(sum, b)| sum + b).collect()
}

/// The layer norm of a vector.
pub fn layer_norm(weight: &[f64], bias: &[f64], row: &[f64]) -> Vec<f64> {
    let count = row.len() as f64;
    let mean = row.iter().sum::<f64>() / count;
    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
    let normalised = row.iter().map(|x| (x - mean) / (variance + 1e-5).sqrt());
    normalised.zip(weight).zip(bias).map(|((x, w), b)| x * w + b).collect()
}
