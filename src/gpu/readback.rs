//! Bringing results back: at once, or while the device works on.

use std::sync::mpsc;

use super::{DeviceMemory, Element, Gpu, GpuError, View, WORD_BYTES};

/// A copy on its way back; the device need not be idle.
#[derive(Debug)]
pub struct PendingRead {
    staging: wgpu::Buffer,
    mapped: mpsc::Receiver<Result<(), wgpu::BufferAsyncError>>,
    submission: wgpu::SubmissionIndex,
}

impl Gpu {
    /// Copies a view (as it is once everything submitted so far is done) and starts to map the copy.
    ///
    /// # Errors
    /// As [`Gpu::buffer`], or what wgpu reported since the last check.
    pub fn read_later(&self, view: &View) -> Result<PendingRead, GpuError> {
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.raw_buffer("readback", view.bytes(), usage)?;
        let mut recorder = self.record();
        recorder.copy_raw(view, &staging, 0, view.bytes());
        let submission = recorder.submit_indexed()?;
        let (sender, mapped) = mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver is gone only if the reader gave up; then nobody waits for the answer.
            let _ = sender.send(result);
        });
        Ok(PendingRead { staging, mapped, submission })
    }

    /// The words of a view, after everything submitted so far.
    ///
    /// # Errors
    /// As [`Gpu::read_later`], or [`GpuError::Readback`].
    pub fn read<T: bytemuck::AnyBitPattern>(&self, view: &View) -> Result<Vec<T>, GpuError> {
        self.read_later(view)?.wait(self)
    }
}

impl Gpu {
    /// The elements of a view of f32 or f16, as f32.
    ///
    /// # Errors
    /// As [`Gpu::read`].
    pub fn read_floats(&self, view: &View) -> Result<Vec<f32>, GpuError> {
        if view.element() != Element::Half {
            return self.read(view);
        }
        // The last word may hold half an element more.
        let halves: Vec<half::f16> = self.read(view)?;
        Ok(halves[..view.len()].iter().map(|half| half.to_f32()).collect())
    }
}

impl DeviceMemory for Gpu {
    fn words(&self, view: &View) -> Result<Vec<u32>, GpuError> {
        self.read(view)
    }

    fn put(&self, view: &View, words: &[u32]) -> Result<(), GpuError> {
        self.write(view, words)
    }
}

impl PendingRead {
    /// Waits for the copy.
    ///
    /// # Errors
    /// [`GpuError::Readback`] if the map failed, [`GpuError::DeviceLost`] if the device is gone.
    pub fn wait<T: bytemuck::AnyBitPattern>(self, gpu: &Gpu) -> Result<Vec<T>, GpuError> {
        gpu.wait_for(Some(self.submission))?;
        let what = "a buffer";
        let failed = |reason: String| GpuError::Readback { what, reason };
        self.mapped.recv().map_err(|e| failed(e.to_string()))?.map_err(|e| failed(e.to_string()))?;
        let range = self.staging.get_mapped_range(..).map_err(|e| failed(e.to_string()))?;
        Ok(range.chunks_exact(size_of::<T>()).map(bytemuck::pod_read_unaligned).collect())
    }
}

/// The first `count` values of a buffer that is not a storage buffer (resolved timestamps).
pub(super) fn read_raw<T: bytemuck::AnyBitPattern>(
    gpu: &Gpu,
    raw: &wgpu::Buffer,
    count: usize,
) -> Result<Vec<T>, GpuError> {
    let words = (raw.size() / WORD_BYTES) as usize;
    let wanted = count * size_of::<T>() / WORD_BYTES as usize;
    gpu.read(&super::Buffer::new(raw.clone(), words).part(0, wanted)?)
}
