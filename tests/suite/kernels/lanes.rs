//! The kernels for software adapters at every number of lanes: at that of the adapter at hand, and on llvmpipe at those that it is
//! asked for in processes of their own.

use super::{
    conv::Case,
    matmul::{check, product},
};
use crate::common::{adapter, device};
use jostle::{
    gpu::Element,
    kernels::{
        Activation, AdapterClass, ConvOptions, ConvPass, ConvShape, ConvVariant, Epilogue, Lanes, MatmulLayout,
        MatmulShape, MatmulVariant,
    },
};

const KNOWN: [Lanes; 3] = [Lanes::Four, Lanes::Eight, Lanes::Sixteen];

#[test]
fn every_software_adapter_is_one_whatever_its_lanes() {
    let software = |sizes, features: &[_]| adapter("software", sizes, features, &[]);
    for (size, lanes) in [(4, Lanes::Four), (8, Lanes::Eight), (16, Lanes::Sixteen), (32, Lanes::Unknown)] {
        assert_eq!(software([size; 2], &["subgroups"]), AdapterClass::Software(lanes));
    }
    assert_eq!(software([4, 8], &["subgroups"]), AdapterClass::Software(Lanes::Unknown));
    assert_eq!(software([8, 8], &[]), AdapterClass::Software(Lanes::Unknown));
}

#[test]
fn known_lanes_take_tiles_in_registers_and_unknown_ones_a_gpus() {
    let shape = MatmulShape::new(1024, 1024, 1024).unwrap();
    let image = ConvShape::new(8, [16, 16, 64], 128, &ConvOptions::square(3).padding(1)).unwrap();
    let choice = |lanes| {
        let class = AdapterClass::Software(lanes);
        let pass = ConvPass::Forward;
        (class.matmul_variant(Element::Word, shape), class.conv_variant(Element::Word, &image, pass))
    };
    for lanes in KNOWN {
        assert_eq!(choice(lanes), (MatmulVariant::SoftwareWide, ConvVariant::SoftwareWide), "{lanes:?}");
    }
    assert!(matches!(choice(Lanes::Unknown), (MatmulVariant::Split(_), ConvVariant::Block(_))));
    // Channels that half of the lanes have columns for: 8, 16 and 32.
    for (channels, narrow) in [(8, [true; 3]), (16, [false, true, true]), (32, [false, false, true])] {
        let image = ConvShape::new(8, [16, 16, 3], channels, &ConvOptions::square(3).padding(1)).unwrap();
        let is_narrow = |lanes| {
            let variant = AdapterClass::Software(lanes).conv_variant(Element::Word, &image, ConvPass::Forward);
            variant == ConvVariant::SoftwareNarrow
        };
        assert_eq!(KNOWN.map(is_narrow), narrow, "{channels} channels");
    }
}

/// Several tiles of any number of lanes in either direction with and without ends that are cut off; a part of one.
const SHAPES: [[usize; 3]; 3] = [[129, 257, 65], [260, 132, 24], [17, 32, 13]];

#[test]
fn tiles_in_registers_match_f64() {
    let (gpu, element) = (device(), Element::Word);
    println!("class: {}", AdapterClass::for_device(gpu));
    let in_registers = [MatmulVariant::Software, MatmulVariant::SoftwareWide];
    let available = MatmulVariant::available(gpu, element);
    // A kernel is compiled for each: the shapes take turns, so that each variant has each of them in one layout.
    let layouts = [MatmulLayout::Forward, MatmulLayout::DataGradient, MatmulLayout::WeightGradient];
    for (turn, layout) in layouts.into_iter().enumerate() {
        for (number, variant) in in_registers.into_iter().enumerate().filter(|(_, variant)| available.contains(variant))
        {
            let shape = SHAPES[(turn + number) % SHAPES.len()];
            check(gpu, variant, layout, shape, element, &product(layout, shape, element));
        }
    }
    // 8 quads of outputs and 2 of inputs: of the one 16 lanes keep their rows to themselves, of the other all do.
    let case = Case::new(2, [9, 7, 7], 30, ConvOptions::square(3).padding(1));
    let gelu = Epilogue::BiasActivation { activation: Activation::Gelu, store_pre: true };
    let passes = [
        (ConvPass::Forward, gelu),
        (ConvPass::DataGradient, Epilogue::Plain),
        (ConvPass::WeightGradient, Epilogue::Plain),
    ];
    let in_registers = [ConvVariant::Software, ConvVariant::SoftwareWide, ConvVariant::SoftwareNarrow];
    for (pass, epilogue) in passes {
        let available = ConvVariant::available(gpu, element, &case.shape(), pass);
        for variant in in_registers.into_iter().filter(|variant| available.contains(variant)) {
            case.check(gpu, variant, pass, epilogue, false);
        }
    }
}

/// llvmpipe's vectors are as wide as the variable says when it is loaded, whatever the processor has.
#[test]
fn tiles_in_registers_match_f64_at_other_widths() {
    if !device().adapter_name().contains("llvmpipe") {
        eprintln!("other widths: skipped, {} is not llvmpipe", device().adapter_name());
        return;
    }
    for (bits, lanes) in [("128", 4), ("512", 16)] {
        let output = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kernels::lanes::tiles_in_registers_match_f64", "--nocapture"])
            .env("LP_NATIVE_VECTOR_WIDTH", bits)
            .output()
            .unwrap();
        let [said, complained] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        assert!(output.status.success(), "{bits} bits: {said}{complained}");
        assert!(said.contains(&format!("class: software, {lanes} lanes")), "{bits} bits: {said}{complained}");
    }
}
