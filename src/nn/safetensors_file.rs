//! The frame of a safetensors file: the length of a header, the header in JSON, the tensors' bytes.

use std::collections::HashMap;

use safetensors::SafeTensors;
use serde::{Deserialize, de::IgnoredAny};

/// Bytes of the header's length.
const LENGTH: usize = 8;

/// What the header says of a tensor, or of the file: where its bytes are, if it has any.
#[derive(Deserialize)]
struct Entry {
    data_offsets: Option<Offsets>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Offsets {
    Of([u64; 2]),
    Other(IgnoredAny),
}

/// The tensors of a file, whose places have been checked against its length.
///
/// The reader would add up places of any size and say only that something is wrong; so the frame is looked at before it.
///
/// # Errors
/// What is wrong, as the end of a sentence that names the file: the offset, what was expected and what was found.
pub(crate) fn open(bytes: &[u8]) -> Result<SafeTensors<'_>, String> {
    let len = bytes.len();
    let Some(length) = bytes.first_chunk::<LENGTH>() else {
        return Err(format!(
            "at offset {len}, expected {LENGTH} bytes of a header's length, found the end of the file"
        ));
    };
    let (claimed, rest) = (u64::from_le_bytes(*length), &bytes[LENGTH..]);
    let header = usize::try_from(claimed).ok().and_then(|claimed| rest.get(..claimed));
    let Some(header) = header else {
        return Err(format!("at offset 0, expected a header of at most {} bytes, found {claimed}", rest.len()));
    };
    let entries: HashMap<String, Entry> = serde_json::from_slice(header)
        .map_err(|error| format!("at offset {LENGTH}, expected a header in JSON, found {error}"))?;
    let ends = entries.into_iter().filter_map(|(name, entry)| match entry.data_offsets {
        Some(Offsets::Of([_, end])) => Some((end, name)),
        Some(Offsets::Other(_)) | None => None,
    });
    let start = LENGTH + header.len();
    let found = (len - start) as u64;
    let (end, name) = ends.max().unwrap_or_default();
    if end > found {
        return Err(format!("at offset {len}, expected {end} bytes of data, which {name:?} ends at, found {found}"));
    }
    if end < found {
        let (at, more) = (start as u64 + end, found - end);
        return Err(format!("at offset {at}, expected the end of the file, found {more} more bytes"));
    }
    SafeTensors::deserialize(bytes)
        .map_err(|error| format!("at offset {LENGTH}, expected a sound header, found: {error}"))
}
