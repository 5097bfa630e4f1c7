//! A training step.

use burn::{
    nn::loss::{CrossEntropyLoss, CrossEntropyLossConfig},
    optim::{GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig},
    tensor::{Device, Distribution, Int, Tensor},
};

use crate::{
    Failure,
    models::{IMAGE, Input, Network, Shape},
};

/// Batches that lie on the device and take turns.
const BATCHES: usize = 4;

type Batch = (Input, Tensor<1, Int>);

/// What a training step needs and changes.
pub struct Training {
    model: Network,
    optimizer: ModuleOptimizer,
    criterion: CrossEntropyLoss,
    data: Vec<Batch>,
    steps: usize,
    loss: Option<Tensor<1>>,
}

fn random_batch(shape: Shape, batch: usize, device: &Device) -> Batch {
    let pixels = Distribution::Uniform(0.0, 1.0);
    let [channels, height, width] = IMAGE;
    let input = match shape.features {
        Some(features) => Input::Rows(Tensor::random([batch, features], pixels, device)),
        None => Input::Images(Tensor::random([batch, channels, height, width], pixels, device)),
    };
    let labels = Tensor::<1, Int>::random([batch], Distribution::Uniform(0.0, shape.classes as f64), device);
    (input, labels.clamp(0, shape.classes as i64 - 1))
}

impl Training {
    /// Of the network of that name.
    pub fn new(name: &str, batch: usize, device: &Device) -> Result<Self, Failure> {
        let device = device.clone().autodiff();
        let (model, shape) = Network::new(name, &device)?;
        let optimizer = SgdConfig::new()
            .with_momentum(Some(MomentumConfig::new().with_momentum(0.9).with_dampening(0.0)))
            .with_weight_decay(Some(WeightDecayConfig::new(5e-4)));
        Ok(Self {
            model,
            optimizer: optimizer.init(),
            criterion: CrossEntropyLossConfig::new().init(&device),
            data: (0..BATCHES).map(|_| random_batch(shape, batch, &device)).collect(),
            steps: 0,
            loss: None,
        })
    }

    /// Takes itself by value so that Burn holds the weights alone and may update them in place.
    pub fn step(mut self) -> Self {
        let (input, labels) = self.data[self.steps % BATCHES].clone();
        let loss = self.criterion.forward(self.model.forward(input), labels);
        let grads = GradientsParams::from_grads(loss.backward(), &self.model);
        self.model = self.optimizer.step(0.01, self.model, grads);
        self.steps += 1;
        self.loss = Some(loss.detach());
        self
    }

    pub fn parameters(&self) -> usize {
        self.model.parameters()
    }

    /// Of the last step.
    pub fn loss(self) -> f32 {
        self.loss.map_or(f32::NAN, |loss| loss.into_scalar())
    }
}
