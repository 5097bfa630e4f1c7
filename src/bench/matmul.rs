//! A product in its three layouts.

use serde::Serialize;

use crate::{
    gpu::{Element, Gpu, GpuError},
    kernels::{Epilogue, MatmulLayout, MatmulShape, ProductOperands, matmul, with_variants},
    train::Precision,
};

use super::{
    filled, quantile, sorted,
    stopwatch::{Contender, Stopwatch},
};

/// What to time.
#[derive(Clone, Copy, Debug)]
pub struct MatmulBench {
    /// m, n, k.
    pub shape: [usize; 3],
    /// How operands are stored, and results but for gradients of weights, which are f32 in either.
    pub precision: Precision,
    /// Timed runs of each layout.
    pub rounds: u32,
}

/// One layout's time.
#[derive(Clone, Debug, Serialize)]
pub struct LayoutReport {
    /// Forward, data gradient or weight gradient.
    pub layout: String,
    /// The variant chosen for adapter and shape.
    pub variant: String,
    /// Median of the rounds.
    pub median_ms: f64,
    /// Fastest round.
    pub min_ms: f64,
    /// At the median.
    pub gflops: f64,
}

/// The three layouts' times.
#[derive(Clone, Debug, Serialize)]
pub struct MatmulReport {
    /// The adapter.
    pub adapter: String,
    /// m, n, k.
    pub shape: [usize; 3],
    /// As asked for.
    pub precision: Precision,
    /// Of the forward layout at the median.
    pub gflops: f64,
    /// Each layout.
    pub layouts: Vec<LayoutReport>,
}

/// Times the product, by the device's timestamps where it has them, after a warm-up, the layouts taking turns.
///
/// # Errors
/// Those of the device; [`GpuError::MissingFeature`] for f16 on an adapter without.
pub fn bench_matmul(gpu: &Gpu, bench: &MatmulBench) -> Result<MatmulReport, GpuError> {
    let [m, n, k] = bench.shape;
    let shape = MatmulShape::new(m, n, k)?;
    bench.precision.expect(gpu)?;
    let element = bench.precision.element();
    let (a, b) = (filled(gpu, element, m * k)?, filled(gpu, element, k * n)?);
    let layouts = [MatmulLayout::Forward, MatmulLayout::DataGradient, MatmulLayout::WeightGradient];
    let mut products = Vec::new();
    for layout in layouts {
        let result = if layout == MatmulLayout::WeightGradient { Element::Word } else { element };
        let c = filled(gpu, result, m * n)?;
        let (variant, product) = with_variants(gpu, |class| {
            let variant = class.matmul_variant(element, shape);
            let scratch = gpu.buffer("scratch", variant.scratch_words(shape))?.part(0, variant.scratch_words(shape))?;
            let operands = ProductOperands { a: &a, b: &b, aux: None, c: &c, pre: None, scratch: Some(&scratch) };
            let product = matmul(gpu, variant, layout, shape, Epilogue::Plain, false, &operands)?;
            Ok((variant, product))
        })?;
        products.push(((layout, variant), Contender::new(product)));
    }
    let mut watch = Stopwatch::new(gpu)?;
    let mut contenders: Vec<_> = products.iter_mut().map(|(_, product)| product).collect();
    watch.warm_up(&mut contenders)?;
    for _ in 0..bench.rounds {
        contenders.iter_mut().try_for_each(|contender| watch.round(contender))?;
    }
    let layouts: Vec<_> = products
        .into_iter()
        .map(|((layout, variant), product)| {
            let times = sorted(product.times);
            let median_ms = quantile(&times, 0.5);
            LayoutReport {
                layout: format!("{layout:?}"),
                variant: format!("{variant:?}"),
                median_ms,
                min_ms: quantile(&times, 0.0),
                gflops: shape.flops() as f64 / median_ms * 1e-6,
            }
        })
        .collect();
    let gflops = layouts.first().map_or(f64::NAN, |forward| forward.gflops);
    Ok(MatmulReport {
        adapter: gpu.adapter_name().to_owned(),
        shape: bench.shape,
        precision: bench.precision,
        gflops,
        layouts,
    })
}
