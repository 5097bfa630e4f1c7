//! Kernels whose results depend on more than the language promises (cooperative matrices) are tested on the device before
//! they are used: each pipeline, as it is to be used, on a small product of whole numbers. Those of attention's linear form are
//! too, beside it in [`ops`](crate::ops).
//!
//! A trial has several tiles in each direction, with edges that fill none, several rounds of the loop over depth, and parts
//! where the pipeline computes parts. Operands are eighths, -3/8 to 3/8, so that products and sums are whole 64ths: exact in
//! f16 and in f32, whatever the order. The output holds NaN before, and beyond its end. What follows the sums (bias,
//! activation, addition to what the output held) is computed on the host in f64: it has to agree exactly where it is exact
//! too, which leaves out the smooth activations alone, whose values may differ by [`slack`].

mod conv;
mod matmul;

use half::f16;

use crate::gpu::{ALIGNMENT_WORDS, Element, Gpu, GpuError, Grid, KernelSpec, View};

use super::{Activation, Constant, Ending, Epilogue};

pub(super) use self::{
    conv::{TrialForm, conv_trial},
    matmul::{Extents, matmul_trial},
};

/// NaN in f32, and two of them in f16.
const POISON: u32 = 0x7FC0_7FC0;

/// A kernel of the products' bindings [a, b, aux, c, pre] with overrides, about to be bound to `views`.
pub(super) struct Pipeline<'a> {
    pub(super) spec: &'static KernelSpec,
    pub(super) constants: &'a [Constant],
    pub(super) views: [&'a View; 5],
    pub(super) ending: Ending,
}

/// A product whose sums are known.
pub(super) struct Trial {
    a: Vec<f32>,
    b: Vec<f32>,
    /// As they lie in the output, `None` where any finite number will do.
    sums: Vec<Option<f64>>,
    /// Elements of the output from one row to the next, and how many of these have a bias.
    columns: [usize; 2],
    /// How many outputs follow each other, whose sum is the result.
    parts: usize,
    grid: Grid,
    immediates: Vec<u8>,
}

/// Whole numbers from -most to most without a pattern that strides of a kernel could share.
pub(crate) fn whole(seed: u32, i: usize, most: i32) -> i32 {
    let mut z = (i as u32).wrapping_add(seed.wrapping_mul(0x9E37_79B9)).wrapping_mul(0x85EB_CA6B);
    z = (z ^ z >> 15).wrapping_mul(0xC2B2_AE35);
    ((z ^ z >> 16) % (2 * most as u32 + 1)) as i32 - most
}

/// `count` operands, as whole eighths.
fn operand(seed: u32, count: usize) -> Vec<i32> {
    (0..count).map(|i| whole(seed, i, 3)).collect()
}

fn from_eighths(values: impl IntoIterator<Item = i32>) -> Vec<f32> {
    values.into_iter().map(|value| value as f32 / 8.0).collect()
}

/// Sums of products of eighths.
fn from_sums(sums: impl IntoIterator<Item = i32>) -> Vec<Option<f64>> {
    sums.into_iter().map(|sum| Some(f64::from(sum) / 64.0)).collect()
}

impl Pipeline<'_> {
    /// Fails unless the device has been found to compute this pipeline right; the trial is made if it is not yet known.
    pub(super) fn admit(&self, gpu: &Gpu, trial: impl FnOnce() -> Result<Trial, GpuError>) -> Result<(), GpuError> {
        gpu.admit(self.spec, self.constants, &self.views, || self.run(gpu, &trial()?))
    }

    /// Runs a trial: nothing, or what is wrong with its results.
    fn run(&self, gpu: &Gpu, trial: &Trial) -> Result<Result<(), String>, GpuError> {
        let [a, _, _, c, _] = self.views;
        let (real, out) = (a.element(), c.element());
        let count = trial.sums.len();
        let view = |values: &[f32], element| -> Result<View, GpuError> {
            let words = stored(values, element);
            gpu.upload("trial", &words)?.part(0, words.len())?.read_as(element, values.len())
        };
        let aux = match self.ending.epilogue {
            Epilogue::Plain => gpu.unused(0)?,
            Epilogue::BiasActivation { .. } => view(&(0..trial.columns[1]).map(bias).collect::<Vec<_>>(), real)?,
            Epilogue::ActivationGradient(kind) => {
                view(&(0..count).map(|at| saved(kind, at)[0]).collect::<Vec<_>>(), real)?
            }
        };
        let stores_pre = matches!(self.ending.epilogue, Epilogue::BiasActivation { store_pre: true, .. });
        let before: Vec<f32> = (0..count).map(before).collect();
        let result = Guarded::new(gpu, out, trial.parts * count, self.ending.accumulate.then_some(&before))?;
        let argument = Guarded::new(gpu, real, count, None)?;
        let pre = if stores_pre { argument.view.clone() } else { gpu.unused(1)? };
        let views = [&view(&trial.a, real)?, &view(&trial.b, real)?, &aux, &result.view, &pre];
        let dispatch = gpu.dispatch(self.spec, self.constants, trial.grid, &views, &trial.immediates)?;
        let mut recorder = gpu.record();
        recorder.run(&dispatch);
        recorder.submit()?;
        gpu.wait_for_test()?;

        let (arguments, expected): (Vec<_>, Vec<_>) = (0..count).map(|at| self.expected(trial, at)).unzip();
        let found = result.read(gpu)?.and_then(|parts| {
            let sum = |at: usize| parts.iter().skip(at).step_by(count).sum::<f32>();
            judge("result", &(0..count).map(sum).collect::<Vec<f32>>(), &expected, |_, x| self.slack(out, x))
        });
        if !stores_pre {
            return Ok(found);
        }
        let kept = argument.read(gpu)?.and_then(|found| judge("argument", &found, &arguments, |_, _| 0.0));
        Ok(found.and(kept))
    }

    /// The argument of the activation and the result at position `at`.
    fn expected(&self, trial: &Trial, at: usize) -> (Option<f64>, Option<f64>) {
        let Some(sum) = trial.sums[at] else { return (None, None) };
        let (argument, value) = match self.ending.epilogue {
            Epilogue::Plain => (sum, sum),
            Epilogue::BiasActivation { activation, .. } => {
                let column = at % trial.columns[0];
                let argument = sum + if column < trial.columns[1] { f64::from(bias(column)) } else { 0.0 };
                (argument, activated(activation, argument))
            }
            Epilogue::ActivationGradient(kind) => (sum, sum * f64::from(saved(kind, at)[1])),
        };
        (Some(argument), Some(if self.ending.accumulate { value + f64::from(before(at)) } else { value }))
    }

    /// By how much a result may differ from `expected`: not at all, but for what a smooth activation rounds.
    fn slack(&self, out: Element, expected: f64) -> f64 {
        let (Epilogue::BiasActivation { activation, .. } | Epilogue::ActivationGradient(activation)) =
            self.ending.epilogue
        else {
            return 0.0;
        };
        match out {
            _ if activation.is_piecewise_linear() => 0.0,
            // A unit in the last place, and of numbers around 1 / 8.
            Element::Half => 2f64.powi(-10) * expected.abs() + 2f64.powi(-13),
            _ => 1e-5 * (1.0 + expected.abs()),
        }
    }
}

/// The bias of a column.
fn bias(column: usize) -> f32 {
    whole(3, column, 3) as f32 / 8.0
}

/// What the output holds before, where the kernel adds to it.
pub(crate) fn before(at: usize) -> f32 {
    whole(4, at, 3) as f32 / 8.0
}

/// What forward has saved for an activation's derivative, and the derivative there: a few bits.
fn saved(kind: Activation, at: usize) -> [f32; 2] {
    match kind {
        Activation::Identity => [0.5, 1.0],
        Activation::Relu if at.is_multiple_of(3) => [0.0, 0.0],
        Activation::Relu => [0.5, 1.0],
        Activation::Tanh => [0.5, 0.75],
        Activation::Sigmoid => [0.5, 0.25],
        Activation::Gelu | Activation::Silu | Activation::GeluTanh => [0.0, 0.5],
    }
}

fn activated(kind: Activation, x: f64) -> f64 {
    match kind {
        Activation::Identity => x,
        Activation::Relu => x.max(0.0),
        Activation::Gelu => 0.5 * x * (1.0 + erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Activation::Tanh => x.tanh(),
        Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Activation::Silu => x / (1.0 + (-x).exp()),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
        }
    }
}

/// To 1.5e-7: Abramowitz and Stegun, 7.1.26.
fn erf(x: f64) -> f64 {
    let t = 1.0 / (1.0 + 0.327_591_1 * x.abs());
    let p = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let sum = p.into_iter().fold(0.0, |sum, coefficient| (sum + coefficient) * t);
    (1.0 - sum * (-x * x).exp()).copysign(x)
}

/// Words of `values` stored as `element`.
fn stored(values: &[f32], element: Element) -> Vec<u32> {
    let bits = |value: Option<&f32>| u32::from(f16::from_f32(value.copied().unwrap_or(f32::NAN)).to_bits());
    match element {
        Element::Half => values.chunks(2).map(|pair| bits(pair.first()) | bits(pair.get(1)) << 16).collect(),
        _ => values.iter().map(|value| value.to_bits()).collect(),
    }
}

/// A tensor with NaN behind its end.
pub(crate) struct Guarded {
    pub(crate) view: View,
    whole: View,
}

impl Guarded {
    /// `count` elements that are NaN, or hold `values`.
    pub(crate) fn new(gpu: &Gpu, element: Element, count: usize, values: Option<&Vec<f32>>) -> Result<Self, GpuError> {
        let len = element.words(count);
        let mut words = values.map_or_else(|| vec![POISON; len], |values| stored(values, element));
        words.resize(len + ALIGNMENT_WORDS, POISON);
        let buffer = gpu.upload("trial", &words)?;
        Ok(Self { view: buffer.part(0, len)?.read_as(element, count)?, whole: buffer.view() })
    }

    /// The elements, or that there is something behind their end.
    pub(crate) fn read(&self, gpu: &Gpu) -> Result<Result<Vec<f32>, String>, GpuError> {
        let words: Vec<u32> = gpu.read(&self.whole)?;
        let element = self.view.element();
        let (tensor, behind) = words.split_at(element.words(self.view.len()));
        if behind.iter().any(|word| *word != POISON) {
            return Ok(Err("it writes past the end of its result".to_owned()));
        }
        let halves = |word: &u32| [*word as u16, (*word >> 16) as u16].map(|bits| f16::from_bits(bits).to_f32());
        Ok(Ok(match element {
            Element::Half => tensor.iter().flat_map(halves).take(self.view.len()).collect(),
            _ => tensor.iter().map(|word| f32::from_bits(*word)).collect(),
        }))
    }
}

/// Fails unless every element is finite and, where something is expected, within what `slack` says by its place and that; names
/// the first that is not.
pub(crate) fn judge(
    what: &str,
    found: &[f32],
    expected: &[Option<f64>],
    slack: impl Fn(usize, f64) -> f64,
) -> Result<(), String> {
    let right = |(at, (found, expected)): &(usize, (&f32, &Option<f64>))| match expected {
        Some(expected) => (f64::from(**found) - expected).abs() <= slack(*at, *expected),
        None => found.is_finite(),
    };
    let wrong: Vec<usize> =
        found.iter().zip(expected).enumerate().filter(|pair| !right(pair)).map(|(at, _)| at).collect();
    let Some(first) = wrong.first() else { return Ok(()) };
    let wanted = expected[*first].map_or_else(|| "a finite number".to_owned(), |value| value.to_string());
    Err(format!(
        "of {} elements of its {what}, {} are wrong, the first at {first}: expected {wanted}, found {}",
        found.len(),
        wrong.len(),
        found[*first],
    ))
}

#[cfg(test)]
mod tests;
