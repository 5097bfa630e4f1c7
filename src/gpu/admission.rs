//! Which pipelines compute right: what a test on the device has found of each, for as long as the process lives and, where
//! there is a folder for caches, until driver or kernel change.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
    time::{Duration, Instant},
};

use crate::digest::sha256;

use super::{
    ElementTypes, Gpu, GpuError, KernelSpec, View,
    device::{KernelKey, kernel_key, lock},
    pipeline_cache,
};

/// Nothing, or why a pipeline is refused.
type Verdict = Result<(), String>;

/// wgpu's version, whose naga writes what the driver compiles.
const WGPU_VERSION: &str = "30.0.1";

/// How long a test may take: it is a matter of milliseconds on a GPU, of a second on a busy software adapter.
const PATIENCE: Duration = Duration::from_secs(60);

/// The verdicts of a device.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// Each behind a cell of its own, so that different pipelines are tested side by side and none twice.
    known: Mutex<HashMap<KernelKey, Arc<OnceLock<Verdict>>>>,
    file: Option<VerdictFile>,
}

impl Verdicts {
    /// Those of an adapter, kept in `folder` if there is one.
    pub(super) fn new(info: &wgpu::AdapterInfo, checks: wgpu::ShaderRuntimeChecks, folder: Option<&Path>) -> Self {
        let file = folder.map(|folder| VerdictFile::open(folder, identity(info, checks)));
        Self { known: Mutex::default(), file }
    }
}

/// All that a verdict depends on besides the pipeline, in a line.
fn identity(info: &wgpu::AdapterInfo, checks: wgpu::ShaderRuntimeChecks) -> String {
    let wgpu::AdapterInfo { name, vendor, device, driver, driver_info, backend, .. } = info;
    let device_and_driver = format!("{name}, {vendor:04x}:{device:04x}, {driver} {driver_info}, {backend}");
    format!("jostle {}, wgpu {WGPU_VERSION}, {device_and_driver}, {checks:?}", env!("CARGO_PKG_VERSION"))
        .replace('\n', " ")
}

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
        let types = ElementTypes::new(spec, views)?;
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

/// Verdicts on disk, of one adapter and driver: a line that says which, then one for each pipeline, behind gzip's CRC.
#[derive(Debug)]
struct VerdictFile {
    path: PathBuf,
    identity: String,
    verdicts: Mutex<HashMap<String, Verdict>>,
}

impl VerdictFile {
    /// That of `identity` in `folder`; without verdicts where there is none, or it is damaged.
    fn open(folder: &Path, identity: String) -> Self {
        let path = folder.join(format!("verdicts-{}.gz", &sha256(identity.as_bytes())[..16]));
        let verdicts = Mutex::new(Self::read(&path, &identity).unwrap_or_default());
        Self { path, identity, verdicts }
    }

    fn read(path: &Path, identity: &str) -> Option<HashMap<String, Verdict>> {
        let text = String::from_utf8(pipeline_cache::read(path)?).ok()?;
        let mut lines = text.lines();
        if lines.next()? != identity {
            return None;
        }
        let verdict = |line: &str| {
            let (pipeline, found) = line.split_once(' ')?;
            let refused = || found.strip_prefix("refused: ").map(|reason| Err(reason.to_owned()));
            let verdict = if found == "passed" { Some(Ok(())) } else { refused() };
            Some((pipeline.to_owned(), verdict?))
        };
        lines.map(verdict).collect()
    }

    fn find(&self, pipeline: &str) -> Option<Verdict> {
        lock(&self.verdicts).get(pipeline).cloned()
    }

    /// Adds a verdict to those in the file, where another process may have left some meanwhile. One that cannot be written
    /// is found again by the next process.
    fn keep(&self, pipeline: &str, verdict: &Verdict) {
        let mut verdicts = lock(&self.verdicts);
        verdicts.extend(Self::read(&self.path, &self.identity).unwrap_or_default());
        let in_a_line = verdict.clone().map_err(|reason| reason.replace('\n', " "));
        verdicts.insert(pipeline.to_owned(), in_a_line);
        let mut lines: Vec<_> = verdicts
            .iter()
            .map(|(pipeline, verdict)| match verdict {
                Ok(()) => format!("{pipeline} passed\n"),
                Err(reason) => format!("{pipeline} refused: {reason}\n"),
            })
            .collect();
        lines.sort_unstable();
        let text = format!("{}\n{}", self.identity, lines.concat());
        if let Err(error) = pipeline_cache::write(&self.path, text.as_bytes()) {
            log::debug!("verdicts {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn the_version_of_wgpu_is_that_of_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"wgpu\"\nversion = \"{WGPU_VERSION}\"")));
    }

    #[test]
    fn verdicts_are_kept_for_their_adapter_and_damaged_files_hold_none() {
        let folder = tempfile::tempdir().unwrap();
        let open = |identity: &str| VerdictFile::open(folder.path(), identity.to_owned());
        let (first, second) = (open("driver 1"), open("driver 1"));
        first.keep("aa", &Ok(()));
        second.keep("bb", &Err("twice\nthe sum".to_owned()));
        let again = open("driver 1");
        assert_eq!(again.find("aa"), Some(Ok(())));
        assert_eq!(again.find("bb"), Some(Err("twice the sum".to_owned())));
        assert_eq!((again.find("cc"), open("driver 2").find("aa")), (None, None));
        // another's verdicts under this one's name
        std::fs::copy(&first.path, &open("driver 2").path).unwrap();
        assert_eq!(open("driver 2").find("aa"), None);

        let whole = std::fs::read(&first.path).unwrap();
        for cut in [0, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&first.path, &whole[..cut]).unwrap();
            assert_eq!(open("driver 1").find("aa"), None, "cut at {cut}");
        }
        pipeline_cache::write(&first.path, b"driver 1\naa perhaps\n").unwrap();
        assert_eq!(open("driver 1").find("aa"), None);
    }
}
