//! The packing of convolutions' weights against its definition.

use crate::common::{classes, device, elements, guarded_as, poisoned_as, run, samples, sanitize, stored};
use jostle::{
    gpu::{Element, Faults, Gpu, Limits, View},
    kernels::{AdapterClass, ConvOptions, ConvShape, PackJob, conv_pack, padded_channels},
};

/// Inputs, outputs and side of the kernel: sizes that no tile divides, the last tile's edges on both sides.
const SIZES: [[usize; 3]; 5] = [[3, 5, 3], [12, 70, 1], [7, 64, 3], [21, 130, 2], [40, 33, 5]];

/// A convolution's weights as PyTorch has them.
struct Weights {
    shape: ConvShape,
    sizes: [usize; 3],
    values: Vec<f32>,
}

impl Weights {
    fn all(element: Element) -> Vec<Self> {
        let weights = |(seed, sizes): (usize, [usize; 3])| {
            let [inputs, outputs, side] = sizes;
            let shape = ConvShape::new(1, [6, 6, inputs], outputs, &ConvOptions::square(side)).unwrap();
            Self { shape, sizes, values: stored(element, &samples(seed as u64, shape.weight_words(), 0.5)) }
        };
        SIZES.into_iter().enumerate().map(weights).collect()
    }

    /// By the definition.
    fn packed(&self) -> Vec<f32> {
        let [inputs, outputs, side] = self.sizes;
        let [rows, columns] = [inputs, outputs].map(padded_channels);
        let element = |at: usize| {
            let (tap, i, o) = (at / columns / rows, at / columns % rows, at % columns);
            if i < inputs && o < outputs { self.values[(o * inputs + i) * side * side + tap] } else { 0.0 }
        };
        (0..self.shape.packed_words()).map(element).collect()
    }
}

/// By every class's variant, each weight in buffers of its own.
#[test]
fn weights_are_packed_in_whole() {
    let gpu = device();
    for (element, class) in elements(gpu).flat_map(|element| classes().map(|class| (element, class))) {
        for weights in Weights::all(element) {
            let weight = guarded_as(gpu, &weights.values, element);
            let packed = poisoned_as(gpu, weights.shape.packed_words(), element);
            let job = PackJob { shape: &weights.shape, weight: &weight.view, output: &packed.view };
            run(gpu, &conv_pack(gpu, class, &[job]).unwrap());
            assert_eq!(packed.read(gpu), weights.packed(), "{:?}, {element:?} {class:?}", weights.sizes);
        }
    }
}

/// Where tensors of these lengths start in a buffer with some elements between them, the last one first; and its length.
fn spread(lens: impl DoubleEndedIterator<Item = usize>) -> (Vec<usize>, usize) {
    let (mut starts, mut end) = (Vec::new(), 0);
    for len in lens.rev() {
        starts.push(end);
        end += len.next_multiple_of(128) + 128;
    }
    starts.reverse();
    (starts, end)
}

/// A tensor in a buffer of several.
fn part(all: &View, start: usize, len: usize) -> View {
    let (element, from) = (all.element(), all.span().start);
    let words = from + element.words(start)..from + element.words(start + len);
    all.around(words).unwrap().read_as(element, len).unwrap()
}

/// Packs the weights of all layers, which lie in one buffer, into another, as a network has them, and checks all of it: how many
/// dispatches that takes.
fn packed_together(gpu: &Gpu, class: AdapterClass, all: &[Weights], element: Element) -> usize {
    let (weights_at, weights_end) = spread(all.iter().map(|weights| weights.values.len()));
    let (packed_at, packed_end) = spread(all.iter().map(|weights| weights.shape.packed_words()));
    let mut values = vec![f32::NAN; weights_end];
    for (start, weights) in weights_at.iter().zip(all) {
        values[*start..][..weights.values.len()].copy_from_slice(&weights.values);
    }
    let (source, result) = (guarded_as(gpu, &values, element), poisoned_as(gpu, packed_end, element));
    let views: Vec<[View; 2]> = (0..all.len())
        .map(|at| {
            let Weights { shape, values, .. } = &all[at];
            let weight = part(&source.view, weights_at[at], values.len());
            [weight, part(&result.view, packed_at[at], shape.packed_words())]
        })
        .collect();
    let jobs =
        all.iter().zip(&views).map(|(Weights { shape, .. }, [weight, output])| PackJob { shape, weight, output });
    let dispatches = conv_pack(gpu, class, &jobs.collect::<Vec<_>>()).unwrap();
    run(gpu, &dispatches);
    let found = result.read(gpu);
    let mut expected = vec![f32::NAN; packed_end];
    for (start, weights) in packed_at.iter().zip(all) {
        expected[*start..][..weights.shape.packed_words()].copy_from_slice(&weights.packed());
    }
    let same = |(found, expected): (&f32, &f32)| found == expected || (found.is_nan() && expected.is_nan());
    assert!(found.iter().zip(&expected).all(same), "{element:?} {class:?}: {} dispatches", dispatches.len());
    dispatches.len()
}

/// One dispatch packs the weights of all layers, or as many as bindings make necessary.
#[test]
fn layers_are_packed_together() {
    let gpu = device();
    for (element, class) in elements(gpu).flat_map(|element| classes().map(|class| (element, class))) {
        let all = Weights::all(element);
        assert_eq!(packed_together(gpu, class, &all, element), 1);
        // Just enough for the largest.
        let largest = all.iter().map(|weights| element.words(weights.shape.packed_words())).max().unwrap();
        let limits = Limits { binding_bytes: 4 * largest as u64, ..gpu.limits() };
        let narrow = gpu.again().with_faults(Faults { limits: Some(limits), ..sanitize::faults() });
        assert_eq!(packed_together(&narrow, class, &all, element), 2, "the largest layer, and the others");
    }
}
