//! The trials, checked against kernels whose results other tests check against f64, and against the same with faults.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::sync::OnceLock;

use super::*;
use crate::{
    gpu::{AdapterChoice, Faults},
    kernels::{Activation, ConvPass, MatmulLayout, conv_specs::CONV_BLOCK, flag, matmul_specs::MATMUL_BLOCK},
};

/// Both block kernels' tiles.
const SIDES: [usize; 2] = [64; 2];

const LAYOUTS: [MatmulLayout; 3] = [MatmulLayout::Forward, MatmulLayout::DataGradient, MatmulLayout::WeightGradient];

/// Overrides of `matmul_block` for a data gradient's layout.
const UNALIGNED: [Constant; 2] = [("A_ALIGNED", 0.0), ("B_ALIGNED", 0.0)];

const PASSES: [ConvPass; 3] = [ConvPass::Forward, ConvPass::DataGradient, ConvPass::WeightGradient];

fn open() -> Gpu {
    Gpu::new(&AdapterChoice::from_environment()).unwrap()
}

fn device() -> &'static Gpu {
    static GPU: OnceLock<Gpu> = OnceLock::new();
    GPU.get_or_init(open)
}

/// Types of the operands and of the result.
fn elements(gpu: &Gpu) -> Vec<[Element; 2]> {
    let half = [[Element::Half; 2], [Element::Half, Element::Word]];
    let halves = if gpu.has_f16() { &half[..] } else { &[] };
    [&[[Element::Word; 2]][..], halves].concat()
}

/// Ways to end, for one activation.
fn endings(activation: Activation) -> [Ending; 3] {
    let bias = |store_pre| Epilogue::BiasActivation { activation, store_pre };
    [(bias(false), true), (bias(true), false), (Epilogue::ActivationGradient(activation), true)]
        .map(|(epilogue, accumulate)| Ending { epilogue, accumulate })
}

fn admit(
    gpu: &Gpu,
    spec: &'static KernelSpec,
    own: &[Constant],
    ending: Ending,
    [real, out]: [Element; 2],
    trial: impl FnOnce() -> Result<Trial, GpuError>,
) -> Result<(), GpuError> {
    let constants = [own, &ending.constants()].concat();
    let view = |element| {
        let len = if element == Element::Half { 2 } else { 1 };
        gpu.buffer("any", 1).unwrap().view().read_as(element, len).unwrap()
    };
    let (operand, result, unused) = (view(real), view(out), [gpu.unused(0).unwrap(), gpu.unused(1).unwrap()]);
    let views = [&operand, &operand, &unused[0], &result, &unused[1]];
    Pipeline { spec, constants: &constants, views, ending }.admit(gpu, trial)
}

fn admit_matmul(
    gpu: &Gpu,
    layout: MatmulLayout,
    aligned: bool,
    ending: Ending,
    types: [Element; 2],
) -> Result<(), GpuError> {
    let own = [
        flag("A_TRANSPOSED", layout == MatmulLayout::WeightGradient),
        flag("B_TRANSPOSED", layout == MatmulLayout::Forward),
        flag("A_ALIGNED", aligned),
        flag("B_ALIGNED", aligned),
    ];
    admit(gpu, &MATMUL_BLOCK.elements, &own, ending, types, || {
        matmul_trial(SIDES, layout, Extents { aligned: [aligned; 2], whole: false }, ending)
    })
}

fn admit_conv(gpu: &Gpu, (pass, whole): (ConvPass, bool), ending: Ending, types: [Element; 2]) -> Result<(), GpuError> {
    admit_conv_form(gpu, pass, [whole, false], ending, types)
}

fn admit_conv_form(
    gpu: &Gpu,
    pass: ConvPass,
    [whole, split]: [bool; 2],
    ending: Ending,
    types: [Element; 2],
) -> Result<(), GpuError> {
    let own = [("PASS", f64::from(pass.code())), flag("SPLIT", split)];
    let spec = CONV_BLOCK.spec(pass != ConvPass::WeightGradient);
    admit(gpu, spec, &own, ending, types, || conv_trial(SIDES, pass, TrialForm::Taps { whole, split }, ending))
}

#[test]
fn right_products_are_admitted() {
    let gpu = device();
    for types in elements(gpu) {
        // Of f16 only gradients of weights are f32.
        for layout in
            LAYOUTS.into_iter().filter(|layout| types[0] == types[1] || *layout == MatmulLayout::WeightGradient)
        {
            for (aligned, accumulate) in [(true, false), (false, true)] {
                admit_matmul(gpu, layout, aligned, Ending { epilogue: Epilogue::Plain, accumulate }, types).unwrap();
            }
        }
        // What an activation makes of a sum is done in f32, whatever the operands, and alike in each way to end.
        let all = Activation::ALL.into_iter().enumerate().map(|(turn, activation)| endings(activation)[turn % 3]);
        let tried: Vec<_> = match types {
            [Element::Word, Element::Word] => all.collect(),
            [Element::Half, Element::Half] => endings(Activation::Gelu).to_vec(),
            _ => Vec::new(),
        };
        for ending in tried {
            admit_matmul(gpu, MatmulLayout::Forward, false, ending, types).unwrap();
        }
    }
}

#[test]
fn right_convolutions_are_admitted() {
    let gpu = device();
    for types in elements(gpu) {
        // As of products.
        for pass in PASSES.into_iter().filter(|pass| types[0] == types[1] || *pass == ConvPass::WeightGradient) {
            for accumulate in [false, true] {
                admit_conv(gpu, (pass, accumulate), Ending { epilogue: Epilogue::Plain, accumulate }, types).unwrap();
            }
        }
        if types[0] != types[1] {
            continue;
        }
        for (pass, whole) in
            [ConvPass::Forward, ConvPass::DataGradient].into_iter().flat_map(|pass| [(pass, false), (pass, true)])
        {
            admit_conv_form(gpu, pass, [whole, true], Ending::PLAIN, types).unwrap();
        }
        let bias = Epilogue::BiasActivation { activation: Activation::Gelu, store_pre: true };
        admit_conv(gpu, (ConvPass::Forward, false), Ending { epilogue: bias, accumulate: false }, types).unwrap();
        let gradient = Ending { epilogue: Epilogue::ActivationGradient(Activation::Tanh), accumulate: true };
        admit_conv(gpu, (ConvPass::DataGradient, true), gradient, types).unwrap();
    }
}

/// A driver's fault, by what it makes of the WGSL.
type Misread = fn(&str) -> String;

fn instead(text: &str, written: &str, read: &str) -> String {
    assert!(text.contains(written), "{written}");
    text.replace(written, read)
}

fn refused(found: Result<(), GpuError>, why: &str) {
    let Err(GpuError::Refused { reason, .. }) = found else { panic!("not refused, expected: {why}") };
    assert!(reason.contains(why), "{reason:?} does not say {why:?}");
}

#[test]
fn wrong_products_are_refused_with_the_reason() {
    // Twice the sum, an edge left out, terms of the last round left out, text that does not compile.
    let faults: [(Misread, &str); 4] = [
        (|text| instead(text, "var value = sums;", "var value = 2.0 * sums;"), "are wrong, the first at 0"),
        (|text| instead(text, "let rows = min(4u", "let rows = min(3u"), "found NaN"),
        (|text| instead(text, "end = part.y;", "end = part.y - part.y % 32u;"), "are wrong, the first at"),
        (|text| instead(text, "var value = sums;", "var value = sum;"), "does not compile"),
    ];
    let epilogue = Epilogue::BiasActivation { activation: Activation::Identity, store_pre: false };
    let ending = Ending { epilogue, accumulate: false };
    for (misread, why) in faults {
        let gpu = open().with_faults(Faults { misread: Some(misread), ..Faults::default() });
        for _ in 0..2 {
            refused(admit_matmul(&gpu, MatmulLayout::DataGradient, true, ending, [Element::Word; 2]), why);
        }
    }
}

#[test]
fn wrong_convolutions_are_refused() {
    // The wrong pixel of the input, a tap left out.
    let faults: [Misread; 2] = [
        |text| instead(text, "let y = bitcast<u32>(pixel.y + tap.x);", "let y = bitcast<u32>(pixel.y + tap.x + 1);"),
        |text| {
            let found = instead(text, "if tap >= conv_gather_taps()", "if tap + 1u >= conv_gather_taps()");
            instead(&found, "next.w >= i32(conv_gather_taps())", "next.w + 1 >= i32(conv_gather_taps())")
        },
    ];
    for misread in faults {
        let gpu = open().with_faults(Faults { misread: Some(misread), ..Faults::default() });
        for pass in PASSES {
            refused(admit_conv(&gpu, (pass, true), Ending::PLAIN, [Element::Word; 2]), "are wrong");
        }
    }
}

#[test]
fn a_lost_device_is_a_refusal() {
    let gpu = open();
    let ending = Ending::PLAIN;
    let found = admit(&gpu, &MATMUL_BLOCK.elements, &UNALIGNED, ending, [Element::Word; 2], || {
        gpu.raw_device().destroy();
        matmul_trial(SIDES, MatmulLayout::DataGradient, Extents { aligned: [false; 2], whole: false }, ending)
    });
    refused(found, "");
    assert!(gpu.lost().is_some());
}

#[test]
fn what_lies_behind_a_result_is_seen() {
    let gpu = device();
    for [element, _] in elements(gpu) {
        let result = Guarded::new(gpu, element, 6, Some(&vec![0.5; 6])).unwrap();
        assert_eq!(result.read(gpu).unwrap(), Ok(vec![0.5; 6]));
        let behind = stored(&[0.5; 6], element);
        gpu.write(&result.whole, &[&behind[..], &[0]].concat()).unwrap();
        assert!(result.read(gpu).unwrap().is_err());
    }
}

#[test]
fn verdicts_outlive_the_process_and_belong_to_the_text() {
    let folder = tempfile::tempdir().unwrap();
    let choice = AdapterChoice::from_environment();
    let admitted = |misread: Misread, trials: &std::cell::Cell<u32>| {
        let gpu = Gpu::with_cache(&choice, folder.path()).unwrap();
        let gpu = gpu.with_faults(Faults { misread: Some(misread), ..Faults::default() });
        let ending = Ending::PLAIN;
        admit(&gpu, &MATMUL_BLOCK.elements, &UNALIGNED, ending, [Element::Word; 2], || {
            trials.set(trials.get() + 1);
            matmul_trial(SIDES, MatmulLayout::DataGradient, Extents { aligned: [false; 2], whole: false }, ending)
        })
    };
    let trials = std::cell::Cell::new(0);
    let right: Misread = str::to_owned;
    let wrong: Misread = |text| instead(text, "var value = sums;", "var value = 2.0 * sums;");
    for _ in 0..2 {
        admitted(right, &trials).unwrap();
        refused(admitted(wrong, &trials), "are wrong");
    }
    assert_eq!(trials.get(), 2, "once each: the second time from the folder");
}

#[test]
fn judged_exactly_and_nan_is_wrong() {
    let exact = |found: &[f32], expected: &[Option<f64>]| judge("result", found, expected, |_, _| 0.0);
    assert_eq!(exact(&[1.0, -0.0, 7.5], &[Some(1.0), Some(0.0), None]), Ok(()));
    let reason = "of 3 elements of its result, 2 are wrong, the first at 1: expected 2, found 4";
    assert_eq!(exact(&[1.0, 4.0, f32::NAN], &[Some(1.0), Some(2.0), Some(3.0)]), Err(reason.to_owned()));
    for wrong in [f32::NAN, f32::INFINITY] {
        assert!(exact(&[wrong], &[Some(0.0)]).is_err());
        assert!(exact(&[wrong], &[None]).is_err());
        assert!(judge("result", &[wrong], &[Some(1.0)], |_, _| 1e-3).is_err());
    }
    assert!(exact(&[1.0 + f32::EPSILON], &[Some(1.0)]).is_err());
}
