//! The packing of a convolution's weights against its definition.

use crate::common::{classes, device, elements, guarded_as, poisoned_as, run, samples, stored};
use jostle::kernels::{ConvOptions, ConvShape, conv_pack, padded_channels};

/// By every class's variant; sizes that no tile divides, the last tile's edges on both sides.
#[test]
fn weights_are_packed_in_whole() {
    let gpu = device();
    for (channels, outputs, kernel) in [(3, 5, 3), (12, 70, 1), (7, 64, 3), (21, 130, 2), (40, 33, 5)] {
        for (element, class) in elements(gpu).flat_map(|element| classes().map(|class| (element, class))) {
            let shape = ConvShape::new(1, [6, 6, channels], outputs, &ConvOptions::square(kernel)).unwrap();
            let values = stored(element, &samples(77, shape.weight_words(), 0.5));
            let weight = guarded_as(gpu, &values, element);
            let packed = poisoned_as(gpu, shape.packed_words(), element);
            run(gpu, &[conv_pack(gpu, class, &shape, &weight.view, &packed.view).unwrap()]);
            let [inputs, columns] = [channels, outputs].map(padded_channels);
            let taps = kernel * kernel;
            let expected = (0..shape.packed_words()).map(|at| {
                let (tap, i, o) = (at / columns / inputs, at / columns % inputs, at % columns);
                if i < channels && o < outputs { values[(o * channels + i) * taps + tap] } else { 0.0 }
            });
            let name = format!("{channels} to {outputs}, {kernel} x {kernel}, {element:?} {class:?}");
            assert_eq!(packed.read(gpu), expected.collect::<Vec<_>>(), "{name}");
        }
    }
}
