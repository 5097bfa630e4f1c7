//! Time per kernel from timestamp queries at pass boundaries.

use std::collections::BTreeMap;

use super::{Gpu, GpuError, readback};

/// Two queries a dispatch; a plan with more dispatches than half of this is timed in part.
pub(super) const QUERIES_PER_SUBMIT: u32 = 2048;

/// Time spent in one kernel.
#[derive(Clone, Debug, serde::Serialize)]
pub struct KernelTime {
    /// Entry point.
    pub kernel: String,
    /// Dispatches timed.
    pub count: u64,
    /// Their time together, milliseconds.
    pub total_ms: f64,
}

/// Times every dispatch recorded with it. Waits for the device at every submit, so it is no measure of the whole step.
#[derive(Debug)]
pub struct Profile {
    pub(super) queries: wgpu::QuerySet,
    pub(super) resolved: wgpu::Buffer,
    spans: Vec<String>,
    totals: BTreeMap<String, (u64, f64)>,
}

impl Profile {
    /// # Errors
    /// [`GpuError::MissingFeature`] if the adapter has no timestamps.
    pub fn new(gpu: &Gpu) -> Result<Self, GpuError> {
        if !gpu.has_timestamps() {
            let adapter = gpu.adapter_name().to_owned();
            return Err(GpuError::MissingFeature { adapter, feature: "timestamp queries (for --profile)" });
        }
        let descriptor = wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count: QUERIES_PER_SUBMIT,
        };
        let queries = gpu.device.create_query_set(&descriptor);
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.raw_buffer("profile", u64::from(QUERIES_PER_SUBMIT) * 8, usage)?;
        Ok(Self { queries, resolved, spans: Vec::new(), totals: BTreeMap::new() })
    }

    /// Index of the first of two queries for a dispatch, `None` when this submit has none left.
    pub(super) fn next_span(&mut self, kernel: &str) -> Option<u32> {
        let begin = self.spans.len() as u32 * 2;
        if begin + 2 > QUERIES_PER_SUBMIT {
            return None;
        }
        self.spans.push(kernel.to_owned());
        Some(begin)
    }

    pub(super) fn collect(&mut self, gpu: &Gpu) -> Result<(), GpuError> {
        let ticks: Vec<u64> = readback::read_raw(gpu, &self.resolved)?;
        let ms_per_tick = f64::from(gpu.queue.get_timestamp_period()) * 1e-6;
        for (kernel, span) in self.spans.drain(..).zip(ticks.chunks_exact(2)) {
            let entry = self.totals.entry(kernel).or_default();
            entry.0 += 1;
            entry.1 += span[1].saturating_sub(span[0]) as f64 * ms_per_tick;
        }
        Ok(())
    }

    /// The kernels timed so far, slowest first.
    #[must_use]
    pub fn times(&self) -> Vec<KernelTime> {
        let mut times: Vec<_> = self
            .totals
            .iter()
            .map(|(kernel, (count, total_ms))| KernelTime {
                kernel: kernel.clone(),
                count: *count,
                total_ms: *total_ms,
            })
            .collect();
        times.sort_by(|a, b| b.total_ms.total_cmp(&a.total_ms));
        times
    }
}
