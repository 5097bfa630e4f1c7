//! What the adapter can do at most, by kernels made to show it.

use std::time::Instant;

use serde::Serialize;

use crate::{
    gpu::{Buffer, Dispatch, Element, Family, Gpu, GpuError, Work},
    kernels::{StreamKernel, empty, peak_flops, stream},
};

use super::{quantile, sorted, stopwatch::Stopwatch};

/// Tensors from what the nearest cache holds to more than the largest holds; bytes of all operands together.
const WORKING_SETS: [u64; 6] = [256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20, 384 << 20];

/// Invocations of the multiply-add kernel: more than the largest GPU holds at once, and plenty for the cores of a CPU.
const INVOCATIONS: usize = 1 << 19;
const INVOCATIONS_SOFTWARE: usize = 1 << 13;

/// A measurement repeats within one pass until it takes as long, so that neither launch nor clock weigh.
const LONG_ENOUGH_MS: f64 = 8.0;

/// Repetitions of a measurement, of which the best counts, and the seconds after which there are no more but for three.
const REPETITIONS: usize = 16;
const SECONDS: f64 = 0.25;

/// Dispatches whose number is large enough that a submit's cost stays out of theirs.
const EMPTY_DISPATCHES: usize = 256;

/// Submits that are timed one by one.
const SUBMITS: usize = 64;

/// The best rate through operands of a size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bandwidth {
    /// Bytes of all operands of a dispatch.
    pub bytes: u64,
    /// Bytes read and written, in 10^9 a second.
    pub gigabytes_per_second: f64,
    /// What was fastest.
    pub way: StreamKernel,
}

/// What an adapter was seen to reach; not what its maker states.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ceilings {
    /// Multiply-adds in f32, 10^9 operations a second (two each).
    pub f32_gflops: f64,
    /// The same in f16, where the adapter has it.
    pub f16_gflops: Option<f64>,
    /// By size of the operands, the last larger than the caches.
    pub bandwidth: Vec<Bandwidth>,
    /// From one dispatch of a pass to the next that waits for it, microseconds.
    pub dispatch_us: f64,
    /// From recording a single dispatch to knowing that it is done, microseconds, median.
    pub submit_us: f64,
    /// Whether the device's timestamps were taken, or the host's clock.
    pub timestamps: bool,
}

/// What keeps a dispatch from being faster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    /// Its operations.
    Compute,
    /// Its bytes.
    Memory,
    /// Nothing but being a dispatch: its work would take less than an empty one.
    Latency,
    /// The rate of the adapter's cooperative matrices, which is not measured.
    Matrices,
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Compute => "compute",
            Self::Memory => "memory",
            Self::Latency => "latency",
            Self::Matrices => "matrices",
        })
    }
}

impl Ceilings {
    /// Measures.
    ///
    /// # Errors
    /// Those of the device.
    pub fn measure(gpu: &Gpu) -> Result<Self, GpuError> {
        let mut watch = Stopwatch::new(gpu)?;
        Ok(Self {
            f32_gflops: flops(&mut watch, Element::Word)?,
            f16_gflops: gpu.has_f16().then(|| flops(&mut watch, Element::Half)).transpose()?,
            bandwidth: bandwidth(&mut watch)?,
            dispatch_us: dispatch_us(&mut watch)?,
            submit_us: submit_us(gpu)?,
            timestamps: watch.has_timestamps(),
        })
    }

    /// The better of two measurements: a busy machine only makes them worse.
    #[must_use]
    pub fn best(self, other: &Self) -> Self {
        let pairs = self.bandwidth.into_iter().zip(&other.bandwidth);
        let faster =
            |(a, b): (Bandwidth, &Bandwidth)| if b.gigabytes_per_second > a.gigabytes_per_second { *b } else { a };
        Self {
            f32_gflops: self.f32_gflops.max(other.f32_gflops),
            f16_gflops: self.f16_gflops.zip(other.f16_gflops).map(|(a, b)| a.max(b)),
            bandwidth: pairs.map(faster).collect(),
            dispatch_us: self.dispatch_us.min(other.dispatch_us),
            submit_us: self.submit_us.min(other.submit_us),
            timestamps: self.timestamps,
        }
    }

    /// Bandwidth for operands of so many bytes: the best that was seen for as many or more.
    #[must_use]
    pub fn bandwidth_at(&self, bytes: u64) -> f64 {
        let largest = self.bandwidth.len().saturating_sub(1);
        let rungs = self.bandwidth.iter().enumerate().filter(|(i, rung)| rung.bytes >= bytes || *i == largest);
        rungs.map(|(_, rung)| rung.gigabytes_per_second).fold(0.0, f64::max)
    }

    /// The least milliseconds that a dispatch can take: work / min(peak, intensity * bandwidth).
    #[must_use]
    pub fn least_ms(&self, work: Work) -> f64 {
        self.compute_ms(work).max(self.memory_ms(work))
    }

    fn compute_ms(&self, work: Work) -> f64 {
        work.flops as f64 / self.f32_gflops * 1e-6
    }

    fn memory_ms(&self, work: Work) -> f64 {
        work.bytes as f64 / self.bandwidth_at(work.bytes) * 1e-6
    }

    /// What bounds a dispatch.
    #[must_use]
    pub fn bound(&self, work: Work) -> Bound {
        if self.least_ms(work) < 1e-3 * self.dispatch_us {
            Bound::Latency
        } else if self.compute_ms(work) >= self.memory_ms(work) {
            Bound::Compute
        } else {
            Bound::Memory
        }
    }
}

/// The least milliseconds of one of `dispatch`, run as often in a pass as makes it long enough.
fn least_ms(watch: &mut Stopwatch<'_>, dispatch: &Dispatch) -> Result<f64, GpuError> {
    let dispatches = std::slice::from_ref(dispatch);
    let mut times = 1;
    let mut best = watch.repeated(dispatches, times)?;
    while best * f64::from(times) < LONG_ENOUGH_MS && times < 1 << 12 {
        times *= 2;
        best = best.min(watch.repeated(dispatches, times)?);
    }
    let started = Instant::now();
    for repetition in 0..REPETITIONS {
        if repetition >= 3 && started.elapsed().as_secs_f64() > SECONDS {
            break;
        }
        best = best.min(watch.repeated(dispatches, times)?);
    }
    Ok(best)
}

/// 10^9 operations a second on elements of a kind.
fn flops(watch: &mut Stopwatch<'_>, element: Element) -> Result<f64, GpuError> {
    let invocations = if watch.gpu.family() == Family::Software { INVOCATIONS_SOFTWARE } else { INVOCATIONS };
    let output = watch.gpu.buffer("peak", element.words(invocations))?.view().read_as(element, invocations)?;
    let mut best: f64 = 0.0;
    for fused in [false, true] {
        let mut rounds = 4;
        // Rounds enough that the launch does not weigh.
        let ms = loop {
            let (dispatch, operations) = peak_flops(watch.gpu, &output, rounds, fused)?;
            let ms = watch.repeated(std::slice::from_ref(&dispatch), 1)?;
            if ms > LONG_ENOUGH_MS || rounds > 1 << 20 {
                break least_ms(watch, &dispatch)? / operations as f64;
            }
            rounds *= 2;
        };
        best = best.max(1e-6 / ms);
    }
    Ok(best)
}

/// The buffers a, b and output of the largest working set that the adapter binds.
fn buffers(gpu: &Gpu) -> Result<[Buffer; 3], GpuError> {
    let limit = gpu.limits().binding_bytes.min(gpu.limits().buffer_bytes);
    let bytes = WORKING_SETS.iter().copied().max().unwrap_or(0);
    let words = |bytes: u64| (bytes.min(limit) / crate::gpu::WORD_BYTES) as usize;
    // Of a pass of reads alone nearly all is a; copies and triads share evenly.
    Ok([gpu.buffer("a", words(bytes))?, gpu.buffer("b", words(bytes / 3))?, gpu.buffer("output", words(bytes / 2))?])
}

fn bandwidth(watch: &mut Stopwatch<'_>) -> Result<Vec<Bandwidth>, GpuError> {
    let buffers = buffers(watch.gpu)?;
    let [a, b, output] = buffers.each_ref().map(Buffer::view);
    let mut rungs = Vec::new();
    for bytes in WORKING_SETS {
        let mut rung: Option<Bandwidth> = None;
        for way in StreamKernel::ALL {
            let Ok((dispatch, moved)) = stream(watch.gpu, way, [&a, &b, &output], bytes) else { continue };
            let gigabytes_per_second = moved as f64 / least_ms(watch, &dispatch)? * 1e-6;
            if rung.is_none_or(|best| gigabytes_per_second > best.gigabytes_per_second) {
                rung = Some(Bandwidth { bytes, gigabytes_per_second, way });
            }
        }
        rungs.extend(rung);
    }
    Ok(rungs)
}

fn dispatch_us(watch: &mut Stopwatch<'_>) -> Result<f64, GpuError> {
    let output = watch.gpu.buffer("empty", 1)?.view();
    let dispatch = empty(watch.gpu, &output)?;
    let mut best = f64::INFINITY;
    for _ in 0..=REPETITIONS {
        best = best.min(watch.repeated(std::slice::from_ref(&dispatch), EMPTY_DISPATCHES as u32)?);
    }
    Ok(1e3 * best)
}

fn submit_us(gpu: &Gpu) -> Result<f64, GpuError> {
    let output = gpu.buffer("empty", 1)?.view();
    let dispatch = empty(gpu, &output)?;
    let mut times = Vec::new();
    for _ in 0..SUBMITS {
        gpu.wait()?;
        let started = Instant::now();
        let mut recorder = gpu.record();
        recorder.run(&dispatch);
        recorder.submit()?;
        gpu.wait()?;
        times.push(1e6 * started.elapsed().as_secs_f64());
    }
    Ok(quantile(&sorted(times), 0.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 100 GFLOP/s; 20 GB/s from the cache, 10 from memory; 2 us a dispatch.
    fn ceilings() -> Ceilings {
        let rung = |bytes, gigabytes_per_second| Bandwidth { bytes, gigabytes_per_second, way: StreamKernel::Triad };
        Ceilings {
            f32_gflops: 100.0,
            f16_gflops: None,
            bandwidth: vec![rung(1 << 20, 20.0), rung(1 << 24, 8.0), rung(1 << 28, 10.0)],
            dispatch_us: 2.0,
            submit_us: 50.0,
            timestamps: true,
        }
    }

    #[test]
    fn bandwidth_is_the_best_of_as_many_bytes_or_more() {
        let ceilings = ceilings();
        let at = [1, 1 << 20, (1 << 20) + 1, 1 << 24, 1 << 28, 1 << 40].map(|bytes| ceilings.bandwidth_at(bytes));
        assert_eq!(at, [20.0, 20.0, 10.0, 10.0, 10.0, 10.0]);
    }

    #[test]
    fn the_ceiling_is_the_lower_of_peak_and_intensity_times_bandwidth() {
        let ceilings = ceilings();
        // 1 GB from memory takes 100 ms, 10 GFLOP as long: intensity 10 is the ridge.
        let work = |gflops: f64| Work { flops: (gflops * 1e9) as u64, bytes: 1_000_000_000 };
        for (gflops, ms, bound) in [
            (0.0, 100.0, Bound::Memory),
            (9.0, 100.0, Bound::Memory),
            (10.0, 100.0, Bound::Compute),
            (30.0, 300.0, Bound::Compute),
        ] {
            let least = ceilings.least_ms(work(gflops));
            assert!((least - ms).abs() < 1e-9, "{gflops} GFLOP: {least} ms");
            assert_eq!(ceilings.bound(work(gflops)), bound);
            let rate = gflops / least * 1e3;
            assert!((rate - f64::min(100.0, gflops * 10.0)).abs() < 1e-9, "{gflops}: min(peak, intensity x bandwidth)");
        }
    }

    #[test]
    fn what_is_done_sooner_than_a_dispatch_is_bound_by_it() {
        // 20 KB from the cache take 1 us.
        assert_eq!(ceilings().bound(Work { flops: 10, bytes: 20_000 }), Bound::Latency);
        assert_eq!(ceilings().bound(Work { flops: 10, bytes: 60_000 }), Bound::Memory);
    }

    #[test]
    fn the_better_of_two_measurements_is_taken_number_by_number() {
        let mut other = ceilings();
        (other.f32_gflops, other.dispatch_us, other.bandwidth[1].gigabytes_per_second) = (90.0, 1.5, 9.0);
        let best = ceilings().best(&other);
        assert_eq!((best.f32_gflops, best.dispatch_us, best.bandwidth[1].gigabytes_per_second), (100.0, 1.5, 9.0));
        assert_eq!(best.bandwidth[0], ceilings().bandwidth[0]);
    }
}
