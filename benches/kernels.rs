//! Kernels on the adapter of `JOSTLE_ADAPTER`: products in every variant and layout, the update with and without noise.
//!
//! A time is that of many dispatches submitted together, divided by their number, so that a submit's cost stays out.
//! Run with `cargo bench -p jostle-benches`; criterion reports rates as elements (multiply-adds) or bytes a second.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench fails by panicking; criterion's macros make functions")]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use jostle::{
    gpu::{AdapterChoice, Dispatch, Element, Gpu, Recorder},
    kernels::{
        AdapterClass, Arena, ArenaLayout, Epilogue, MatmulLayout, MatmulShape, MatmulVariant, NoiseRange, NoiseStep,
        ProductOperands, SgdStep, UpdateSgd, UpdateVariant, matmul,
    },
};

const BATCHED: u64 = 4;

/// Time of `count` runs of what `record` records, in submits of a few.
fn timed(gpu: &Gpu, count: u64, record: impl Fn(&mut Recorder<'_>)) -> Duration {
    gpu.wait().unwrap();
    let started = Instant::now();
    let mut left = count;
    while left > 0 {
        let mut recorder = gpu.record();
        for _ in 0..left.min(BATCHED) {
            record(&mut recorder);
        }
        recorder.submit().unwrap();
        left -= left.min(BATCHED);
    }
    gpu.wait().unwrap();
    started.elapsed()
}

fn product(gpu: &Gpu, variant: MatmulVariant, layout: MatmulLayout, [m, n, k]: [usize; 3]) -> Vec<Dispatch> {
    let fill = |count: usize| -> Vec<f32> { (0..count).map(|i| (i % 17) as f32 / 17.0 - 0.5).collect() };
    let (a, b) = (gpu.upload("a", &fill(m * k)).unwrap(), gpu.upload("b", &fill(k * n)).unwrap());
    let c = gpu.buffer("c", m * n).unwrap();
    let shape = MatmulShape::new(m, n, k).unwrap();
    let words = variant.scratch_words(shape);
    let scratch = gpu.buffer("scratch", words).unwrap().part(0, words).unwrap();
    let (a, b, c) = (a.view(), b.view(), c.view());
    let operands = ProductOperands { a: &a, b: &b, aux: None, c: &c, pre: None, scratch: Some(&scratch) };
    matmul(gpu, variant, layout, shape, Epilogue::Plain, false, &operands).unwrap()
}

fn products(criterion: &mut Criterion) {
    let gpu = Gpu::new(&AdapterChoice::from_environment()).unwrap();
    let layouts = [
        (MatmulLayout::Forward, [128, 500, 784]),
        (MatmulLayout::DataGradient, [128, 500, 500]),
        (MatmulLayout::WeightGradient, [500, 784, 128]),
    ];
    for (layout, shape) in layouts.into_iter().chain(layouts.map(|(layout, _)| (layout, [1024; 3]))) {
        let mut group = criterion.benchmark_group(format!("{layout:?} {shape:?}"));
        group.throughput(Throughput::Elements(shape.iter().map(|side| *side as u64).product()));
        for variant in MatmulVariant::available(&gpu, Element::Word) {
            let product = product(&gpu, variant, layout, shape);
            group.bench_function(format!("{variant:?}"), |bencher| {
                bencher
                    .iter_custom(|count| timed(&gpu, count, |recorder| product.iter().for_each(|d| recorder.run(d))));
            });
        }
    }
}

fn update(criterion: &mut Criterion) {
    let gpu = Gpu::new(&AdapterChoice::from_environment()).unwrap();
    let layout = ArenaLayout::new([[1 << 20].as_slice()]);
    let words = layout.words();
    let arena = Arena::new(&gpu, layout, &[1.0]).unwrap();
    let velocity = gpu.buffer("velocity", words).unwrap();
    let gaussian = jostle::noise::Distribution::Gaussian.code();
    let variant = UpdateVariant {
        noise: gaussian,
        scaled: false,
        decay_matrices: false,
        decay_seen: false,
        orthogonal: false,
        separate: false,
    };
    let kernel = UpdateSgd::new(&gpu, AdapterClass::for_device(&gpu), &arena, &[&velocity], variant).unwrap();
    let mut group = criterion.benchmark_group("sgd update of 2^20 weights");
    group.throughput(Throughput::Bytes(words as u64 * 4 * 6));
    for noisy in [false, true] {
        let ranges = [NoiseRange { blocks: 0..arena.layout.blocks(), noisy }];
        let noise = NoiseStep { sigma: 0.1, ..NoiseStep::default() };
        let values =
            SgdStep { noise, learning_rate: 0.01, momentum: 0.9, one_minus_dampening: 1.0, ..SgdStep::default() };
        group.bench_function(if noisy { "with noise" } else { "without noise" }, |bencher| {
            bencher.iter_custom(|count| {
                timed(&gpu, count, |recorder| kernel.record(&gpu, recorder, &ranges, values).unwrap())
            });
        });
    }
}

criterion_group! {
    name = kernels;
    config = Criterion::default().sample_size(10).measurement_time(Duration::from_secs(3));
    targets = products, update
}
criterion_main!(kernels);
