//! Products with the Hessian and its Gauss-Newton part against PyTorch's autograd (`scripts/make_curvature_fixture.py`).
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use std::{collections::HashMap, path::Path};

use common::{assert_close, device, network::set, wide, words};
use jostle::{
    analysis::{Curvature, CurvatureProduct, Subject},
    gpu::GpuError,
    graph::{DataViews, Loss},
    kernels::{Arena, Augmentation},
    nn::{Model, read_tensors},
};

/// Widths of the networks in the script.
const MODEL: &str = "mlp:12-16-14-5";
const SAMPLES: usize = 24;

fn fixture() -> HashMap<String, Vec<f32>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/parity/curvature.safetensors");
    read_tensors(&path).unwrap().into_iter().map(|tensor| (tensor.name, tensor.values)).collect()
}

/// The tensors of one kind, in the model's order.
fn tensors(fixture: &HashMap<String, Vec<f32>>, case: &str, kind: &str) -> Vec<Vec<f32>> {
    let name = |i: usize| format!("{case}/{kind}{}.{}", ["weight", "bias"][i % 2], i / 2);
    (0..6).map(|i| fixture[&name(i)].clone()).collect()
}

fn views(fixture: &HashMap<String, Vec<f32>>) -> DataViews {
    let gpu = device();
    let bytes: Vec<u8> = fixture["pixels"].iter().map(|x| *x as u8).collect();
    let labels: Vec<u32> = fixture["labels"].iter().map(|x| *x as u32).collect();
    let indices: Vec<u32> = (0..SAMPLES as u32).collect();
    let pixels = gpu.upload("pixels", &bytes).unwrap().view();
    let indices = words(gpu, &indices);
    let normalisation = gpu.upload("normalisation", &[1.0f32 / 255.0, 0.0]).unwrap().view();
    DataViews {
        pixels,
        labels: words(gpu, &labels),
        ids: indices.clone(),
        indices,
        normalisation,
        sample: [1, 1, 12],
        augment: Augmentation::default(),
    }
}

#[test]
fn products_are_those_of_pytorch() {
    let (gpu, fixture) = (device(), fixture());
    let data = views(&fixture);
    let stage = |first: usize, _valid: usize| -> Result<u32, GpuError> { Ok(first as u32) };
    for activation in ["tanh", "sigmoid", "gelu", "relu"] {
        for (name, loss) in [("nll", Loss::Nll), ("mse", Loss::Mse)] {
            let case = format!("{activation}-{name}");
            let model: Model = format!("{MODEL}:{activation}").parse().unwrap();
            let arena = Arena::new(gpu, model.graph.layout(), &[1.0; 6]).unwrap();
            set(gpu, &arena, &arena.weights, &tensors(&fixture, &case, ""));
            // Batches of 10, 10 and 4: the mean is that over all samples.
            let subject = Subject {
                model: &model,
                arena: &arena,
                loss,
                label_smoothing: 0.0,
                data: &data,
                samples: SAMPLES,
                capacity: 10,
                stage: &stage,
            };
            for (curvature, kind) in [(Curvature::Hessian, "hessian."), (Curvature::GaussNewton, "gauss_newton.")] {
                let product = CurvatureProduct::new(gpu, &subject, curvature).unwrap();
                let spans = arena.layout.spans();
                let mut direction = vec![0.0; product.words()];
                for (span, values) in spans.iter().zip(tensors(&fixture, &case, "direction.")) {
                    direction[span.start..][..span.len].copy_from_slice(&values);
                }
                let found = product.apply(&direction).unwrap();
                for (tensor, (span, expected)) in spans.iter().zip(tensors(&fixture, &case, kind)).enumerate() {
                    let found: Vec<f32> = found[span.start..][..span.len].iter().map(|x| *x as f32).collect();
                    let size = expected.iter().fold(0.0_f32, |m, x| m.max(x.abs()));
                    let name = format!("{case}, {curvature:?}, tensor {tensor}");
                    assert_close(&name, &found, &wide(&expected), 1e-5 * f64::from(size), 0.0);
                }
            }
        }
    }
}
