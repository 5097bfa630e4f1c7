//! Recording dispatches into one pass and one submit.

use super::{Dispatch, Gpu, GpuError, View, timestamps::Profile};

/// Records dispatches; wgpu orders those that touch the same buffer.
///
/// With a [`Profile`] every dispatch gets a pass of its own with a timestamp at each end, which costs time itself; with
/// one of [whole passes](Profile::whole_passes) the pass stays whole.
pub struct Recorder<'a> {
    gpu: &'a Gpu,
    encoder: wgpu::CommandEncoder,
    pass: Option<wgpu::ComputePass<'static>>,
    profile: Option<&'a mut Profile>,
}

impl Gpu {
    /// Starts recording.
    #[must_use]
    pub fn record(&self) -> Recorder<'_> {
        self.record_with(None)
    }

    /// Starts recording, timing every dispatch where a profile is given.
    #[must_use]
    pub fn record_with<'a>(&'a self, profile: Option<&'a mut Profile>) -> Recorder<'a> {
        Recorder { gpu: self, encoder: self.encoder(), pass: None, profile }
    }

    fn encoder(&self) -> wgpu::CommandEncoder {
        self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: None })
    }
}

impl Recorder<'_> {
    /// Tells a profile which step of a plan the next dispatches belong to.
    pub fn label_step(&mut self, step: Option<usize>) {
        if let Some(profile) = self.profile.as_mut() {
            profile.step = step;
        }
    }

    /// Records a dispatch with the immediates it was planned with.
    pub fn run(&mut self, dispatch: &Dispatch) {
        self.run_with(dispatch, &dispatch.immediates);
    }

    /// Records a dispatch with the immediates of this step.
    pub fn run_with(&mut self, dispatch: &Dispatch, immediates: &[u8]) {
        self.run_on(dispatch, immediates, dispatch.grid);
    }

    /// Records a dispatch with the immediates and the grid of this step.
    pub fn run_on(&mut self, dispatch: &Dispatch, immediates: &[u8], grid: super::Grid) {
        let Some(watch) = self.gpu.faults.watch else { return self.dispatch(dispatch, immediates, grid) };
        self.flush();
        let then = watch(self.gpu, &dispatch.watched(immediates, grid));
        self.dispatch(dispatch, immediates, grid);
        if let Some(then) = then {
            self.flush();
            then(self.gpu);
        }
    }

    /// Submits what is recorded.
    fn flush(&mut self) {
        self.pass = None;
        let recorded = std::mem::replace(&mut self.encoder, self.gpu.encoder());
        self.gpu.queue.submit([recorded.finish()]);
    }

    fn dispatch(&mut self, dispatch: &Dispatch, immediates: &[u8], grid: super::Grid) {
        let alone = self.profile.as_ref().is_some_and(|profile| profile.each_dispatch);
        if alone {
            self.pass = None;
        }
        let pass = match self.pass.as_mut() {
            Some(pass) => pass,
            None => {
                self.pass.insert(begin(&mut self.encoder, self.profile.as_deref_mut(), dispatch.kernel.0.spec.entry))
            }
        };
        pass.set_pipeline(&dispatch.kernel.0.pipeline);
        pass.set_bind_group(0, &dispatch.bind_group, &[]);
        if !immediates.is_empty() {
            pass.set_immediates(0, immediates);
        }
        let [x, y, z] = grid.0;
        pass.dispatch_workgroups(x, y, z);
        if alone {
            self.pass = None;
        }
    }

    /// Records a copy between views of the same length (the shorter length counts) in different buffers.
    pub fn copy(&mut self, from: &View, to: &View) {
        self.copy_raw(from, &to.buffer.raw, to.offset_bytes(), from.bytes().min(to.bytes()));
    }

    pub(super) fn copy_raw(&mut self, from: &View, to: &wgpu::Buffer, offset: u64, bytes: u64) {
        self.pass = None;
        self.encoder.copy_buffer_to_buffer(&from.buffer.raw, from.offset_bytes(), to, offset, bytes);
    }

    /// Records zeros over a view.
    pub fn clear(&mut self, view: &View) {
        self.pass = None;
        self.encoder.clear_buffer(&view.buffer.raw, view.offset_bytes(), Some(view.bytes()));
    }

    /// Ends the pass, submits, and lets the driver free what is done: without a poll memory grows until the device
    /// is lost (wgpu issue 3806).
    ///
    /// # Errors
    /// What wgpu reported since the last check.
    pub fn submit(self) -> Result<(), GpuError> {
        self.submit_indexed().map(|_| ())
    }

    pub(super) fn submit_indexed(mut self) -> Result<wgpu::SubmissionIndex, GpuError> {
        self.pass = None;
        if let Some(profile) = self.profile.as_mut() {
            profile.resolve(&mut self.encoder);
        }
        let index = self.gpu.queue.submit([self.encoder.finish()]);
        // A failed poll is a lost device, which the callback has put where `check` finds it.
        let _ = self.gpu.device.poll(wgpu::PollType::Poll);
        self.gpu.bound_in_flight(index.clone())?;
        if let Some(profile) = self.profile {
            profile.collect(self.gpu)?;
        }
        Ok(index)
    }
}

/// A pass, between two timestamps where a profile has any left.
fn begin(
    encoder: &mut wgpu::CommandEncoder,
    profile: Option<&mut Profile>,
    kernel: &'static str,
) -> wgpu::ComputePass<'static> {
    let timestamp_writes = profile.and_then(|profile| profile.next_span(kernel));
    let descriptor = wgpu::ComputePassDescriptor { label: None, timestamp_writes };
    encoder.begin_compute_pass(&descriptor).forget_lifetime()
}
