//! Files that grow with a run.

use std::{
    fs::File,
    io::{BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::TrainError;

/// A file that is appended to as a run goes, and cut back to where a checkpoint stands where the run resumes.
#[derive(Debug)]
pub(super) struct GrowingFile {
    path: PathBuf,
    file: BufWriter<File>,
}

impl GrowingFile {
    /// An empty file, in the place of one that is there.
    pub(super) fn create(path: &Path) -> Result<Self, TrainError> {
        let file = File::create(path).map_err(io(path))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Appends to a file that is there.
    pub(super) fn append(path: &Path) -> Result<Self, TrainError> {
        let file = File::options().append(true).open(path).map_err(io(path))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// Resumes after the first `bytes` of a file; what follows them, of steps that are to be taken again, is cut off.
    pub(super) fn resume(path: &Path, bytes: u64) -> Result<Self, TrainError> {
        let mut file = File::options().write(true).open(path).map_err(io(path))?;
        let found = file.metadata().map_err(io(path))?.len();
        if found < bytes {
            let reason = format!("holds {found} bytes, the checkpoint resumes after {bytes}");
            return Err(TrainError::Metrics { path: path.to_owned(), reason });
        }
        file.set_len(bytes).and_then(|()| file.seek(SeekFrom::End(0))).map_err(io(path))?;
        Ok(Self { path: path.to_owned(), file: BufWriter::new(file) })
    }

    /// An error in what was to be written, with the file's name.
    pub(super) fn refused(&self, source: std::io::Error) -> TrainError {
        io(&self.path)(source)
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), TrainError> {
        self.file.write_all(bytes).map_err(io(&self.path))
    }

    /// Hands over what was written, so that a run that dies later leaves it.
    pub(super) fn flush(&mut self) -> Result<(), TrainError> {
        self.file.flush().map_err(io(&self.path))
    }

    /// Makes what was written durable; returns the bytes of the file.
    pub(super) fn sync(&mut self) -> Result<u64, TrainError> {
        let synced = self.file.flush().and_then(|()| self.file.get_ref().sync_all());
        synced.and_then(|()| self.file.stream_position()).map_err(io(&self.path))
    }
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> TrainError {
    move |source| TrainError::Io { path: path.to_owned(), source }
}
