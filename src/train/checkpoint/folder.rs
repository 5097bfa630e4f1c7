//! The checkpoints of a run on disk: found, verified, pruned.

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
};

use crate::{digest::sha256, durable, input};

use super::CheckpointError;

/// The checksums of the other files, as `sha256sum` writes them.
const SUMS: &str = "SHA256SUMS";

/// `RUN/checkpoints`.
#[derive(Clone, Debug)]
pub struct CheckpointFolder {
    root: PathBuf,
}

/// The files of one checkpoint, verified.
#[derive(Debug)]
pub struct Stored {
    /// Its folder.
    pub path: PathBuf,
    files: HashMap<String, Vec<u8>>,
}

impl Stored {
    /// Bytes of a file and its path, for messages.
    ///
    /// # Errors
    /// [`CheckpointError::Content`] if the checkpoint has no such file.
    pub fn file(&self, name: &str) -> Result<(&[u8], PathBuf), CheckpointError> {
        let path = self.path.join(name);
        match self.files.get(name) {
            Some(bytes) => Ok((bytes, path)),
            None => Err(CheckpointError::Content { path, reason: "missing in this checkpoint".to_owned() }),
        }
    }
}

impl CheckpointFolder {
    /// Of the run in a folder.
    #[must_use]
    pub fn in_run(run: &Path) -> Self {
        Self { root: run.join("checkpoints") }
    }

    /// Where they are.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a step's checkpoint.
    #[must_use]
    pub fn path(&self, step: u64) -> PathBuf {
        self.root.join(format!("step-{step:08}"))
    }

    fn io(path: &Path) -> impl FnOnce(io::Error) -> CheckpointError {
        move |source| CheckpointError::Io { path: path.to_owned(), source }
    }

    /// Removes all of them.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn clear(&self) -> Result<(), CheckpointError> {
        durable::remove_folder(&self.root).map_err(Self::io(&self.root))
    }

    /// Steps and folders of the checkpoints, newest first, whole or not.
    ///
    /// # Errors
    /// [`CheckpointError::Io`] for a folder that is there and cannot be read.
    pub fn list(&self) -> Result<Vec<(u64, PathBuf)>, CheckpointError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(Self::io(&self.root)(error)),
        };
        let mut found = Vec::new();
        for entry in entries {
            let path = entry.map_err(Self::io(&self.root))?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(step) = name.strip_prefix("step-").and_then(|step| step.parse().ok()) {
                found.push((step, path));
            }
        }
        found.sort_unstable_by_key(|(step, _)| std::cmp::Reverse(*step));
        Ok(found)
    }

    /// Writes a step's checkpoint with its checksums; one of the same step is replaced.
    ///
    /// # Errors
    /// [`CheckpointError::Io`]; the checkpoints that were there are then still there.
    pub fn write(&self, step: u64, mut files: Vec<(&str, Vec<u8>)>) -> Result<PathBuf, CheckpointError> {
        let path = self.path(step);
        let sums: String = files.iter().map(|(name, bytes)| format!("{}  {name}\n", sha256(bytes))).collect();
        files.push((SUMS, sums.into_bytes()));
        let write = || {
            fs::create_dir_all(&self.root)?;
            durable::replace_folder(&path, &files)
        };
        write().map_err(Self::io(&path))?;
        Ok(path)
    }

    /// Removes the checkpoint of a step.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn remove(&self, step: u64) -> Result<(), CheckpointError> {
        let path = self.path(step);
        durable::remove_folder(&path).map_err(Self::io(&path))
    }
}

/// Reads a checkpoint and checks every file against its checksum.
///
/// # Errors
/// What is damaged, in words.
pub fn read(path: &Path) -> Result<Stored, String> {
    let bytes_of = |name: &str| {
        let file = path.join(name);
        input::bytes(&file).map_err(|error| format!("{}: {error}", file.display()))
    };
    let sums = path.join(SUMS);
    let mut files = HashMap::new();
    for (expected, name) in parse_sums(&bytes_of(SUMS)?).map_err(|reason| format!("{}: {reason}", sums.display()))? {
        let bytes = bytes_of(&name)?;
        let found = sha256(&bytes);
        if found != expected {
            let (file, len) = (path.join(name), bytes.len());
            return Err(format!("{} ({len} bytes): SHA-256 is {found}, expected {expected}", file.display()));
        }
        files.insert(name, bytes);
    }
    Ok(Stored { path: path.to_owned(), files })
}

/// Checksum and name of each line.
///
/// # Errors
/// The line that is none, in words.
pub fn parse_sums(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
    let parse = |(index, line): (usize, &str)| {
        let parts = line.strip_suffix('\n').and_then(|line| line.split_once("  "));
        match parts.filter(|(_, name)| is_plain(name)) {
            Some((sum, name)) => Ok((sum.to_owned(), name.to_owned())),
            None => Err(format!("line {}: expected a SHA-256, two spaces and a file's name", index + 1)),
        }
    };
    text.split_inclusive('\n').enumerate().map(parse).collect()
}

/// A name in this folder, and no path out of it.
fn is_plain(name: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    !name.starts_with('.') && !name.is_empty() && name.chars().all(allowed)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn names_stay_in_the_folder() {
        assert!(is_plain("weights-average.safetensors"));
        for name in ["", "..", ".hidden", "../a", "a/b", "/etc/passwd", "a\\b", "C:x"] {
            assert!(!is_plain(name), "{name}");
        }
    }

    #[test]
    fn checkpoints_are_listed_newest_first_and_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let folder = CheckpointFolder::in_run(dir.path());
        assert!(folder.list().unwrap().is_empty());
        for step in [5, 100_000_000, 20] {
            folder.write(step, vec![("a", b"1".to_vec())]).unwrap();
        }
        let path = folder.write(20, vec![("a", b"2".to_vec())]).unwrap();
        fs::create_dir(folder.root().join("step-00000030.part")).unwrap();
        let steps: Vec<u64> = folder.list().unwrap().into_iter().map(|(step, _)| step).collect();
        assert_eq!(steps, [100_000_000, 20, 5]);
        assert_eq!(read(&path).unwrap().file("a").unwrap().0, b"2");
        assert!(read(&path).unwrap().file("b").is_err());
    }
}
