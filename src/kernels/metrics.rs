//! A batch's loss and correct answers into the metrics ring: the host side of `shaders/metrics.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, Grid, KernelSpec, Recorder, View};

use super::index_u32;

pub(super) static METRICS_SUM: KernelSpec = KernelSpec {
    entry: "metrics_sum",
    source: include_str!("../../shaders/metrics.wgsl"),
    bindings: &[("row_stats", Access::ReadWrite), ("metrics", Access::ReadWrite)],
    immediate_bytes: 12,
};

/// The planned sum of one batch size.
#[derive(Debug)]
pub struct MetricsSum {
    dispatch: Dispatch,
    batch: u32,
    slots: u32,
}

impl MetricsSum {
    /// Shapes: `row_stats` [batch, 2], `metrics` [slots, 2].
    ///
    /// # Errors
    /// [`GpuError::Length`] for shapes that do not fit.
    pub fn new(gpu: &Gpu, row_stats: &View, metrics: &View, batch: usize) -> Result<Self, GpuError> {
        row_stats.expect_len(METRICS_SUM.entry, "row_stats", batch * 2)?;
        let batch = index_u32(METRICS_SUM.entry, &[batch])?;
        let slots = index_u32(METRICS_SUM.entry, &[metrics.len() / 2])?;
        if slots == 0 {
            let (kernel, found) = (METRICS_SUM.entry, metrics.len());
            return Err(GpuError::Length { kernel, argument: "metrics", expected: 2, found });
        }
        let kernel = gpu.kernel(&METRICS_SUM, &[])?;
        Ok(Self { dispatch: kernel.dispatch(gpu, Grid([1, 1, 1]), &[row_stats, metrics], &[])?, batch, slots })
    }

    /// Records the sum into a slot of the ring, or added to what the slot holds.
    pub fn record(&self, recorder: &mut Recorder<'_>, slot: u32, adds: bool) {
        let slot = slot % self.slots; // a ring, which the kernel does not check
        recorder.run_with(&self.dispatch, bytemuck::cast_slice(&[self.batch, slot, u32::from(adds)]));
    }
}
