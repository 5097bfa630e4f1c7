//! Products with the Hessian and its Gauss-Newton part against PyTorch's autograd in float64
//! (`scripts/make_curvature_fixture.py`, `scripts/make_conv_curvature.py`).

use std::collections::HashMap;

use crate::common::{assert_close, device, hash, images::hashed_images, network::set, parity_file, wide};
use jostle::{
    analysis::{Curvature, CurvatureProduct, Subject},
    data::{Dataset, SampleShape},
    kernels::Arena,
    nn::{self, Model, Signature, read_tensors},
    ops::Loss,
    train::DeviceData,
};

/// Widths of the perceptrons in the script.
const MODEL: &str = "mlp:12-16-14-5";
const SAMPLES: usize = 24;

/// Of a tensor's largest entry, for networks of three linear layers.
const MLP_TOLERANCE: f64 = 1e-5;

/// As [`MLP_TOLERANCE`] for the convolutional networks, whose sums are longer: llvmpipe reaches 5e-6, PyTorch itself
/// 1.6e-6 in f32. On this data no argument of a ReLU is nearer to 0, and no two largest values of a pool's window nearer to
/// each other, than 1.5e-6 (zeros aside), far more than roundings move them: no derivative jumps.
const CONV_TOLERANCE: f64 = 2e-5;

/// Seed and number of the images, and seed of the directions, of the convolutional networks.
const IMAGES: (u64, usize) = (91, 8);
const DIRECTION: u64 = 200;

type Fixture = HashMap<String, Vec<f32>>;

fn fixture(name: &str) -> Fixture {
    read_tensors(&parity_file(name)).unwrap().into_iter().map(|tensor| (tensor.name, tensor.values)).collect()
}

/// Fails unless each tensor of the product is within `tolerance` of its largest entry; gives the largest such error.
fn check(
    name: &str,
    subject: &Subject<'_>,
    curvature: Curvature,
    [v, expected]: [&[Vec<f32>]; 2],
    tolerance: f64,
) -> f64 {
    let product = CurvatureProduct::new(device(), subject, curvature).unwrap();
    let spans = subject.arena.layout.spans();
    let mut direction = vec![0.0; product.words()];
    for (span, values) in spans.iter().zip(v) {
        direction[span.start..][..span.len].copy_from_slice(values);
    }
    let found = product.apply(&direction).unwrap();
    assert_eq!((v.len(), expected.len()), (spans.len(), spans.len()));
    let mut worst = 0.0_f64;
    for ((span, expected), param) in spans.iter().zip(expected).zip(subject.model.graph.params()) {
        let found: Vec<f32> = found[span.start..][..span.len].iter().map(|x| *x as f32).collect();
        let size = f64::from(expected.iter().fold(0.0_f32, |m, x| m.max(x.abs())));
        assert!(size > 0.0, "{name}: nothing to see in {}", param.name);
        assert_close(&format!("{name}, {curvature:?}, {}", param.name), &found, &wide(expected), tolerance * size, 0.0);
        worst = found.iter().zip(expected).map(|(f, e)| f64::from((f - e).abs()) / size).fold(worst, f64::max);
    }
    worst
}

/// The tensors of one kind, in the model's order.
fn tensors(fixture: &Fixture, case: &str, kind: &str) -> Vec<Vec<f32>> {
    let name = |i: usize| format!("{case}/{kind}{}.{}", ["weight", "bias"][i % 2], i / 2);
    (0..6).map(|i| fixture[&name(i)].clone()).collect()
}

/// In batches of 10, 10 and 4: the mean is that over all samples.
fn data(fixture: &Fixture) -> DeviceData {
    let labels: Vec<u32> = fixture["labels"].iter().map(|x| *x as u32).collect();
    let data = Dataset {
        name: "fixture".to_owned(),
        samples: fixture["pixels"].iter().map(|x| *x as u8).collect::<Vec<_>>().into(),
        targets: labels.into(),
        shape: SampleShape { channels: 1, height: 1, width: 12 },
        full_scale: 255.0,
        published: &[],
    };
    assert_eq!(data.len(), SAMPLES);
    DeviceData::with_residency(device(), data, 10, &[[0.0, 1.0]], false).unwrap()
}

#[test]
fn products_of_perceptrons_are_those_of_pytorch() {
    let (gpu, fixture) = (device(), fixture("curvature.safetensors"));
    let data = data(&fixture);
    for activation in ["tanh", "sigmoid", "gelu", "relu"] {
        for (name, loss) in [("nll", Loss::Nll), ("mse", Loss::Mse)] {
            let case = format!("{activation}-{name}");
            let model: Model = format!("{MODEL}:{activation}").parse().unwrap();
            let arena = Arena::new(gpu, model.graph.layout(), &[1.0; 6]).unwrap();
            set(gpu, &arena, &arena.weights, &tensors(&fixture, &case, ""));
            let subject =
                Subject { model: &model, arena: &arena, loss: loss.into(), label_smoothing: 0.0, data: &data };
            let direction = tensors(&fixture, &case, "direction.");
            for (curvature, kind) in [(Curvature::Hessian, "hessian."), (Curvature::GaussNewton, "gauss_newton.")] {
                let expected = tensors(&fixture, &case, kind);
                check(&case, &subject, curvature, [&direction, &expected], MLP_TOLERANCE);
            }
        }
    }
}

/// A convolutional network, by its files, at a state that PyTorch left: running statistics far from the initial ones.
struct Network {
    model: Model,
    arena: Arena,
    data: DeviceData,
    fixture: Fixture,
    name: &'static str,
}

impl Network {
    fn new(name: &'static str) -> Self {
        let gpu = device();
        let path = parity_file(&format!("{name}.toml")).display().to_string();
        let model = Model::build(&path, &Signature::default()).unwrap();
        let arena = Arena::new(gpu, model.graph.layout(), &vec![0.0; model.graph.params().len()]).unwrap();
        nn::load(gpu, &model, &arena, &parity_file(&format!("{name}.safetensors"))).unwrap();
        let images = hashed_images(IMAGES.0, IMAGES.1);
        let data = DeviceData::with_residency(gpu, images, 5, &[[0.0, 1.0]], false).unwrap();
        Self { model, arena, data, fixture: fixture("curvature_conv.safetensors"), name }
    }

    /// Tensors that lie end to end.
    fn split(&self, values: &[f32]) -> Vec<Vec<f32>> {
        let mut rest = values;
        let mut next = |len: usize| {
            let (tensor, behind) = rest.split_at(len);
            rest = behind;
            tensor.to_vec()
        };
        let tensors = self.arena.layout.spans().iter().map(|span| next(span.len)).collect();
        assert!(rest.is_empty());
        tensors
    }

    /// 1 or -1 for each parameter.
    fn direction(&self) -> Vec<Vec<f32>> {
        let sign = |tensor: u64, i: u64| (hash(DIRECTION + tensor, i) % 2) as f32 * 2.0 - 1.0;
        let signs = |(tensor, len): (u64, usize)| (0..len as u64).map(|i| sign(tensor, i)).collect();
        (0..).zip(self.arena.layout.spans().iter().map(|span| span.len)).map(signs).collect()
    }

    /// Both products for a loss, over batches of 5 and 3.
    fn check(&self, case: &str, loss: Loss, label_smoothing: f32) {
        let subject =
            Subject { model: &self.model, arena: &self.arena, loss: loss.into(), label_smoothing, data: &self.data };
        for (curvature, kind) in [(Curvature::Hessian, "hessian"), (Curvature::GaussNewton, "gauss_newton")] {
            let name = format!("{}-{case}", self.name);
            let expected = self.split(&self.fixture[&format!("{name}/{kind}")]);
            let apart = check(&name, &subject, curvature, [&self.direction(), &expected], CONV_TOLERANCE);
            println!("{name}, {curvature:?}: {apart:.1e} of a tensor's largest entry");
        }
    }
}

/// Convolutions of every kind, all norms, pools and smooth activations.
#[test]
fn products_of_net_toml_are_those_of_pytorch() {
    let network = Network::new("net");
    network.check("nll", Loss::Nll, 0.0);
    network.check("mse", Loss::Mse, 0.0);
}

/// A residual network of ReLUs and batch norms.
#[test]
fn products_of_relu_toml_are_those_of_pytorch() {
    let network = Network::new("relu");
    network.check("nll", Loss::Nll, 0.0);
    network.check("mse", Loss::Mse, 0.0);
    network.check("nll-smoothed", Loss::Nll, 0.2);
}
