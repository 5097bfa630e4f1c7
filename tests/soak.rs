//! A long run takes no more memory at its end than near its beginning. 20,000 steps with JOSTLE_SOAK, else a tenth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "suite/common/mod.rs"]
#[allow(dead_code, reason = "the suite uses the rest of it")]
mod common;

use common::supervised::{begin, config, every};
use jostle::{
    gpu::Gpu,
    train::{Control, Event, Message, RunConfig, RunResult, Trainer},
};
use sysinfo::{ProcessRefreshKind, ProcessesToUpdate, System};

/// Bytes that this process has in memory, and that the driver has given to buffers of the device.
#[derive(Clone, Copy, Debug)]
struct Memory {
    host: u64,
    device: u64,
}

fn memory(device: &wgpu::Device) -> Memory {
    let id = sysinfo::get_current_pid().unwrap();
    let mut system = System::new();
    system.refresh_processes_specifics(
        ProcessesToUpdate::Some(&[id]),
        true,
        ProcessRefreshKind::nothing().with_memory(),
    );
    let host = system.process(id).unwrap().memory();
    Memory { host, device: device.generate_allocator_report().map_or(0, |report| report.total_allocated_bytes) }
}

#[test]
fn memory_stays_flat() {
    let steps = if std::env::var_os("JOSTLE_SOAK").is_some() { 20_000 } else { 2_000 };
    let dir = tempfile::tempdir().unwrap();
    // 82 steps an epoch: evaluations, checkpoints and metrics are part of it.
    let config = RunConfig { batch: 16, steps: Some(steps), eval_noisy: 1, ..config() };
    let gpu = std::cell::OnceCell::new();
    let open = || {
        let opened = Gpu::new(&jostle::gpu::AdapterChoice::from_environment())?;
        gpu.set(opened.raw_device().clone()).unwrap();
        Ok(opened)
    };
    let mut seen = Vec::new();
    let mut observe = |message: Message<'_>| {
        if let Message::Event(Event::Progress { step, .. }) = message
            && step.is_multiple_of(steps / 10)
        {
            seen.push((step, memory(gpu.get().unwrap())));
        }
        Ok(Control::Continue)
    };
    let mut finish = |trainer: &Trainer<'_>, _: &RunResult, _| {
        println!("{}, {}", trainer.gpu().adapter_name(), trainer.gpu().driver());
        Ok(())
    };
    begin(dir.path(), &config, every(100)).run(&open, false, &mut observe, &mut finish).unwrap();
    for (step, memory) in &seen {
        println!("step {step:>6}: host {:>11} bytes, device {:>9} bytes", memory.host, memory.device);
    }
    let (start, end) = (seen[1].1, seen.last().unwrap().1);
    // What lies on the device at a moment is the run's buffers and at most a few readings on their way.
    assert!(end.device > 0 && end.device <= start.device + (64 << 10), "device memory: {seen:?}");
    // Of 20,000 steps a leak of 66 bytes each would show; the allocator's own ups and downs are below.
    let growth = end.host.saturating_sub(start.host);
    assert!(growth < 1 << 20, "host memory grew by {growth} bytes: {seen:?}");
}
