//! A batch's loss and correct answers into the metrics ring: the host side of `shaders/metrics.wgsl`.

use crate::gpu::{Access, Dispatch, Gpu, GpuError, Grid, KernelSpec, Recorder, View};

use super::{
    Constant, index_u32,
    tree::{Launch, Tree},
};

pub(super) static METRICS_SUM: KernelSpec = KernelSpec {
    entry: "metrics_sum",
    source: concat!(include_str!("../../shaders/metrics.wgsl"), include_str!("../../shaders/shared/tree.wgsl")),
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

/// One workgroup: a small one is enough for what most batches are.
fn shared_out(batch: usize) -> (Constant, Launch) {
    let tree = Tree { sums: 1, lanes: if batch <= 4096 { 64 } else { 256 } };
    (tree.constants()[1], tree.launch(METRICS_SUM.entry, 1, tree.chain(batch, 1)))
}

impl MetricsSum {
    /// The dispatch for a batch.
    #[must_use]
    pub fn launch(batch: usize) -> Launch {
        shared_out(batch).1
    }

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
        let kernel = gpu.kernel(&METRICS_SUM, &[shared_out(batch as usize).0])?;
        Ok(Self { dispatch: kernel.dispatch(gpu, Grid([1, 1, 1]), &[row_stats, metrics], &[])?, batch, slots })
    }

    /// Records the sum into a slot of the ring, or added to what the slot holds.
    pub fn record(&self, recorder: &mut Recorder<'_>, slot: u32, adds: bool) {
        let slot = slot % self.slots; // a ring, which the kernel does not check
        recorder.run_with(&self.dispatch, bytemuck::cast_slice(&[self.batch, slot, u32::from(adds)]));
    }
}
