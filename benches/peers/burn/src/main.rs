//! Burn's side of the peer benchmarks: a training step of a network, or a square product, on the wgpu backend.

mod models;
mod timing;
mod training;

use std::error::Error;

use burn::tensor::{Device, Distribution, Tensor};
use clap::Parser;
use serde_json::{Value, json};

use timing::{Schedule, Times, time};
use training::Training;

type Failure = Box<dyn Error>;

const VERSION: &str = "0.22.1";

/// Times Burn's training step, or a product, and prints one JSON object
#[derive(Debug, Parser)]
struct Args {
    /// mlp1, mlp2, mlp3, widths such as mlp:784-500-10, cnn1, cnn2, resnet18, resnet20 or vgg11-bn
    #[arg(long, default_value = "mlp1")]
    model: String,
    /// Samples a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Timed steps, or timed products
    #[arg(long, default_value_t = 20)]
    steps: u32,
    /// Steps before, in which Burn tunes and fuses; the first is timed by itself
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    warmup: u32,
    /// Steps from one synchronisation to the next; a time is their mean
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    sync_every: u32,
    /// Time a square f32 product of this side instead of a step
    #[arg(long, value_name = "SIDE")]
    matmul: Option<usize>,
}

fn finite(name: &str, value: f32) -> Result<f32, Failure> {
    if value.is_finite() { Ok(value) } else { Err(format!("the {name} is {value}").into()) }
}

/// A chain of products, of norm about 1 so that it neither vanishes nor overflows.
fn product(schedule: Schedule, device: &Device, side: usize) -> Result<(Times, Value), Failure> {
    let bound = (3.0 / side as f64).sqrt();
    let matrix = || Tensor::<2>::random([side, side], Distribution::Uniform(-bound, bound), device);
    let right = matrix();
    let (times, product) = time(schedule, device, matrix(), |left| left.matmul(right.clone()))?;
    finite("product's sum", product.sum().into_scalar())?;
    let gflops = 2e-6 * (side as f64).powi(3) / times.median();
    Ok((times, json!({ "matmul": side, "gflops": gflops })))
}

fn training(schedule: Schedule, device: &Device, args: &Args) -> Result<(Times, Value), Failure> {
    let training = Training::new(&args.model, args.batch, device)?;
    let parameters = training.parameters();
    let (times, training) = time(schedule, device, training, Training::step)?;
    let loss = finite("loss", training.loss())?;
    Ok((times, json!({ "model": args.model, "batch": args.batch, "parameters": parameters, "loss": loss })))
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let (device, setup) = Device::wgpu_options().init_with_setup()?;
    let adapter = setup.adapter.get_info();
    let schedule = Schedule { warmup: args.warmup, steps: args.steps, block: args.sync_every };
    let (times, what) = match args.matmul {
        Some(side) => product(schedule, &device, side)?,
        None => training(schedule, &device, &args)?,
    };
    let mut result = json!({
        "peer": "burn",
        "version": VERSION,
        "adapter": adapter.name,
        "api": adapter.backend.to_string(),
        "median_ms": times.median(),
        "min_ms": times.sorted.first(),
        "max_ms": times.sorted.last(),
        "first_step_ms": times.first,
        "steps": times.sorted.len() * args.sync_every as usize,
        "sync_every": args.sync_every,
    });
    if let (Some(result), Some(what)) = (result.as_object_mut(), what.as_object()) {
        result.extend(what.clone());
    }
    println!("{result}");
    Ok(())
}
