//! Times of calls that run from an idle device to an idle device.

use std::time::Instant;

use burn::tensor::Device;

use crate::Failure;

/// How often to call.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// Calls before the timed ones, the first of them included.
    pub warmup: u32,
    /// Timed calls, rounded up to whole blocks.
    pub steps: u32,
    /// Calls from one synchronisation to the next.
    pub block: u32,
}

/// Milliseconds.
#[derive(Clone, Debug)]
pub struct Times {
    /// Of the first call, in which Burn compiles and tunes its kernels.
    pub first: f64,
    /// Per call, each a mean over a block, ascending.
    pub sorted: Vec<f64>,
}

impl Times {
    pub fn median(&self) -> f64 {
        let middle = self.sorted.len() / 2;
        match self.sorted.len() % 2 {
            1 => self.sorted[middle],
            _ => 0.5 * (self.sorted[middle - 1] + self.sorted[middle]),
        }
    }
}

/// Milliseconds per call over a block of calls, and what they made.
fn block<T>(calls: u32, device: &Device, mut state: T, call: impl Fn(T) -> T) -> Result<(f64, T), Failure> {
    device.sync()?;
    let started = Instant::now();
    for _ in 0..calls {
        state = call(state);
    }
    device.sync()?;
    Ok((started.elapsed().as_secs_f64() * 1e3 / f64::from(calls), state))
}

/// Times the calls; returns what they made too.
pub fn time<T>(schedule: Schedule, device: &Device, state: T, call: impl Fn(T) -> T) -> Result<(Times, T), Failure> {
    let (first, mut state) = block(1, device, state, &call)?;
    for _ in 1..schedule.warmup {
        (_, state) = block(1, device, state, &call)?;
    }
    let mut sorted = Vec::new();
    for _ in 0..schedule.steps.div_ceil(schedule.block).max(1) {
        let (ms, next) = block(schedule.block, device, state, &call)?;
        sorted.push(ms);
        state = next;
    }
    sorted.sort_by(f64::total_cmp);
    Ok((Times { first, sorted }, state))
}
