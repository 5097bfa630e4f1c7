//! Every variant of a product or convolution that an adapter can run, timed side by side: what the tables of
//! `kernels::select` are made from.

use serde::Serialize;

use crate::{
    gpu::{Dispatch, Element, Gpu, GpuError, View},
    graph::{Call, Schedule},
    kernels::{
        ConvOperands, ConvPass, ConvShape, ConvVariant, Epilogue, MatmulLayout, MatmulOperands, MatmulShape,
        MatmulVariant, conv, conv_variant, matmul, matmul_variant,
    },
};

use super::{quantile, sorted, timed};

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
    pub fn of(schedule: &Schedule) -> Result<Vec<Self>, GpuError> {
        let mut found = Vec::new();
        for step in &schedule.steps {
            let operation = match &step.call {
                Call::Matmul(call) => {
                    let [m, n, k] = call.shape;
                    Self::Matmul(call.layout, MatmulShape::new(m, n, k)?)
                }
                Call::Conv(call) => Self::Conv(call.pass, call.shape),
                _ => continue,
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
    fn candidates(&self, gpu: &Gpu) -> Result<Vec<Candidate>, GpuError> {
        match *self {
            Self::Matmul(layout, shape) => matmul_candidates(gpu, layout, shape),
            Self::Conv(pass, shape) => conv_candidates(gpu, pass, &shape),
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
    /// Each operation.
    pub operations: Vec<OperationReport>,
}

struct Candidate {
    variant: String,
    chosen: bool,
    dispatches: Vec<Dispatch>,
    times: Vec<f64>,
}

/// A view of `words` words of numbers around 0.
fn filled(gpu: &Gpu, words: usize) -> Result<View, GpuError> {
    let values: Vec<f32> = (0..words).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect();
    gpu.upload("operand", &values)?.part(0, words)
}

fn matmul_candidates(gpu: &Gpu, layout: MatmulLayout, shape: MatmulShape) -> Result<Vec<Candidate>, GpuError> {
    let [m, n, k] = [shape.m, shape.n, shape.k].map(|side| side as usize);
    let (a, b, c) = (filled(gpu, m * k)?, filled(gpu, k * n)?, filled(gpu, m * n)?);
    let candidate = |variant: MatmulVariant| {
        let words = variant.scratch_words(shape);
        let scratch = gpu.buffer("scratch", words)?.part(0, words)?;
        let of = MatmulOperands { a: &a, b: &b, aux: None, c: &c, pre: None, scratch: Some(&scratch) };
        Ok(Candidate {
            variant: format!("{variant:?}"),
            chosen: variant == matmul_variant(gpu, Element::Word, shape),
            dispatches: matmul(gpu, variant, layout, shape, Epilogue::Plain, false, &of)?,
            times: Vec::new(),
        })
    };
    MatmulVariant::available(gpu, Element::Word).into_iter().map(candidate).collect()
}

fn conv_candidates(gpu: &Gpu, pass: ConvPass, shape: &ConvShape) -> Result<Vec<Candidate>, GpuError> {
    let [input, output] = shape.words();
    // Weights packed or not: both lengths lie in one buffer.
    let weights = gpu.buffer("weights", shape.packed_words().max(shape.weight_words()))?;
    let (a, b, c) = match pass {
        ConvPass::Forward => (input, None, output),
        ConvPass::DataGradient => (output, None, input),
        ConvPass::WeightGradient => (output, Some(input), shape.weight_words()),
    };
    let (a, b, c) = (filled(gpu, a)?, b.map(|words| filled(gpu, words)).transpose()?, filled(gpu, c)?);
    let candidate = |variant: ConvVariant| {
        let words = variant.scratch_words(shape, pass);
        let scratch = gpu.buffer("scratch", words)?.part(0, words)?;
        let packed = if variant.wants_packed() { shape.packed_words() } else { shape.weight_words() };
        let weights = weights.part(0, packed)?;
        let b = b.as_ref().unwrap_or(&weights);
        let of = ConvOperands { a: &a, b, aux: None, c: &c, pre: None, scratch: Some(&scratch) };
        Ok(Candidate {
            variant: format!("{variant:?}"),
            chosen: variant == conv_variant(gpu, Element::Word, shape, pass),
            dispatches: conv(gpu, variant, pass, shape, Epilogue::Plain, false, &of)?,
            times: Vec::new(),
        })
    };
    // An element at a time is for what no product fits; where one does, it only takes long.
    let products = |variant: &ConvVariant| !variant.is_direct() || shape.groups() > 1;
    ConvVariant::available(gpu, Element::Word, shape, pass).into_iter().filter(products).map(candidate).collect()
}

/// Times every variant of the operations, each from submit to done, the variants taking turns for `rounds` rounds or, once
/// each has had one, until an operation has taken `seconds`.
///
/// # Errors
/// Those of the device.
pub fn bench_variants(
    gpu: &Gpu,
    operations: &[Operation],
    rounds: u32,
    seconds: f64,
) -> Result<VariantReport, GpuError> {
    let mut reports = Vec::new();
    for operation in operations {
        let mut candidates = operation.candidates(gpu)?;
        let started = std::time::Instant::now();
        // The first run of each compiles and warms up, and counts for nothing.
        for candidate in &candidates {
            timed(gpu, &candidate.dispatches)?;
        }
        for round in 0..rounds.max(1) {
            if round > 0 && started.elapsed().as_secs_f64() > seconds {
                break;
            }
            for candidate in &mut candidates {
                candidate.times.push(timed(gpu, &candidate.dispatches)?);
            }
        }
        let variants = candidates.into_iter().map(|candidate| {
            let times = sorted(candidate.times);
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
    Ok(VariantReport { adapter: gpu.adapter_name().to_owned(), operations: reports })
}
