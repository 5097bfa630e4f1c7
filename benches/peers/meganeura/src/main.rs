//! Meganeura's side of the peer benchmarks: a training step of a network on its own Vulkan and Metal backend.

mod models;

use std::{error::Error, time::Instant};

use clap::Parser;
use meganeura::{Session, SessionConfig, build};
use serde_json::json;

use models::Network;

type Failure = Box<dyn Error>;

const VERSION: &str = "0.3.0";

/// Times Meganeura's training step, and prints one JSON object
#[derive(Debug, Parser)]
struct Args {
    /// mlp1, mlp2, mlp3, widths such as mlp:784-500-10, or resnet18-plain
    #[arg(long, default_value = "mlp1")]
    model: String,
    /// Samples a step
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Timed steps
    #[arg(long, default_value_t = 20)]
    steps: u32,
    /// Steps before; the first is timed by itself
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..))]
    warmup: u32,
    /// Steps from one synchronisation to the next; a time is their mean
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    sync_every: u32,
}

/// Numbers in [-1, 1) that look random, the same on every run.
fn numbers(seed: u64) -> impl Iterator<Item = f32> {
    // SplitMix64 (Steele, Lea and Flood 2014), its upper 24 bits.
    let mut state = seed;
    std::iter::repeat_with(move || {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    })
}

/// Weights as PyTorch draws them, and one batch of pixels and labels, on the device.
fn fill(session: &mut Session, network: &Network, batch: usize) {
    for (seed, parameter) in network.parameters.iter().enumerate() {
        let bound = 1.0 / (parameter.fan_in as f32).sqrt();
        let values: Vec<_> = numbers(seed as u64).take(parameter.len).map(|value| bound * value).collect();
        session.set_parameter(&parameter.name, &values);
    }
    let pixels: Vec<_> = numbers(1 << 32).take(batch * network.features).map(|value| 0.5 + 0.5 * value).collect();
    session.set_input("x", &pixels);
    let mut labels = vec![0.0; batch * network.classes];
    for row in 0..batch {
        labels[row * network.classes + row % network.classes] = 1.0;
    }
    session.set_input("labels", &labels);
}

/// Milliseconds a step over a block of them, from an idle device to an idle device.
fn block(session: &mut Session, steps: u32) -> f64 {
    session.wait();
    let started = Instant::now();
    for _ in 0..steps {
        session.step();
    }
    session.wait();
    started.elapsed().as_secs_f64() * 1e3 / f64::from(steps)
}

fn main() -> Result<(), Failure> {
    let args = Args::parse();
    let network = Network::new(&args.model, args.batch)?;
    let mut session = build(&network.graph, SessionConfig::from_env()).0;
    session.set_learning_rate(0.01);
    session.set_weight_decay(5e-4);
    fill(&mut session, &network, args.batch);
    let first = block(&mut session, 1);
    for _ in 1..args.warmup {
        block(&mut session, 1);
    }
    let blocks = args.steps.div_ceil(args.sync_every).max(1);
    let mut times: Vec<_> = (0..blocks).map(|_| block(&mut session, args.sync_every)).collect();
    times.sort_by(f64::total_cmp);
    let loss = session.read_loss();
    if !loss.is_finite() {
        return Err(format!("the loss is {loss}").into());
    }
    let median = 0.5 * (times[times.len() / 2] + times[(times.len() - 1) / 2]);
    let device = session.device_information();
    println!(
        "{}",
        json!({
            "peer": "meganeura",
            "version": VERSION,
            "adapter": device.device_name,
            "api": device.driver_name,
            "precision": "f32",
            "noise": "none",
            "model": args.model,
            "batch": args.batch,
            "parameters": network.parameters.iter().map(|parameter| parameter.len).sum::<usize>(),
            "loss": loss,
            "dispatches": session.plan().dispatches.len(),
            "median_ms": median,
            "min_ms": times.first(),
            "max_ms": times.last(),
            "first_step_ms": first,
            "steps": blocks * args.sync_every,
            "sync_every": args.sync_every,
        })
    );
    Ok(())
}
