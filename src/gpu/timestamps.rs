//! Time per kernel from timestamp queries at pass boundaries.

use std::collections::BTreeMap;

use super::{Gpu, GpuError, readback};

/// Two queries a dispatch; a plan with more dispatches than half of this is timed in part.
const QUERIES_PER_SUBMIT: u32 = 4096;

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

/// A dispatch, or a pass, that was timed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Span {
    /// The step of a plan that it belongs to, where [`super::Recorder::label_step`] gave one.
    pub step: Option<usize>,
    /// Entry point; the first one's of a pass.
    pub kernel: &'static str,
    /// Milliseconds.
    pub ms: f64,
}

/// Times every dispatch recorded with it. Waits for the device at every submit, so it does not measure the whole step.
#[derive(Debug)]
pub struct Profile {
    queries: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    /// Whether each dispatch gets a pass of its own.
    pub(super) each_dispatch: bool,
    pub(super) step: Option<usize>,
    recorded: Vec<(Option<usize>, &'static str)>,
    last: Vec<Span>,
    totals: BTreeMap<&'static str, (u64, f64)>,
}

impl Profile {
    /// # Errors
    /// [`GpuError::MissingFeature`] if the adapter has no timestamps.
    pub fn new(gpu: &Gpu) -> Result<Self, GpuError> {
        if !gpu.has_timestamps() {
            let adapter = gpu.adapter_name().to_owned();
            return Err(GpuError::MissingFeature { adapter, feature: "timestamp queries, which time kernels" });
        }
        let descriptor = wgpu::QuerySetDescriptor {
            label: Some("profile"),
            ty: wgpu::QueryType::Timestamp,
            count: QUERIES_PER_SUBMIT,
        };
        let queries = gpu.device.create_query_set(&descriptor);
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.raw_buffer("profile", u64::from(QUERIES_PER_SUBMIT) * 8, usage)?;
        let (recorded, last, totals) = (Vec::new(), Vec::new(), BTreeMap::new());
        Ok(Self { queries, resolved, each_dispatch: true, step: None, recorded, last, totals })
    }

    /// Times passes of many dispatches as a whole.
    ///
    /// # Errors
    /// As [`Profile::new`].
    pub fn whole_passes(gpu: &Gpu) -> Result<Self, GpuError> {
        Ok(Self { each_dispatch: false, ..Self::new(gpu)? })
    }

    /// Two timestamps for a pass, `None` when this submit has none left.
    pub(super) fn next_span(&mut self, kernel: &'static str) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        let begin = self.recorded.len() as u32 * 2;
        if begin + 2 > QUERIES_PER_SUBMIT {
            return None;
        }
        self.recorded.push((self.step, kernel));
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.queries,
            beginning_of_pass_write_index: Some(begin),
            end_of_pass_write_index: Some(begin + 1),
        })
    }

    /// Only what was written: some drivers would wait for the rest for ever.
    pub(super) fn resolve(&self, encoder: &mut wgpu::CommandEncoder) {
        let written = self.recorded.len() as u32 * 2;
        if written > 0 {
            encoder.resolve_query_set(&self.queries, 0..written, &self.resolved, 0);
        }
    }

    pub(super) fn collect(&mut self, gpu: &Gpu) -> Result<(), GpuError> {
        self.last.clear();
        if self.recorded.is_empty() {
            return Ok(());
        }
        let ticks: Vec<u64> = readback::read_raw(gpu, &self.resolved, 2 * self.recorded.len())?;
        let ms_per_tick = f64::from(gpu.queue.get_timestamp_period()) * 1e-6;
        for ((step, kernel), span) in self.recorded.drain(..).zip(ticks.chunks_exact(2)) {
            let ms = span[1].saturating_sub(span[0]) as f64 * ms_per_tick;
            let entry = self.totals.entry(kernel).or_default();
            entry.0 += 1;
            entry.1 += ms;
            self.last.push(Span { step, kernel, ms });
        }
        Ok(())
    }

    /// What the last submit timed, in the order of its recording.
    #[must_use]
    pub fn last(&self) -> &[Span] {
        &self.last
    }

    /// The kernels timed so far, slowest first.
    #[must_use]
    pub fn times(&self) -> Vec<KernelTime> {
        let kernel_time = |(kernel, (count, total_ms)): (&&str, &(u64, f64))| KernelTime {
            kernel: (*kernel).to_owned(),
            count: *count,
            total_ms: *total_ms,
        };
        let mut times: Vec<_> = self.totals.iter().map(kernel_time).collect();
        times.sort_by(|a, b| b.total_ms.total_cmp(&a.total_ms));
        times
    }
}
