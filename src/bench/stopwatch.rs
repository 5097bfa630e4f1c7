//! Times passes of dispatches, with the device's clock as high as work keeps it.

use std::time::{Duration, Instant};

use crate::gpu::{Dispatch, Family, Gpu, GpuError, Profile, Recorder};

/// A round of a comparison repeats its dispatches within one pass until it takes as long on a GPU, so that neither the
/// launch nor the resolution of timestamps weigh.
const ROUND_MS: f64 = 5.0;

/// Repetitions of a round at most: their recording takes the host a few milliseconds, in which a GPU keeps its clock.
const MOST_REPEATS: f64 = 1024.0;

/// A GPU's clock falls to a fifth while the host prepares operands, and takes some tens of milliseconds of work to rise again:
/// it has when two rounds in a row agree to within a share, which is not believed before some time, nor waited for for ever.
const STEADY: f64 = 0.03;
const WARM_AT_LEAST: Duration = Duration::from_millis(100);
const WARM_AT_MOST: Duration = Duration::from_millis(500);

/// Runs rounds, each of which gives what it took, until a GPU's clock has risen; one on a software adapter.
pub(super) fn warm_up<E>(gpu: &Gpu, mut round: impl FnMut() -> Result<f64, E>) -> Result<(), E> {
    let mut last = round()?;
    // Of the first round most may be compiling, in which the device idles.
    let started = Instant::now();
    while gpu.family() != Family::Software && started.elapsed() < WARM_AT_MOST {
        let next = round()?;
        if (next - last).abs() <= STEADY * last && started.elapsed() >= WARM_AT_LEAST {
            break;
        }
        last = next;
    }
    Ok(())
}

/// Dispatches whose time is compared with others'.
pub(super) struct Contender {
    dispatches: Vec<Dispatch>,
    /// How often a round runs them.
    repeats: u32,
    /// Milliseconds of each round that counts, for one run of all dispatches.
    pub(super) times: Vec<f64>,
}

impl Contender {
    pub(super) fn new(dispatches: Vec<Dispatch>) -> Self {
        Self { dispatches, repeats: 1, times: Vec::new() }
    }
}

/// Times passes: by the device's timestamps, or by the host's clock where there are none.
pub(super) struct Stopwatch<'g> {
    pub(super) gpu: &'g Gpu,
    profile: Option<Profile>,
}

impl<'g> Stopwatch<'g> {
    pub(super) fn new(gpu: &'g Gpu) -> Result<Self, GpuError> {
        let profile = gpu.has_timestamps().then(|| Profile::whole_passes(gpu)).transpose()?;
        Ok(Self { gpu, profile })
    }

    pub(super) fn has_timestamps(&self) -> bool {
        self.profile.is_some()
    }

    /// Milliseconds of what `record` records in one pass.
    fn ms(&mut self, record: impl Fn(&mut Recorder<'_>)) -> Result<f64, GpuError> {
        self.gpu.wait()?;
        let started = Instant::now();
        let mut recorder = self.gpu.record_with(self.profile.as_mut());
        record(&mut recorder);
        recorder.submit()?;
        self.gpu.wait()?;
        let by_clock = started.elapsed().as_secs_f64() * 1e3;
        let by_device = self.profile.as_ref().map(|profile| profile.last().iter().map(|span| span.ms).sum::<f64>());
        Ok(by_device.unwrap_or(by_clock))
    }

    /// Milliseconds of the dispatches in order, one of `times` runs in a pass.
    pub(super) fn repeated(&mut self, dispatches: &[Dispatch], times: u32) -> Result<f64, GpuError> {
        let run = |recorder: &mut Recorder<'_>| dispatches.iter().for_each(|dispatch| recorder.run(dispatch));
        self.ms(|recorder| (0..times).for_each(|_| run(recorder))).map(|ms| ms / f64::from(times))
    }

    /// Has contenders take turns until a GPU's clock has risen, and finds how often a round repeats each there.
    pub(super) fn warm_up(&mut self, contenders: &mut [&mut Contender]) -> Result<(), GpuError> {
        let gpu = self.gpu;
        warm_up(gpu, || {
            let mut sum = 0.0;
            for contender in &mut *contenders {
                let ms = self.repeated(&contender.dispatches, contender.repeats)?;
                if gpu.family() != Family::Software {
                    contender.repeats = (ROUND_MS / ms).ceil().clamp(1.0, MOST_REPEATS) as u32;
                }
                sum += ms;
            }
            Ok(sum)
        })
    }

    /// Times a round of a contender.
    pub(super) fn round(&mut self, contender: &mut Contender) -> Result<(), GpuError> {
        let ms = self.repeated(&contender.dispatches, contender.repeats)?;
        contender.times.push(ms);
        Ok(())
    }
}
