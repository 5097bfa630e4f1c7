//! Products with the Hessian and its Gauss-Newton part of a GPT and a ViT against double backward in PyTorch in float64, through
//! attention written out (`scripts/make_transformer_curvature.py`).

use crate::common::{
    device, hash,
    images::hashed_images,
    parity_file,
    transformers::{EVERY, IMAGES, LENGTH, VOCABULARY, hashed_text, weights_file},
};
use jostle::{
    analysis::{Curvature, CurvatureProduct, Subject},
    data::{Dataset, SampleShape, Targets},
    graph::ValueShape,
    kernels::Arena,
    nn::{self, Model, Signature, read_tensors},
    ops::Loss,
    train::DeviceData,
};

const SAMPLES: usize = 3;
/// Seed of the directions.
const DIRECTION: u64 = 200;
/// Of a tensor's largest entry; PyTorch itself is 1.2e-6 off in f32.
const TOLERANCE: f64 = 1e-5;

fn text() -> Dataset {
    let tokens: Vec<u32> = hashed_text().into_iter().map(u32::from).take(SAMPLES * LENGTH + 1).collect();
    let next = Targets::Tokens { tokens: tokens[1..].to_vec(), length: LENGTH, vocabulary: VOCABULARY };
    let shape = SampleShape { channels: 1, height: 1, width: LENGTH };
    Dataset::from_arrays("text", tokens[..SAMPLES * LENGTH].to_vec(), next, shape).unwrap()
}

fn check(description: &str, signature: &Signature, data: Dataset) {
    let (gpu, folder) = (device(), tempfile::tempdir().unwrap());
    let model = Model::build(description, signature).unwrap();
    let params = model.graph.params();
    let arena = Arena::new(gpu, model.graph.layout(), &vec![0.0; params.len()]).unwrap();
    let shapes: Vec<_> = params.iter().map(|param| (param.name.clone(), param.shape.clone())).collect();
    nn::load(gpu, &model, &arena, &weights_file(folder.path(), &shapes)).unwrap();
    let mut names: Vec<&String> = shapes.iter().map(|(name, _)| name).collect();
    names.sort_unstable();
    // In batches of 2 and 1.
    let data = DeviceData::with_residency(gpu, data, 2, &[[0.0, 1.0]; 3], false).unwrap();
    let subject = Subject { model: &model, arena: &arena, loss: Loss::Nll.into(), label_smoothing: 0.0, data: &data };
    let expected = read_tensors(&parity_file("curvature_transformers.safetensors")).unwrap();
    for (curvature, kind) in [(Curvature::Hessian, "hessian"), (Curvature::GaussNewton, "gauss_newton")] {
        let product = CurvatureProduct::new(gpu, &subject, curvature).unwrap();
        let mut direction = vec![0.0; product.words()];
        for (span, (name, _)) in arena.layout.spans().iter().zip(&shapes) {
            let place = names.iter().position(|other| *other == name).unwrap() as u64;
            for (i, value) in (0..).zip(&mut direction[span.start..][..span.len]) {
                *value = (hash(DIRECTION + place, i) % 2) as f32 * 2.0 - 1.0;
            }
        }
        let found = product.apply(&direction).unwrap();
        let mut worst = 0.0_f64;
        for (span, (name, _)) in arena.layout.spans().iter().zip(&shapes) {
            let stored = expected.iter().find(|t| t.name == format!("{description}/{kind}/{name}")).unwrap();
            let found: Vec<f64> = found[span.start..][..span.len].iter().step_by(EVERY).copied().collect();
            assert_eq!(found.len(), stored.values.len(), "{name}");
            let size = stored.values.iter().fold(0.0_f64, |most, x| most.max(f64::from(x.abs())));
            assert!(size > 0.0, "{description}: nothing to see in {name}");
            for (found, expected) in found.iter().zip(&stored.values) {
                let apart = (found - f64::from(*expected)).abs() / size;
                assert!(apart <= TOLERANCE, "{description}, {kind}, {name}: {found} for {expected} of {size}");
                worst = worst.max(apart);
            }
        }
        println!("{description}, {kind}: {worst:.1e} of a tensor's largest entry");
    }
}

#[test]
fn products_of_a_gpt_are_those_of_pytorch() {
    let input = ValueShape::Tokens { length: LENGTH, vocabulary: VOCABULARY };
    check("gpt:2x3x60@37", &Signature { input, classes: VOCABULARY }, text());
}

#[test]
fn products_of_a_vit_are_those_of_pytorch() {
    check("vit:2x3x60/5", &Signature::default(), hashed_images(IMAGES, SAMPLES));
}
