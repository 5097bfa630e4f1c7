//! Noise on projections that are packed into one tensor: to the element, with the draws of the whole tensor.

use crate::common::{
    ROUNDOFF, assert_within, bits, classes, device,
    network::{get, perturb, set},
    samples,
};
use jostle::{
    graph::Graph,
    kernels::{Activation, AdapterClass, Arena, ArenaLayout, NoiseUnit, Perturb},
    nn::Model,
    noise::{
        Distribution, GroupOrder, Grouping, Mode, NoiseConfig, NoisePart, NoiseTensor, Scale, Scheme, StepNoise,
        deltas, unit_noise,
    },
    schedule::Moment,
};

/// Three projections each: matrices of 60 x 60 and of 20 x 20, of a row each, and their biases.
const SHAPES: [&[usize]; 6] = [&[180, 60], &[180], &[60, 20], &[60], &[3, 7], &[3]];

const SEED: u64 = 0xBEEF_0000_0003;
const SIGMA: f64 = 0.25;

fn tensors() -> Vec<NoiseTensor> {
    let tensor = |module| NoiseTensor { module, projections: 3, is_weight: module % 2 == 0, ..NoiseTensor::default() };
    (0..SHAPES.len()).map(tensor).collect()
}

fn config(groups: Grouping, mode: Mode) -> NoiseConfig {
    NoiseConfig { mode, sigma: SIGMA, groups, ..NoiseConfig::default() }
}

fn weights() -> Vec<Vec<f32>> {
    SHAPES.iter().enumerate().map(|(i, shape)| samples(91 + i as u64, shape.iter().product(), 0.5)).collect()
}

/// The bits that the kernel leaves for a step's noise.
fn noisy(kernel: &Perturb, arena: &Arena, noise: &StepNoise) -> Vec<Vec<u32>> {
    let gpu = device();
    gpu.write(&arena.weights_eff.view(), &vec![f32::NAN; arena.layout.words()]).unwrap();
    perturb(gpu, kernel, noise);
    get(gpu, arena, &arena.weights_eff).iter().map(|tensor| bits(tensor)).collect()
}

/// `part` where a part's elements are, `elsewhere` beside them.
fn joined(part: &NoisePart, inside: &[Vec<u32>], elsewhere: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let mut all = elsewhere.to_vec();
    all[part.tensor][part.elements.clone()].copy_from_slice(&inside[part.tensor][part.elements.clone()]);
    all
}

#[test]
fn a_projection_has_the_draws_of_its_tensor() {
    for class in classes() {
        for scale in Scale::ALL {
            for distribution in Distribution::ALL {
                check(class, scale, distribution);
            }
        }
    }
}

fn check(class: AdapterClass, scale: Scale, distribution: Distribution) {
    let gpu = device();
    let layout = ArenaLayout::new(SHAPES);
    let noise = NoiseConfig { scale, distribution, ..config(Grouping::Projection, Mode::Layer) };
    let scheme = Scheme::new(noise, &layout, &tensors(), SEED);
    let arena = Arena::new(gpu, layout, &scheme.scales()).unwrap();
    let clean = weights();
    set(gpu, &arena, &arena.weights, &clean);
    let clean_bits: Vec<Vec<u32>> = clean.iter().map(|tensor| bits(tensor)).collect();
    let zeros: Vec<Vec<u32>> = clean.iter().map(|tensor| vec![0; tensor.len()]).collect();
    let kernel =
        Perturb::new(gpu, class, &arena, distribution.code(), NoiseUnit::filter_scaled(scale == Scale::Filter))
            .unwrap();
    for step in 0..18 {
        let at = scheme.at(step, Moment::START);
        let part = &scheme.groups()[at.group.unwrap()][0];
        let name = format!("{class:?} {scale} {distribution}, step {step}, {part:?}");
        let whole = StepNoise::on_tensors(&arena.layout, &[part.tensor], SEED, step, SIGMA);
        assert_eq!(at.values, whole.values, "{name}");
        let [found, with_tensor] = [&at, &whole].map(|noise| noisy(&kernel, &arena, noise));
        assert!(found == joined(part, &with_tensor, &clean_bits), "{name}: noisy weights");
        let inside = |tensors: &[Vec<u32>]| tensors[part.tensor][part.elements.clone()].to_vec();
        assert_ne!(inside(&found), inside(&clean_bits), "{name}: there is noise");

        let [found, with_tensor] = [&at, &whole].map(|noise| deltas(gpu, &arena, &scheme, noise).unwrap());
        let [found_bits, tensor_bits] =
            [&found, &with_tensor].map(|tensors| tensors.iter().map(|tensor| bits(tensor)).collect::<Vec<Vec<u32>>>());
        assert!(found_bits == joined(part, &tensor_bits, &zeros), "{name}: exported noise");
        if scale == Scale::Absolute {
            let unit = |i| SIGMA * f64::from(unit_noise(distribution, SEED, step as u32, part.tensor as u32, i));
            let expected: Vec<f64> = part.elements.clone().map(unit).collect();
            // 6 ulp of the draw and a product
            let bounds: Vec<f64> = expected.iter().map(|delta| 16.0 * ROUNDOFF * delta.abs()).collect();
            assert_within(&name, &found[part.tensor][part.elements.clone()], &expected, &bounds);
        }
    }
}

/// Parts of several tensors at once, two of them in one block.
#[test]
fn noise_may_be_on_any_elements() {
    let gpu = device();
    let layout = ArenaLayout::new(SHAPES);
    let arena = Arena::new(gpu, layout.clone(), &[1.0; SHAPES.len()]).unwrap();
    set(gpu, &arena, &arena.weights, &weights());
    let clean: Vec<Vec<u32>> = weights().iter().map(|tensor| bits(tensor)).collect();
    let part = |tensor, elements| NoisePart { tensor, elements };
    let parts = [part(3, 1..3), part(3, 40..59), part(0, 77..10_001), part(5, 2..3), part(2, 63..64)];
    let all: Vec<usize> = (0..SHAPES.len()).collect();
    for class in classes() {
        let kernel = Perturb::new(gpu, class, &arena, Distribution::Gaussian.code(), NoiseUnit::Absolute).unwrap();
        let everywhere = noisy(&kernel, &arena, &StepNoise::on_tensors(&layout, &all, SEED, 3, SIGMA));
        let found = noisy(&kernel, &arena, &StepNoise::on_parts(&layout, &parts, SEED, 3, SIGMA));
        let expected = parts.iter().fold(clean.clone(), |all, part| joined(part, &everywhere, &all));
        assert!(found == expected, "{class:?}");
    }
}

#[test]
fn projections_are_counted_and_ordered_as_groups() {
    let layout = ArenaLayout::new(SHAPES);
    let sigma = |groups| {
        let scheme = Scheme::new(config(groups, Mode::All), &layout, &tensors(), SEED);
        let noise = scheme.at(0, Moment::START);
        assert!(noise.edges.is_empty() && noise.ranges.iter().all(|range| range.noisy), "all of them at once");
        (scheme.groups().len(), noise.values.sigma)
    };
    assert_eq!(sigma(Grouping::Tensor), (6, (SIGMA / 6f64.sqrt()) as f32));
    assert_eq!(sigma(Grouping::Projection), (18, (SIGMA / 18f64.sqrt()) as f32));
    let layer = Scheme::new(config(Grouping::Projection, Mode::Layer), &layout, &tensors(), SEED);
    let part = |step| layer.groups()[layer.at(step, Moment::START).group.unwrap()].clone();
    assert_eq!(part(0), [NoisePart { tensor: 0, elements: 0..3600 }]);
    assert_eq!(part(2), [NoisePart { tensor: 0, elements: 7200..10_800 }]);
    assert_eq!(part(4), [NoisePart { tensor: 1, elements: 60..120 }]);
    assert_eq!(part(17), [NoisePart { tensor: 5, elements: 2..3 }]);
    assert_eq!(part(18), part(0));
    let random = NoiseConfig { order: GroupOrder::Random, ..config(Grouping::Projection, Mode::Layer) };
    let random = Scheme::new(random, &layout, &tensors(), SEED);
    let mut met = [false; 18];
    (0..400).for_each(|step| met[random.at(step, Moment::START).group.unwrap()] = true);
    assert_eq!(met, [true; 18]);
}

/// Two blocks of a packed layer and one behind it, between modules of no block.
fn model() -> Model {
    let (mut graph, input) = Graph::new(4).unwrap();
    let mut value = graph.linear(input, "embed", 4, Activation::Identity).unwrap();
    for name in ["h.0", "h.1"] {
        graph.begin_block(name);
        value = graph.linear(value, &format!("{name}.attn"), 6, Activation::Identity).unwrap();
        value = graph.linear(value, &format!("{name}.proj"), 4, Activation::Identity).unwrap();
        for tensor in ["weight", "bias"] {
            graph.set_projections(&format!("{name}.attn.{tensor}"), &["q", "k", "v"]).unwrap();
        }
    }
    graph.end_block();
    graph.linear(value, "head", 3, Activation::Identity).unwrap();
    Model { description: String::new(), graph }
}

#[test]
fn groups_of_a_model_have_names() {
    let model = model();
    let names = |grouping: Grouping| -> Vec<String> {
        let groups = grouping.groups(&model.graph.layout(), &model.noise_tensors());
        groups.iter().map(|group| model.group_name(group)).collect()
    };
    let blocks = ["embed.weight + embed.bias", "h.0", "h.1", "head.weight + head.bias"];
    assert_eq!(names(Grouping::Block), blocks);
    let parted: Vec<String> = ["weight", "bias"]
        .into_iter()
        .flat_map(|tensor| ["q", "k", "v"].map(|projection| format!("h.1.attn.{tensor}[{projection}]")))
        .collect();
    assert_eq!(names(Grouping::Projection)[10..16], parted);
    assert_eq!(names(Grouping::Tensor)[6..8], ["h.1.attn.weight", "h.1.attn.bias"]);
    assert_eq!(names(Grouping::Module)[1], "h.0.attn.weight + h.0.attn.bias");
    assert_eq!(model.part_name(&NoisePart { tensor: 2, elements: 1..5 }), "h.0.attn.weight[1..5]");
}
