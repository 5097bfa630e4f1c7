//! Kernels are compiled without bounds checks: with checks injected they have to give the same bits.

use crate::common::{
    awkward, batch_norm, bits, checked_device, classes as adapter_classes, device, guarded,
    network::{SHAPES, arena, scheme, set},
    poisoned, run, samples, words,
};
use jostle::{
    gpu::{Element, Gpu},
    graph::LossTerms,
    kernels::{
        Activation, AdapterClass, Augmentation, BlockTile, ConvOptions, ConvPass, ConvShape, ConvVariant, Elementwise,
        Epilogue, Gather, GatherForm, GatherViews, MatmulLayout, MatmulShape, MatmulVariant, MetricsSum, NoiseUnit,
        Norms, PackJob, Perturb, ProductOperands, SampleElement, column_sum, column_sum_scratch_words, conv, conv_pack,
        elementwise, init_uniform, matmul,
    },
    noise::{Distribution, Mode, NoiseConfig},
    ops::{
        BatchNormVariant, LossBuffers, LossGradient, MseTargets, NormShape, affine_gradient, group_normalise, mse,
        softmax_nll,
    },
    optim::{Optimizer, OptimizerConfig, OptimizerKind},
    schedule::Moment,
};

/// Named results of a device.
type Results = Vec<(String, Vec<f32>)>;

/// Each variant in one layout, the next variant in the next: the sanitizer watches all of them.
fn products(gpu: &Gpu, results: &mut Results) {
    let tried = [
        (MatmulLayout::Forward, [66, 65, 19]),
        (MatmulLayout::DataGradient, [17, 31, 13]),
        (MatmulLayout::WeightGradient, [5, 6, 300]),
    ];
    for (variant, (layout, [m, n, k])) in
        MatmulVariant::available(gpu, Element::Word).into_iter().zip(tried.into_iter().cycle())
    {
        let (a, b) = (guarded(gpu, &awkward(91, m * k, 1.0)), guarded(gpu, &awkward(92, k * n, 1.0)));
        let (aux, c, pre) = (guarded(gpu, &samples(93, n, 1.0)), poisoned(gpu, m * n), poisoned(gpu, m * n));
        let shape = MatmulShape::new(m, n, k).unwrap();
        let scratch = poisoned(gpu, variant.scratch_words(shape));
        let operands = ProductOperands {
            a: &a.view,
            b: &b.view,
            aux: Some(&aux.view),
            c: &c.view,
            pre: Some(&pre.view),
            scratch: Some(&scratch.view),
        };
        let epilogue = Epilogue::BiasActivation { activation: Activation::Relu, store_pre: true };
        run(gpu, &matmul(gpu, variant, layout, shape, epilogue, false, &operands).unwrap());
        let name = format!("{variant:?} {layout:?} {m} {n} {k}");
        results.push((name.clone(), c.read(gpu)));
        results.push((name + ", pre", pre.read(gpu)));
    }
}

fn convolutions(gpu: &Gpu, results: &mut Results) {
    let three = ConvOptions::square(3).padding(1);
    for (outputs, options) in [(9, three), (35, three.stride(2))] {
        let (batch, input) = (2, [9, 15, 7]);
        let shape = ConvShape::new(batch, input, outputs, &options).unwrap();
        let [x, y] = shape.words().map(|words| guarded(gpu, &samples(96, words, 1.0)));
        let weight = guarded(gpu, &samples(97, shape.weight_words(), 0.5));
        let packed = poisoned(gpu, shape.packed_words());
        for class in adapter_classes() {
            let job = PackJob { shape: &shape, weight: &weight.view, output: &packed.view };
            run(gpu, &conv_pack(gpu, class, &[job]).unwrap());
            results.push((format!("packed {outputs} {class:?}"), packed.read(gpu)));
        }
        // A kernel is compiled for each, twice. Strides are constants of the same kernels, and so are rectangular tiles' sides: with
        // strides one variant of each kernel is tried.
        let once =
            [ConvVariant::Direct, ConvVariant::Tile, ConvVariant::Block(BlockTile::SMALL), ConvVariant::Software];
        let rectangles = [BlockTile::TALL, BlockTile::WIDE].map(ConvVariant::Block);
        let tried = |variant: &ConvVariant| match options == three {
            true => !rectangles.contains(variant),
            false => once.contains(variant),
        };
        for pass in [ConvPass::Forward, ConvPass::DataGradient, ConvPass::WeightGradient] {
            let variants = ConvVariant::available(gpu, Element::Word, &shape, pass);
            for variant in variants.into_iter().filter(tried) {
                let weights = if variant.wants_packed() { &packed } else { &weight };
                let (a, b, like) = match pass {
                    ConvPass::Forward => (&x, weights, y.view.len()),
                    ConvPass::DataGradient => (&y, weights, x.view.len()),
                    ConvPass::WeightGradient => (&y, &x, shape.weight_words()),
                };
                let (c, scratch) = (
                    poisoned(gpu, like),
                    poisoned(gpu, variant.scratch_words(AdapterClass::for_device(gpu), &shape, pass)),
                );
                let (a, b) = (&a.view, &b.view);
                let operands = ProductOperands { a, b, aux: None, c: &c.view, pre: None, scratch: Some(&scratch.view) };
                run(gpu, &conv(gpu, variant, pass, &shape, Epilogue::Plain, false, &operands).unwrap());
                results.push((format!("{variant:?} {pass:?} {shape}"), c.read(gpu)));
            }
        }
    }
}

fn batch_norms(gpu: &Gpu, results: &mut Results) {
    for (shape, valid) in [([3, 11 * 13, 9], 2), ([2, 5, 70], 2)] {
        let case = batch_norm::Case::new(shape, valid).with_residual();
        for variant in BatchNormVariant::ALL {
            for evaluate in [false, true] {
                let name = format!("batch norm {shape:?} {variant:?} {evaluate}");
                results.push((name, case.run(gpu, variant, evaluate).values()));
            }
        }
    }
}

fn rows(gpu: &Gpu, results: &mut Results) {
    let [batch, classes] = [13, 7];
    let input = guarded(gpu, &awkward(94, batch * classes, 2.0));
    let labels = words(gpu, &(0..batch as u32).map(|i| i * 3 % classes as u32).collect::<Vec<_>>());
    let indices = words(gpu, &(0..batch as u32).rev().collect::<Vec<_>>());
    for (class, is_nll) in adapter_classes().into_iter().flat_map(|class| [(class, true), (class, false)]) {
        let (grad, stats, metrics) = (poisoned(gpu, batch * classes), poisoned(gpu, batch * 2), poisoned(gpu, 4));
        let buffers = LossBuffers {
            logits: &input.view,
            labels: &labels,
            indices: &indices,
            windows: false,
            gradient: LossGradient::Apart(&grad.view),
            row_stats: &stats.view,
            scaling: None,
        };
        let loss = if is_nll {
            softmax_nll(gpu, class, &buffers, [batch, 1, classes]).unwrap()
        } else {
            mse(gpu, class, &buffers, MseTargets::OneHot, [batch, 1, classes]).unwrap()
        };
        let sum = MetricsSum::new(gpu, &stats.view, &metrics.view, batch).unwrap();
        let mut recorder = gpu.record();
        loss.record(&mut recorder, 2, 11, LossTerms::mean_over(11));
        sum.record(&mut recorder, 1, false);
        recorder.submit().unwrap();
        for (name, buffer) in [("gradient", grad), ("rows", stats), ("metrics", metrics)] {
            results.push((format!("loss {is_nll} {class:?} {name}"), buffer.read(gpu)));
        }
    }
    for (class, sizes) in
        adapter_classes().into_iter().flat_map(|class| [batch, 1100].map(|rows| (class, [rows, 7, 9])))
    {
        let input = guarded(gpu, &awkward(98, sizes[0] * sizes[2], 2.0));
        let (sums, scratch) = (poisoned(gpu, sizes[1]), poisoned(gpu, column_sum_scratch_words(class, sizes)));
        run(gpu, &column_sum(gpu, class, [&input.view, &sums.view, &scratch.view], sizes, false).unwrap());
        results.push((format!("column sums {sizes:?} {class:?}"), sums.read(gpu)));
        let shape = NormShape::new([sizes[0], 3, 2, 3], 1, false, 1e-5).unwrap();
        let [xhat, inv_std, scratch] =
            [sizes[0] * 9, sizes[0], shape.gradient_scratch_words(class)].map(|count| poisoned(gpu, count));
        let [scale, shift] = [2; 2].map(|count| poisoned(gpu, count));
        let views = [&input.view, &xhat.view, &scratch.view];
        run(gpu, &[&group_normalise(gpu, class, &shape, [&input.view, &xhat.view], &inv_std.view, None).unwrap()]);
        run(gpu, &affine_gradient(gpu, class, &shape, views, &scale.view, Some(&shift.view), false).unwrap());
        for (name, sums) in [("normalised", xhat), ("scale", scale), ("shift", shift)] {
            results.push((format!("{name} {sizes:?} {class:?}"), sums.read(gpu)));
        }
    }
    let output = poisoned(gpu, 6 * 5);
    let bytes = words(gpu, &(0..17).map(|i| 0x0102_0304 * (i + 1)).collect::<Vec<_>>());
    let normalisation = gpu.upload("normalisation", &[0.1f32, -1.0]).unwrap().view();
    let (ids, output_view) = (&indices, &output.view);
    let views =
        GatherViews { samples: &bytes, indices: &indices, ids, normalisation: &normalisation, output: output_view };
    let form = GatherForm { element: SampleElement::U8, planar: true };
    let gather = Gather::new(gpu, &views, 6, [1, 1, 5], form, Augmentation::default()).unwrap();
    let mut recorder = gpu.record();
    gather.record(&mut recorder, 9, 4, 0);
    recorder.submit().unwrap();
    results.push(("gather".to_owned(), output.read(gpu)));
    for kind in Activation::ALL {
        let output = poisoned(gpu, batch * classes);
        let views = [&input.view, &input.view, &output.view];
        run(gpu, &[&elementwise(gpu, Elementwise::Activate(kind), views, false).unwrap()]);
        results.push((kind.to_string(), output.read(gpu)));
    }
}

fn arenas(gpu: &Gpu, results: &mut Results) {
    let weights: Vec<Vec<f32>> = SHAPES.iter().map(|shape| samples(95, shape.iter().product(), 0.5)).collect();
    for distribution in Distribution::ALL {
        // The others' sweeps differ from these in arithmetic alone: one distribution is enough.
        let two = [OptimizerKind::Sgd, OptimizerKind::AdamW];
        let kinds = if distribution == Distribution::Gaussian { &OptimizerKind::ALL[..] } else { &two };
        for (kind, class) in kinds.iter().flat_map(|kind| adapter_classes().map(|class| (*kind, class))) {
            let config = NoiseConfig { mode: Mode::Layer, sigma: 0.1, distribution, ..NoiseConfig::default() };
            let scheme = scheme(config, 3);
            let arena = arena(gpu, &scheme, &weights);
            set(gpu, &arena, &arena.grads, &weights);
            let config = OptimizerConfig { kind, momentum: 0.9, ..OptimizerConfig::default() };
            let mut optimizer = Optimizer::new(gpu, class, config, &arena, distribution.code(), false).unwrap();
            let kernel = Perturb::new(gpu, class, &arena, distribution.code(), NoiseUnit::Filter).unwrap();
            let mut recorder = gpu.record();
            optimizer.record(gpu, &mut recorder, optimizer.rate(0.1), &scheme.at(1, Moment::START).into()).unwrap();
            recorder.submit().unwrap();
            let name = format!("{distribution} {kind} {class:?}");
            results.push((format!("{name} weights"), gpu.read(&arena.weights.view()).unwrap()));
            results.push((format!("{name} noisy"), gpu.read(&arena.weights_eff.view()).unwrap()));
            let at = scheme.at(2, Moment::START);
            crate::common::network::perturb(gpu, &kernel, &at);
            results.push((format!("{name} filter"), gpu.read(&arena.weights_eff.view()).unwrap()));
            let (l1, l2) = Norms::new(gpu, class, &arena.weights).unwrap().read(gpu).unwrap();
            results.push((format!("{name} norms"), vec![l1 as f32, l2 as f32]));
        }
    }
    let drawn = poisoned(gpu, 131);
    run(gpu, &[&init_uniform(gpu, &drawn.view, 0, 1, 2, 0.5).unwrap()]);
    results.push(("initialisation".to_owned(), drawn.read(gpu)));
}

/// Compares what a room of kernels gives with checks and without.
fn compare(room: impl Fn(&Gpu, &mut Results)) {
    let results_on = |gpu: &Gpu| {
        let mut results = Results::new();
        room(gpu, &mut results);
        results
    };
    let (unchecked, checked) = (results_on(device()), results_on(checked_device()));
    assert!(!unchecked.is_empty());
    assert_eq!(unchecked.len(), checked.len());
    for ((name, a), (_, b)) in unchecked.iter().zip(&checked) {
        assert_eq!(bits(a), bits(b), "{name}");
    }
}

#[test]
fn products_need_no_bounds_checks() {
    compare(products);
}

#[test]
fn convolutions_need_no_bounds_checks() {
    compare(convolutions);
}

#[test]
fn norms_and_losses_need_no_bounds_checks() {
    compare(|gpu, results| {
        batch_norms(gpu, results);
        rows(gpu, results);
    });
}

#[test]
fn updates_need_no_bounds_checks() {
    compare(arenas);
}
