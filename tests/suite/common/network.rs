//! Arenas with noise schemes, as training has them.

use super::{images::hashed_squares, samples};
use jostle::{
    gpu::{Buffer, Gpu},
    graph::{BatchInfo, Graph, Param, Plan, Schedule},
    kernels::{Arena, ArenaLayout, EffectiveWeights, Perturb},
    noise::{NoiseConfig, NoiseTensor, Scheme, StepNoise},
    train::DeviceData,
};

/// Tensors of odd sizes: two modules of weight and bias, and a lone weight of more than a block of filters.
pub const SHAPES: [&[usize]; 5] = [&[17, 13], &[17], &[3, 17], &[3], &[70, 1]];

/// What the noise knows of [`SHAPES`]: the modules of weight and bias make a block, the second packs three projections of a row
/// each, the lone weight two.
pub fn tensors() -> Vec<NoiseTensor> {
    let tensors = [(0, Some(0), 0, true), (0, Some(0), 0, false), (1, Some(0), 3, true), (1, Some(0), 3, false)];
    let tensors = tensors.into_iter().chain([(2, None, 2, true)]);
    tensors
        .map(|(module, block, projections, is_weight)| NoiseTensor { module, block, projections, is_weight })
        .collect()
}

pub fn layout() -> ArenaLayout {
    ArenaLayout::new(SHAPES)
}

pub fn scheme(config: NoiseConfig, seed: u64) -> Scheme {
    Scheme::new(config, &layout(), &tensors(), seed)
}

/// An arena of [`SHAPES`] with these values as weights, NaN as noisy weights, 0 as padding.
pub fn arena(gpu: &Gpu, scheme: &Scheme, weights: &[Vec<f32>]) -> Arena {
    let arena = Arena::new(gpu, layout(), &scheme.scales()).expect("arena");
    set(gpu, &arena, &arena.weights, weights);
    gpu.write(&arena.weights_eff.view(), &vec![f32::NAN; arena.layout.words()]).expect("write");
    arena
}

/// Writes tensors into one of the arenas, without touching the padding.
pub fn set(gpu: &Gpu, arena: &Arena, buffer: &Buffer, tensors: &[Vec<f32>]) {
    for (tensor, values) in tensors.iter().enumerate() {
        gpu.write(&arena.tensor(buffer, tensor).expect("tensor"), values).expect("write");
    }
}

/// The tensors of one of the arenas.
pub fn get(gpu: &Gpu, arena: &Arena, buffer: &Buffer) -> Vec<Vec<f32>> {
    let count = arena.layout.spans().len();
    (0..count).map(|tensor| gpu.read(&arena.tensor(buffer, tensor).expect("tensor")).expect("readback")).collect()
}

/// The words of an arena's padding.
pub fn padding(gpu: &Gpu, arena: &Arena, buffer: &Buffer) -> Vec<f32> {
    let all: Vec<f32> = gpu.read(&buffer.view()).expect("readback");
    let inside = |i: usize| arena.layout.spans().iter().any(|span| (span.start..span.start + span.len).contains(&i));
    all.into_iter().enumerate().filter(|(i, _)| !inside(*i)).map(|(_, value)| value).collect()
}

/// Runs the stand-alone perturbation.
pub fn perturb(gpu: &Gpu, perturb: &Perturb, noise: &StepNoise) {
    let mut recorder = gpu.record();
    perturb.record(gpu, &mut recorder, &noise.ranges, &noise.edges, noise.values).expect("record");
    recorder.submit().expect("submit");
}

/// Gradients of small images, `side` x `side` of three channels, after some batches of them; every weight is drawn.
pub fn gradients(gpu: &Gpu, graph: &Graph, schedule: &Schedule, side: usize, batches: usize) -> Vec<f32> {
    let (params, batch) = (graph.params(), schedule.batch);
    let arena = Arena::stored(gpu, graph.layout(), &vec![0.0; params.len()], schedule.element).expect("arena");
    let values = |(seed, param): (usize, &Param)| samples(seed as u64, param.shape.iter().product(), 0.1);
    let values: Vec<Vec<f32>> = params.iter().enumerate().map(values).collect();
    set(gpu, &arena, &arena.weights, &values);
    let images = hashed_squares(1, batches * batch, side);
    let data = DeviceData::new(gpu, images, batch, &[[1.0 / 255.0, -0.5]; 3]).expect("data");
    let metrics = gpu.buffer("metrics", 2).expect("buffer");
    let plan = Plan::new(gpu, schedule, &arena, data.views(), &metrics.view()).expect("plan");
    for number in 0..batches {
        let first = data.stage(gpu, number * batch, batch).expect("staged");
        let mut recorder = gpu.record();
        EffectiveWeights::new(gpu, &arena, &arena.weights).expect("bound").record(&mut recorder);
        plan.record(&mut recorder, BatchInfo::new(first, batch as u32, 0));
        recorder.submit().expect("submit");
    }
    gpu.read(&arena.grads.view()).expect("readback")
}
