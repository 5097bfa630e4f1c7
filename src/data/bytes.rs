//! A data file's bytes, plain or gzip. Nothing here trusts a size that a file claims: memory grows with the bytes that
//! are really there.

use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::DataError;

const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
/// A compressed file may swell to this many bytes whatever its own size, and to [`MAX_SWELLING`] times its size besides:
/// images swell to tens of times, a bomb to a thousand.
const FREE_SWELLING: u64 = 64 << 20;
/// See [`FREE_SWELLING`].
const MAX_SWELLING: u64 = 128;

/// The first of these names, or one of them with `.gz`, that is a file of the folder: plain files need no decompression.
pub(super) fn find(dir: &Path, role: &'static str, names: &[String]) -> Result<PathBuf, DataError> {
    let names: Vec<String> = names.iter().cloned().chain(names.iter().map(|name| format!("{name}.gz"))).collect();
    let found = names.iter().map(|name| dir.join(name)).find(|path| path.is_file());
    found.ok_or_else(|| DataError::MissingFile { role, dir: dir.to_owned(), names })
}

/// The most bytes that a compressed file of `stored` bytes may swell to.
pub(super) fn most_of(stored: u64) -> u64 {
    stored.saturating_mul(MAX_SWELLING).saturating_add(FREE_SWELLING)
}

/// An error unless `dir` is a folder; `files` says what it should hold.
pub(super) fn expect_folder(dir: &Path, files: &'static str) -> Result<(), DataError> {
    if dir.is_dir() { Ok(()) } else { Err(DataError::NoFolder { path: dir.to_owned(), files }) }
}

fn opened(path: &Path) -> Result<(File, u64), DataError> {
    let error = |cause| DataError::Io { path: path.to_owned(), offset: 0, cause };
    let file = File::open(path).map_err(error)?;
    let stored = file.metadata().map_err(error)?.len();
    Ok((file, stored))
}

/// The decompressed bytes of a file and how many of them were read.
pub(super) struct Bytes<'a> {
    path: PathBuf,
    reader: Box<dyn Read + 'a>,
    gzip: bool,
    /// Bytes of the file itself.
    stored: u64,
    pub(super) offset: u64,
}

impl Bytes<'static> {
    /// Opens a file.
    pub(super) fn open(path: &Path) -> Result<Self, DataError> {
        let (file, stored) = opened(path)?;
        Self::new(path, file, stored)
    }

    /// As [`Bytes::open`], of a file whose first bytes may be any: gzip where its name says so.
    pub(super) fn open_named(path: &Path) -> Result<Self, DataError> {
        let (file, stored) = opened(path)?;
        if path.extension().is_some_and(|extension| extension == "gz") {
            return Self::new(path, file, stored);
        }
        let reader = Box::new(BufReader::new(file));
        Ok(Self { path: path.to_owned(), reader, gzip: false, stored, offset: 0 })
    }
}

impl<'a> Bytes<'a> {
    /// The bytes of `source`, `stored` of them; tells by their content, not the file's name, whether they are gzip.
    pub(super) fn new(path: &Path, mut source: impl Read + 'a, stored: u64) -> Result<Self, DataError> {
        let error = |cause| DataError::Io { path: path.to_owned(), offset: 0, cause };
        let mut start = Vec::new();
        source.by_ref().take(2).read_to_end(&mut start).map_err(error)?;

        let gzip = start == GZIP_MAGIC;
        let whole = BufReader::new(Cursor::new(start).chain(source));
        let reader: Box<dyn Read + 'a> = if gzip { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) };
        Ok(Self { path: path.to_owned(), reader, gzip, stored, offset: 0 })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The most bytes that the data may have.
    fn most(&self) -> u64 {
        if self.gzip { most_of(self.stored) } else { u64::MAX }
    }

    /// The next four bytes, in a header of `header_len` bytes.
    pub(super) fn header_field(&mut self, header_len: u64) -> Result<u32, DataError> {
        let field = self.read(4, header_len)?;
        let field = <[u8; 4]>::try_from(field).map_err(|_| self.truncated(header_len))?;
        Ok(u32::from_be_bytes(field))
    }

    /// The remaining bytes, which must be `count`.
    pub(super) fn rest(&mut self, count: u64) -> Result<Vec<u8>, DataError> {
        let expected = self.offset + count;
        // One byte more than expected tells a longer file, however much longer, and has a gzip checksum verified.
        let values = self.read(count + 1, expected)?;
        match (values.len() as u64).cmp(&count) {
            std::cmp::Ordering::Less => Err(self.truncated(expected)),
            std::cmp::Ordering::Equal => Ok(values),
            std::cmp::Ordering::Greater => Err(DataError::TooLong { path: self.path.clone(), expected }),
        }
    }

    /// Up to `limit` bytes: fewer where the data end. `expected` is for the error alone.
    pub(super) fn read(&mut self, limit: u64, expected: u64) -> Result<Vec<u8>, DataError> {
        let most = self.most() - self.offset;
        // The buffer starts empty and grows with what is read, never to the size that a header claims.
        let mut bytes = Vec::new();
        let result = self.reader.by_ref().take(limit.min(most)).read_to_end(&mut bytes);
        self.offset += bytes.len() as u64;
        match result {
            Ok(read) if read as u64 == most => {
                Err(DataError::Swells { path: self.path.clone(), limit: self.offset, stored: self.stored })
            }
            Ok(_) => Ok(bytes),
            Err(cause) => Err(self.read_error(cause, expected)),
        }
    }

    fn read_error(&self, cause: io::Error, expected: u64) -> DataError {
        use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
        let (path, offset) = (self.path.clone(), self.offset);
        if self.gzip && matches!(cause.kind(), InvalidData | InvalidInput | UnexpectedEof) {
            DataError::Gzip { path, offset, expected, cause }
        } else {
            DataError::Io { path, offset, cause }
        }
    }

    fn truncated(&self, expected: u64) -> DataError {
        DataError::Truncated { path: self.path.clone(), expected, found: self.offset }
    }
}
