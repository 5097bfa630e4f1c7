//! Whole files from anywhere, without trust in their size.

use std::{
    fs::File,
    io::{Error, ErrorKind, Read, Result},
    path::Path,
};

/// A text file of at most `most` bytes, whatever it is: a pipe that never ends is refused too.
///
/// # Errors
/// Those of the system; [`ErrorKind::InvalidData`] for a larger file or bytes that are not UTF-8.
pub(crate) fn text(path: &Path, most: u64) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(invalid(format!("expected a text of at most {most} bytes, found more")));
    }
    utf8(bytes)
}

/// Bytes as text.
///
/// # Errors
/// [`ErrorKind::InvalidData`] naming the first byte that is not UTF-8.
pub(crate) fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        invalid(format!("at offset {at}, expected UTF-8 text, found the byte {:#04x}", error.as_bytes()[at]))
    })
}

/// The bytes of a regular file: devices and pipes have no size that memory could be checked against.
///
/// # Errors
/// Those of the system; [`ErrorKind::InvalidInput`] for anything but a regular file.
pub(crate) fn bytes(path: &Path) -> Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidInput, "expected a regular file, found another kind"));
    }
    let mut bytes = Vec::new();
    // One byte more, or a file that grows meanwhile would be read without end.
    file.by_ref().take(metadata.len() + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn invalid(reason: String) -> Error {
    Error::new(ErrorKind::InvalidData, reason)
}
