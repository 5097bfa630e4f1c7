//! What wgpu reports: errors of a call, errors of what was recorded, and the loss of the device; and waiting, which tells of them.

use super::{Gpu, GpuError, lock::lock};

/// Submissions under way at most.
const MAX_IN_FLIGHT: usize = 8;

impl Gpu {
    /// Runs `work` within error scopes, so that a refusal becomes a value.
    pub(super) fn scoped<T>(&self, work: impl FnOnce() -> T) -> (T, Option<wgpu::Error>) {
        let filters = [wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory, wgpu::ErrorFilter::Internal];
        let mut scopes: Vec<_> = filters.map(|filter| self.device.push_error_scope(filter)).into();
        let value = work();
        let mut first = None;
        while let Some(scope) = scopes.pop() {
            first = pollster::block_on(scope.pop()).or(first);
        }
        (value, first)
    }

    /// The first failure that wgpu reported outside of a scope; of a lost device every time.
    ///
    /// # Errors
    /// That failure.
    pub fn check(&self) -> Result<(), GpuError> {
        let lost = self.known_loss();
        let failure = lock(&self.failure).take();
        lost.or(failure).map_or(Ok(()), Err)
    }

    /// The loss of the device, if it is lost: whatever else was reported since follows from it. Waits for what is under way.
    #[must_use]
    pub fn lost(&self) -> Option<GpuError> {
        // Only a poll tells of a loss; what it says itself of a lost device is no more than that.
        let _ = self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: None });
        self.known_loss()
    }

    fn known_loss(&self) -> Option<GpuError> {
        lock(&self.loss).clone().map(|reason| GpuError::DeviceLost { reason })
    }

    /// wgpu's device: for tests of what follows when it is destroyed.
    #[doc(hidden)]
    #[must_use]
    pub fn raw_device(&self) -> &wgpu::Device {
        &self.device
    }

    /// Waits until everything submitted is done.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`] if the device is gone.
    pub fn wait(&self) -> Result<(), GpuError> {
        self.wait_for(None)
    }

    /// Notes a submission and waits for the oldest where too many are under way: the host runs ahead of the device far
    /// enough to keep it busy, and no further, so that staging memory and a Ctrl-C's delay stay bounded.
    pub(super) fn bound_in_flight(&self, submission: wgpu::SubmissionIndex) -> Result<(), GpuError> {
        let oldest = {
            let mut in_flight = lock(&self.in_flight);
            in_flight.push_back(submission);
            if in_flight.len() > MAX_IN_FLIGHT { in_flight.pop_front() } else { None }
        };
        match oldest {
            Some(index) => self.wait_for(Some(index)),
            None => self.check(),
        }
    }

    pub(super) fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<(), GpuError> {
        let polled = self.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
        self.check()?;
        polled.map(|_| ()).map_err(|error| GpuError::DeviceLost { reason: error.to_string() })
    }
}
