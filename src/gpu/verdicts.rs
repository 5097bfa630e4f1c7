//! What tests have found of pipelines: known for as long as the process lives and, where there is a folder for caches, until
//! driver or kernel change.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, OnceLock},
};

use crate::digest::sha256;

use super::{kernel::KernelKey, lock::lock, pipeline_cache};

/// Nothing, or why a pipeline is refused.
pub(super) type Verdict = Result<(), String>;

/// wgpu's version, whose naga writes what the driver compiles.
const WGPU_VERSION: &str = "30.0.1";

/// The verdicts of a device.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    /// Each behind a cell of its own, so that different pipelines are tested side by side and none twice.
    pub(super) known: Mutex<HashMap<KernelKey, Arc<OnceLock<Verdict>>>>,
    pub(super) file: Option<VerdictFile>,
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

/// Verdicts on disk, of one adapter and driver: a line that says which, then one for each pipeline, behind gzip's CRC.
#[derive(Debug)]
pub(super) struct VerdictFile {
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

    pub(super) fn find(&self, pipeline: &str) -> Option<Verdict> {
        lock(&self.verdicts).get(pipeline).cloned()
    }

    /// Adds a verdict to those in the file, where another process may have left some meanwhile. One that cannot be written
    /// is found again by the next process.
    pub(super) fn keep(&self, pipeline: &str, verdict: &Verdict) {
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
