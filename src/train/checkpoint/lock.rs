//! One process a folder.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read, Seek, Write},
    path::Path,
};

use super::CheckpointError;

const NAME: &str = "run.lock";

/// Keeps other processes out of a run's folder, as long as it lives: the system drops the lock with the process, however
/// that ends, so there are no stale ones.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the folder, which has to be there.
    ///
    /// # Errors
    /// [`CheckpointError::Locked`], or [`CheckpointError::Io`] where the folder cannot be written to.
    pub fn take(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(NAME);
        let failed = |source| CheckpointError::Io { path: path.clone(), source };
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = opened.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Who holds it is a courtesy: where it cannot be read, the lock holds all the same.
                let _ = file.read_to_string(&mut owner);
                let owner = if owner.is_empty() { "another process".to_owned() } else { owner.trim().to_owned() };
                return Err(CheckpointError::Locked { folder: folder.to_owned(), owner });
            }
            Err(TryLockError::Error(source)) => return Err(failed(source)),
        }
        let named = file.set_len(0).and_then(|()| file.rewind());
        named.and_then(|()| writeln!(file, "process {}", std::process::id())).map_err(failed)?;
        Ok(Self { _file: file })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_taken_once_and_freed() {
        let dir = tempfile::tempdir().unwrap();
        let held = RunLock::take(dir.path()).unwrap();
        let message = RunLock::take(dir.path()).unwrap_err().to_string();
        assert!(message.contains(&format!("in use by process {}", std::process::id())), "{message}");
        drop(held);
        RunLock::take(dir.path()).unwrap();
    }
}
