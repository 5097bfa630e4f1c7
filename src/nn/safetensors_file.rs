//! The frame of a safetensors file: the length of a header, the header in JSON, the tensors' bytes.

use std::collections::{BTreeMap, HashMap};

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

/// Puts the entries of a file's metadata into their order, so that the same content is the same bytes: they come in that of a hash
/// map, which is another each time. In any order they take as many bytes.
///
/// # Errors
/// Those of JSON.
pub(super) fn sort_metadata(bytes: &mut [u8], metadata: &BTreeMap<String, String>) -> Result<(), serde_json::Error> {
    const BEFORE: &[u8] = br#"{"__metadata__":"#;
    let sorted = serde_json::to_vec(metadata)?;
    let header = bytes.get_mut(LENGTH..).filter(|header| header.starts_with(BEFORE));
    if let Some(place) = header.and_then(|header| header.get_mut(BEFORE.len()..BEFORE.len() + sorted.len())) {
        place.copy_from_slice(&sorted);
    }
    Ok(())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn metadata_are_sorted_in_place() {
        let entries = [("b", "2"), ("a", "\"1\""), ("d", "{4"), ("c", "é")];
        let metadata: HashMap<String, String> = entries.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let tensors = [("x", safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap())];
        for _ in 0..4 {
            let mut bytes = safetensors::serialize(tensors.clone(), Some(metadata.clone())).unwrap();
            sort_metadata(&mut bytes, &metadata.clone().into_iter().collect()).unwrap();
            let text = r#"{"__metadata__":{"a":"\"1\"","b":"2","c":"é","d":"{4"},"x":"#;
            assert!(bytes[LENGTH..].starts_with(text.as_bytes()), "{}", String::from_utf8_lossy(&bytes));
            let (_, read) = SafeTensors::read_metadata(&bytes).unwrap();
            assert_eq!(read.metadata().as_ref(), Some(&metadata));
            assert_eq!(open(&bytes).unwrap().names(), ["x"]);
        }
    }
}
