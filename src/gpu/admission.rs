//! Which pipelines compute right: whether a test on the device has passed each, see [`super::verdicts`].

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::digest::sha256;

use super::{ElementTypes, Gpu, GpuError, KernelSpec, View, kernel::kernel_key, lock::lock, verdicts::Verdict};

/// How long a test may take: it is a matter of milliseconds on a GPU, of a second on a busy software adapter.
const PATIENCE: Duration = Duration::from_secs(60);

impl Gpu {
    /// Fails unless the pipeline of `spec` with these overrides, for tensors stored as those of `views`, computes right.
    ///
    /// `test` finds out, the first time that this pipeline is asked for: it runs it on something whose result it knows, and
    /// says what was wrong. An error of the device meanwhile is a refusal too, never a failure of the caller.
    ///
    /// # Errors
    /// [`GpuError::Refused`] with the reason; [`GpuError::Element`] for views that do not go together.
    pub fn admit(
        &self,
        spec: &'static KernelSpec,
        constants: &[(&'static str, f64)],
        views: &[&View],
        test: impl FnOnce() -> Result<Result<(), String>, GpuError>,
    ) -> Result<(), GpuError> {
        self.admit_stored(spec, constants, ElementTypes::new(spec, views)?, test)
    }

    /// As [`Gpu::admit`], before there are views: for tensors of these types. `constants` name, beside the overrides, whatever else
    /// the verdict goes by.
    ///
    /// # Errors
    /// [`GpuError::Refused`] with the reason.
    pub fn admit_stored(
        &self,
        spec: &'static KernelSpec,
        constants: &[(&'static str, f64)],
        types: ElementTypes,
        test: impl FnOnce() -> Result<Result<(), String>, GpuError>,
    ) -> Result<(), GpuError> {
        let key = kernel_key(spec, types, constants);
        let verdict = Arc::clone(lock(&self.verdicts.known).entry(key).or_default());
        verdict.get_or_init(|| self.judge(spec, constants, types, test)).clone().map_err(|reason| GpuError::Refused {
            kernel: spec.entry,
            adapter: self.adapter_name().to_owned(),
            reason,
        })
    }

    fn judge(
        &self,
        spec: &'static KernelSpec,
        constants: &[(&'static str, f64)],
        types: ElementTypes,
        test: impl FnOnce() -> Result<Result<(), String>, GpuError>,
    ) -> Verdict {
        let started = Instant::now();
        let choices = format!("{constants:?}, {types:?}");
        let pipeline = sha256(format!("{}\0{}\0{choices}", self.wgsl(spec, types), spec.entry).as_bytes());
        let kept = self.verdicts.file.as_ref().and_then(|file| file.find(&pipeline));
        let verdict = kept.unwrap_or_else(|| {
            let (verdict, lasts) = self.tested(test);
            if let (true, Some(file)) = (lasts, &self.verdicts.file) {
                file.keep(&pipeline, &verdict);
            }
            verdict
        });
        let entry = spec.entry;
        match &verdict {
            Ok(()) => log::debug!("{entry} admitted in {:.1} ms: {choices}", started.elapsed().as_secs_f64() * 1e3),
            Err(reason) => log::warn!(
                "{entry} is refused on {} ({}), an ordinary kernel takes its place: {reason} ({choices})",
                self.adapter_name(),
                self.driver(),
            ),
        }
        verdict
    }

    /// The verdict of `test`, and whether it says something of the pipeline, not only of this hour's free memory.
    fn tested(&self, test: impl FnOnce() -> Result<Result<(), String>, GpuError>) -> (Verdict, bool) {
        match self.scoped(test) {
            (Ok(verdict), None) => (verdict, true),
            (Err(error), _) => {
                let lasts = matches!(error, GpuError::Shader { .. } | GpuError::DeviceLost { .. });
                (Err(error.to_string()), lasts)
            }
            (Ok(_), Some(error)) => (Err(error.to_string()), !matches!(error, wgpu::Error::OutOfMemory { .. })),
        }
    }

    /// Waits until everything submitted is done, for as long as the test of a pipeline may take.
    ///
    /// # Errors
    /// [`GpuError::DeviceLost`] if the device is gone or does not answer.
    pub fn wait_for_test(&self) -> Result<(), GpuError> {
        let polled = self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout: Some(PATIENCE) });
        self.check()?;
        let lost = |_| GpuError::DeviceLost { reason: format!("no answer within {} s", PATIENCE.as_secs()) };
        polled.map(|_| ()).map_err(lost)
    }
}
