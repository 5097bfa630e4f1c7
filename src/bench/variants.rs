//! Every variant of a product or convolution that an adapter can run, timed side by side: what the tables of
//! `kernels::select` are made from.

use serde::Serialize;

use crate::{
    gpu::{Element, Gpu, GpuError},
    graph::Schedule,
    kernels::{
        AdapterClass, ConvPass, ConvShape, ConvVariant, Epilogue, MatmulLayout, MatmulShape, MatmulVariant,
        ProductOperands, conv, matmul,
    },
    ops::{ConvProduct, MatrixProduct},
    train::Precision,
};

use super::{
    filled, quantile, sorted,
    stopwatch::{Contender, Stopwatch},
};

/// A product that has several variants.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operation {
    /// A matrix product.
    Matmul(MatmulLayout, MatmulShape),
    /// A pass of a convolution.
    Conv(ConvPass, ConvShape),
}

impl Operation {
    /// A product in its three layouts.
    ///
    /// # Errors
    /// As [`MatmulShape::new`].
    pub fn layouts([m, n, k]: [usize; 3]) -> Result<Vec<Self>, GpuError> {
        let shape = MatmulShape::new(m, n, k)?;
        let layouts = [MatmulLayout::Forward, MatmulLayout::DataGradient, MatmulLayout::WeightGradient];
        Ok(layouts.map(|layout| Self::Matmul(layout, shape)).into())
    }

    /// The products of a schedule, each once.
    ///
    /// # Errors
    /// As [`MatmulShape::new`].
    pub fn from_schedule(schedule: &Schedule) -> Result<Vec<Self>, GpuError> {
        let mut found = Vec::new();
        for step in &schedule.steps {
            let call = &step.call;
            let operation = if let Some(product) = call.kernel_as::<MatrixProduct>() {
                let [m, n, k] = product.shape;
                Self::Matmul(product.layout, MatmulShape::new(m, n, k)?)
            } else if let Some(product) = call.kernel_as::<ConvProduct>() {
                Self::Conv(product.pass, product.shape)
            } else {
                continue;
            };
            if !found.contains(&operation) {
                found.push(operation);
            }
        }
        Ok(found)
    }

    fn flops(&self) -> u64 {
        match self {
            Self::Matmul(_, shape) => shape.flops(),
            Self::Conv(_, shape) => shape.flops(),
        }
    }

    /// Each variant with its dispatches, and whether it is the one that would be taken.
    fn candidates(&self, gpu: &Gpu, element: Element) -> Result<Vec<Candidate>, GpuError> {
        match *self {
            Self::Matmul(layout, shape) => matmul_candidates(gpu, element, layout, shape),
            Self::Conv(pass, shape) => conv_candidates(gpu, element, pass, &shape),
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Matmul(layout, MatmulShape { m, n, k }) => write!(f, "{layout:?} m {m}, n {n}, k {k}"),
            Self::Conv(pass, shape) => write!(f, "{pass:?} {shape}"),
        }
    }
}

/// One variant's time.
#[derive(Clone, Debug, Serialize)]
pub struct VariantTime {
    /// Its name in the code.
    pub variant: String,
    /// Whether the adapter's table takes it.
    pub chosen: bool,
    /// Median of the rounds.
    pub median_ms: f64,
    /// Fastest round.
    pub min_ms: f64,
    /// At the median, by the definition's operations.
    pub gflops: f64,
}

/// The times of an operation's variants.
#[derive(Clone, Debug, Serialize)]
pub struct OperationReport {
    /// Kind and sizes.
    pub operation: String,
    /// Every variant that was timed.
    pub variants: Vec<VariantTime>,
}

/// The times of every variant of every operation asked for.
#[derive(Clone, Debug, Serialize)]
pub struct VariantReport {
    /// The adapter.
    pub adapter: String,
    /// How operands are stored, and results but for gradients of weights, which are f32 in either.
    pub precision: Precision,
    /// Each operation.
    pub operations: Vec<OperationReport>,
}

struct Candidate {
    variant: String,
    chosen: bool,
    timed: Contender,
}

/// Those that the device computes right, with the one marked that a step would take.
fn admitted(
    candidates: impl Iterator<Item = Result<Candidate, GpuError>>,
    choice: impl Fn(AdapterClass) -> String,
    class: AdapterClass,
) -> Result<Vec<Candidate>, GpuError> {
    let right = candidates.filter(|candidate| !matches!(candidate, Err(GpuError::Refused { .. })));
    let mut right = right.collect::<Result<Vec<_>, _>>()?;
    for choice in [class, class.without_matrices()].map(choice) {
        if let Some(candidate) = right.iter_mut().find(|candidate| candidate.variant == choice) {
            candidate.chosen = true;
            break;
        }
    }
    Ok(right)
}

fn matmul_candidates(
    gpu: &Gpu,
    element: Element,
    layout: MatmulLayout,
    shape: MatmulShape,
) -> Result<Vec<Candidate>, GpuError> {
    let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
    let result = if layout == MatmulLayout::WeightGradient { Element::Word } else { element };
    let (a, b, c) = (filled(gpu, element, m * k)?, filled(gpu, element, k * n)?, filled(gpu, result, m * n)?);
    let candidate = |variant: MatmulVariant| {
        let words = variant.scratch_words(shape);
        let scratch = gpu.buffer("scratch", words)?.part(0, words)?;
        let operands = ProductOperands { a: &a, b: &b, aux: None, c: &c, pre: None, scratch: Some(&scratch) };
        Ok(Candidate {
            variant: format!("{variant:?}"),
            chosen: false,
            timed: Contender::new(matmul(gpu, variant, layout, shape, Epilogue::Plain, false, &operands)?),
        })
    };
    let candidates = MatmulVariant::available(gpu, element).into_iter().map(candidate);
    let choice = |class: AdapterClass| format!("{:?}", class.matmul_variant(element, shape));
    admitted(candidates, choice, AdapterClass::for_device(gpu))
}

fn conv_candidates(gpu: &Gpu, element: Element, pass: ConvPass, shape: &ConvShape) -> Result<Vec<Candidate>, GpuError> {
    let [input, output] = shape.words();
    let result = if pass == ConvPass::WeightGradient { Element::Word } else { element };
    // Weights packed or not: both lengths lie in one buffer.
    let weights = gpu.buffer("weights", element.words(shape.packed_words().max(shape.weight_words())))?;
    let (a, b, c) = match pass {
        ConvPass::Forward => (input, None, output),
        ConvPass::DataGradient => (output, None, input),
        ConvPass::WeightGradient => (output, Some(input), shape.weight_words()),
    };
    let b = b.map(|count| filled(gpu, element, count)).transpose()?;
    let (a, c) = (filled(gpu, element, a)?, filled(gpu, result, c)?);
    let candidate = |variant: ConvVariant| {
        let words = variant.scratch_words(AdapterClass::for_device(gpu), shape, pass);
        let scratch = gpu.buffer("scratch", words)?.part(0, words)?;
        let packed = if variant.wants_packed() { shape.packed_words() } else { shape.weight_words() };
        let weights = weights.part(0, element.words(packed))?.read_as(element, packed)?;
        let b = b.as_ref().unwrap_or(&weights);
        let operands = ProductOperands { a: &a, b, aux: None, c: &c, pre: None, scratch: Some(&scratch) };
        Ok(Candidate {
            variant: format!("{variant:?}"),
            chosen: false,
            timed: Contender::new(conv(gpu, variant, pass, shape, Epilogue::Plain, false, &operands)?),
        })
    };
    // An element at a time is for what no product fits; where one does, it only takes long.
    let products = |variant: &ConvVariant| !variant.is_direct() || shape.groups() > 1;
    let candidates = ConvVariant::available(gpu, element, shape, pass).into_iter().filter(products).map(candidate);
    let choice = |class: AdapterClass| format!("{:?}", class.conv_variant(element, shape, pass));
    admitted(candidates, choice, AdapterClass::for_device(gpu))
}

/// Times every variant of the operations in a precision, by the device's timestamps where it has them, after a warm-up. The
/// variants take turns for `rounds` rounds or, once each has had one, until an operation's rounds have taken `seconds`; on a
/// GPU a round repeats a variant for some milliseconds.
///
/// # Errors
/// Those of the device.
pub fn bench_variants(
    gpu: &Gpu,
    operations: &[Operation],
    precision: Precision,
    rounds: u32,
    seconds: f64,
) -> Result<VariantReport, GpuError> {
    precision.expect(gpu)?;
    let mut watch = Stopwatch::new(gpu)?;
    let mut reports = Vec::new();
    for operation in operations {
        let mut candidates = operation.candidates(gpu, precision.element())?;
        let mut contenders: Vec<_> = candidates.iter_mut().map(|candidate| &mut candidate.timed).collect();
        watch.warm_up(&mut contenders)?;
        let started = std::time::Instant::now();
        for round in 0..rounds.max(1) {
            if round > 0 && started.elapsed().as_secs_f64() > seconds {
                break;
            }
            contenders.iter_mut().try_for_each(|contender| watch.round(contender))?;
        }
        let variants = candidates.into_iter().map(|candidate| {
            let times = sorted(candidate.timed.times);
            let median_ms = quantile(&times, 0.5);
            VariantTime {
                variant: candidate.variant,
                chosen: candidate.chosen,
                median_ms,
                min_ms: quantile(&times, 0.0),
                gflops: operation.flops() as f64 / median_ms * 1e-6,
            }
        });
        reports.push(OperationReport { operation: operation.to_string(), variants: variants.collect() });
    }
    Ok(VariantReport { adapter: gpu.adapter_name().to_owned(), precision, operations: reports })
}
