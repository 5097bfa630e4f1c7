//! A schedule bound on a device: made once, recorded every step.

use std::time::Instant;

use rayon::prelude::*;

use crate::{
    gpu::{ALIGNMENT_WORDS, Dispatch, Gpu, GpuError, Recorder, View, WORD_BYTES},
    kernels::{AdapterClass, Arena},
};

use super::{
    BatchInfo, DataViews, Record, Schedule,
    bind::{Binder, TangentArenas},
    cut_columns::ranges,
    memory,
};

/// Every dispatch of a batch, bound and ready.
#[derive(Debug)]
pub struct Plan {
    calls: Vec<Box<dyn Record>>,
    output: View,
    /// The outputs' width, and the columns that go together where they lie in parts.
    columns: (usize, Option<usize>),
}

impl Plan {
    /// Allocates the activation arena and binds every call; `metrics` is [slots, 2].
    ///
    /// # Errors
    /// [`GpuError::TooLarge`] before anything is allocated past a limit; errors of the kernels.
    pub fn new(
        gpu: &Gpu,
        schedule: &Schedule,
        arena: &Arena,
        data: &DataViews,
        metrics: &View,
    ) -> Result<Self, GpuError> {
        Self::with_tangents(gpu, schedule, arena, None, data, metrics)
    }

    /// As [`Plan::new`], for a schedule of a product with the Hessian, which needs `tangents`.
    ///
    /// # Errors
    /// As [`Plan::new`]; [`GpuError::Length`] for such a schedule without `tangents`.
    pub fn with_tangents(
        gpu: &Gpu,
        schedule: &Schedule,
        arena: &Arena,
        tangents: Option<&TangentArenas>,
        data: &DataViews,
        metrics: &View,
    ) -> Result<Self, GpuError> {
        let started = Instant::now();
        let limits = gpu.limits();
        let bank_words = memory::bank_words(limits.buffer_bytes);
        let (bytes, limit) = (schedule.largest_binding_bytes(), limits.binding_bytes.min(limits.buffer_bytes));
        if bytes > limit {
            let what = format!("the largest tensor of a batch of {}", schedule.batch);
            return Err(GpuError::TooLarge { what, bytes, limit, limit_name: "max_storage_buffer_binding_size" });
        }
        if let Some(slot) = schedule.slots.iter().max_by_key(|slot| slot.words())
            && slot.words() > bank_words
        {
            let (what, bytes) = (format!("tensor {}", slot.name), slot.words() as u64 * WORD_BYTES);
            let limit = limits.buffer_bytes;
            return Err(GpuError::TooLarge { what, bytes, limit, limit_name: "max_buffer_size" });
        }
        let places = schedule.places(bank_words);
        let banks = places.placement.banks().map(|words| gpu.buffer("activations", words)).collect::<Result<_, _>>()?;
        let scratch = gpu.buffer("scratch", schedule.scratch_words(AdapterClass::for_device(gpu))?)?;
        let binder = Binder { gpu, schedule, places, banks, scratch, arena, tangents, data, metrics };
        // Side by side: most of the time goes into compiling kernels.
        let calls = schedule.steps.par_iter().map(|step| binder.bind(&step.call)).collect::<Result<_, _>>()?;
        log::debug!("{} calls bound in {:.0} ms", schedule.steps.len(), started.elapsed().as_secs_f64() * 1e3);
        let columns = (schedule.outputs.width, schedule.output_columns);
        Ok(Self { calls, output: binder.slot(schedule.output)?, columns })
    }

    /// Records one batch.
    pub fn record(&self, recorder: &mut Recorder<'_>, batch: BatchInfo) {
        for (step, call) in self.calls.iter().enumerate() {
            recorder.label_step(Some(step));
            call.record(recorder, &batch);
        }
        recorder.label_step(None);
    }

    /// Every dispatch of a batch in the order in which it is recorded.
    #[must_use]
    pub fn dispatches(&self) -> Vec<&Dispatch> {
        self.calls.iter().flat_map(|call| call.dispatches()).collect()
    }

    /// The model's outputs [batch, positions, width], after a recorded batch in mode `Evaluate`.
    ///
    /// # Errors
    /// As [`Gpu::read`].
    pub fn read_outputs(&self, gpu: &Gpu) -> Result<Vec<f32>, GpuError> {
        let (width, columns) = self.columns;
        Ok(Schedule::outputs_by_rows(gpu.read_floats(&self.output)?, width, columns))
    }

    /// Row `row` of them: `[width]`.
    ///
    /// # Errors
    /// As [`Gpu::read`]; [`GpuError::Length`] for a row that is not there.
    pub fn read_output_row(&self, gpu: &Gpu, row: usize) -> Result<Vec<f32>, GpuError> {
        let (width, columns) = self.columns;
        let rows = self.output.len() / width.max(1);
        let mut values = Vec::with_capacity(width);
        for range in ranges(width, columns.unwrap_or(width)) {
            let first = rows * range.start + row * range.len();
            // Aligned as f16 too.
            let aligned = first / (2 * ALIGNMENT_WORDS) * (2 * ALIGNMENT_WORDS);
            let part = self.output.elements(aligned, first - aligned + range.len())?;
            values.extend_from_slice(&gpu.read_floats(&part)?[first - aligned..]);
        }
        Ok(values)
    }

    /// The model's output as it lies on the device, [batch, positions, width] unless in parts, [`Plan::read_outputs`]; holds after a recorded batch in mode `Evaluate`.
    #[must_use]
    pub fn output(&self) -> &View {
        &self.output
    }
}
