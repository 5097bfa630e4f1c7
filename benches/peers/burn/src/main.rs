//! Burn's side of the peer benchmarks: a training step of an MLP, or a square product, on the wgpu backend.

use std::{error::Error, time::Instant};

use burn::{
    module::Module,
    nn::{
        Linear, LinearConfig,
        loss::{CrossEntropyLoss, CrossEntropyLossConfig},
    },
    optim::{GradientsParams, ModuleOptimizer, SgdConfig, decay::WeightDecayConfig, momentum::MomentumConfig},
    tensor::{Device, Distribution, Int, Tensor, activation::relu},
};
use clap::Parser;
use serde_json::json;

type Failure = Box<dyn Error>;

const VERSION: &str = "0.22.1";
/// Batches that lie on the device and take turns.
const BATCHES: usize = 4;

/// Times Burn's training step, or a product, and prints one JSON object
#[derive(Debug, Parser)]
struct Args {
    /// mlp1, mlp2, mlp3, or widths such as mlp:784-500-10
    #[arg(long, default_value = "mlp1")]
    model: String,
    /// Samples a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Timed steps, or timed products
    #[arg(long, default_value_t = 20)]
    steps: u32,
    /// Steps before, in which Burn tunes and fuses
    #[arg(long, default_value_t = 10)]
    warmup: u32,
    /// Steps from one synchronisation to the next; a time is their mean
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    sync_every: u32,
    /// Time a square f32 product of this side instead of a step
    #[arg(long, value_name = "SIDE")]
    matmul: Option<usize>,
}

#[derive(Debug, Module)]
struct Mlp {
    layers: Vec<Linear>,
}

impl Mlp {
    fn new(widths: &[usize], device: &Device) -> Self {
        Self { layers: widths.windows(2).map(|pair| LinearConfig::new(pair[0], pair[1]).init(device)).collect() }
    }

    fn forward(&self, input: Tensor<2>) -> Tensor<2> {
        let last = self.layers.len() - 1;
        self.layers.iter().enumerate().fold(input, |value, (index, layer)| {
            let value = layer.forward(value);
            if index == last { value } else { relu(value) }
        })
    }
}

fn widths(model: &str) -> Result<Vec<usize>, Failure> {
    let text = match model {
        "mlp1" => "784-500-500-500-10",
        "mlp2" => "784-5000-5000-5000-10",
        "mlp3" => "784-1000-1000-1000-1000-1000-10",
        other => other.strip_prefix("mlp:").ok_or_else(|| format!("unknown model {other:?}"))?,
    };
    let widths: Vec<usize> = text.split('-').map(str::parse).collect::<Result<_, _>>()?;
    if widths.len() < 2 || widths.contains(&0) {
        return Err(format!("{model:?} has no layers, or a width of 0").into());
    }
    Ok(widths)
}

/// What a training step needs and changes.
struct Training {
    model: Mlp,
    optimizer: ModuleOptimizer,
    criterion: CrossEntropyLoss,
    data: Vec<(Tensor<2>, Tensor<1, Int>)>,
    steps: usize,
    loss: Option<Tensor<1>>,
}

impl Training {
    fn new(widths: &[usize], batch: usize, device: &Device) -> Self {
        let device = device.clone().autodiff();
        let (features, classes) = (widths[0], widths[widths.len() - 1]);
        let data = (0..BATCHES).map(|_| {
            let input = Tensor::random([batch, features], Distribution::Uniform(0.0, 1.0), &device);
            let labels = Tensor::<1, Int>::random([batch], Distribution::Uniform(0.0, classes as f64), &device);
            (input, labels.clamp(0, classes as i64 - 1))
        });
        let optimizer = SgdConfig::new()
            .with_momentum(Some(MomentumConfig::new().with_momentum(0.9).with_dampening(0.0)))
            .with_weight_decay(Some(WeightDecayConfig::new(5e-4)));
        Self {
            model: Mlp::new(widths, &device),
            optimizer: optimizer.init(),
            criterion: CrossEntropyLossConfig::new().init(&device),
            data: data.collect(),
            steps: 0,
            loss: None,
        }
    }

    /// Takes itself by value so that Burn holds the weights alone and may update them in place.
    fn step(mut self) -> Self {
        let (input, labels) = self.data[self.steps % BATCHES].clone();
        let loss = self.criterion.forward(self.model.forward(input), labels);
        let grads = GradientsParams::from_grads(loss.backward(), &self.model);
        self.model = self.optimizer.step(0.01, self.model, grads);
        self.steps += 1;
        self.loss = Some(loss.detach());
        self
    }
}

/// Milliseconds per call, each a mean from one synchronisation to the next, ascending; and what the calls made.
fn time<T>(args: &Args, device: &Device, mut state: T, call: impl Fn(T) -> T) -> Result<(Vec<f64>, T), Failure> {
    for _ in 0..args.warmup {
        state = call(state);
        device.sync()?;
    }
    let mut times = Vec::new();
    for _ in 0..args.steps.div_ceil(args.sync_every).max(1) {
        device.sync()?;
        let started = Instant::now();
        for _ in 0..args.sync_every {
            state = call(state);
        }
        device.sync()?;
        times.push(started.elapsed().as_secs_f64() * 1e3 / f64::from(args.sync_every));
    }
    times.sort_by(f64::total_cmp);
    Ok((times, state))
}

fn median(sorted: &[f64]) -> f64 {
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { 0.5 * (sorted[middle - 1] + sorted[middle]) }
}

fn finite(name: &str, value: f32) -> Result<f32, Failure> {
    if value.is_finite() { Ok(value) } else { Err(format!("the {name} is {value}").into()) }
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let widths = widths(&args.model)?;
    let (device, setup) = Device::wgpu_options().init_with_setup()?;
    let adapter = setup.adapter.get_info();
    let (times, what) = match args.matmul {
        Some(side) => {
            // Of norm about 1, so that a chain of products neither vanishes nor overflows.
            let bound = (3.0 / side as f64).sqrt();
            let matrix = || Tensor::<2>::random([side, side], Distribution::Uniform(-bound, bound), &device);
            let right = matrix();
            let (times, product) = time(&args, &device, matrix(), |left| left.matmul(right.clone()))?;
            finite("product's sum", product.sum().into_scalar())?;
            let gflops = 2e-6 * (side as f64).powi(3) / median(&times);
            (times, json!({ "matmul": side, "gflops": gflops }))
        }
        None => {
            let training = Training::new(&widths, args.batch, &device);
            let (times, training) = time(&args, &device, training, Training::step)?;
            let loss = training.loss.map_or(f32::NAN, |loss| loss.into_scalar());
            (times, json!({ "model": args.model, "batch": args.batch, "loss": finite("loss", loss)? }))
        }
    };
    let mut result = json!({
        "peer": "burn",
        "version": VERSION,
        "adapter": adapter.name,
        "api": adapter.backend.to_string(),
        "median_ms": median(&times),
        "min_ms": times.first(),
        "max_ms": times.last(),
        "steps": times.len() * args.sync_every as usize,
        "sync_every": args.sync_every,
    });
    if let (Some(result), Some(what)) = (result.as_object_mut(), what.as_object()) {
        result.extend(what.clone());
    }
    println!("{result}");
    Ok(())
}
