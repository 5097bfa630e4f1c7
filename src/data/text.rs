//! Texts: characters or bytes of a file, nanoGPT's files of tokens, and the bundled plays.
//!
//! The first nine tenths of a text are its training part, the rest its test part, as in nanoGPT's `prepare.py`.
//! `assets/plays/README.md` states origin and licence of the plays.

use std::{path::Path, sync::Arc};

use super::{
    DataError, Dataset, Split, TextError, Vocabulary, bytes::Bytes, samples::count_of_kinds, windows::Windows,
};

const PLAYS_GZ: &[u8] = include_bytes!("../../assets/plays/plays.txt.gz");
/// The name of the bundled plays, as a data source and in messages.
pub(super) const PLAYS: &str = "plays";

/// More tokens than this do not fit 32-bit indices.
const MOST: u64 = u32::MAX as u64;
/// Bytes of a token in nanoGPT's files.
const TOKEN_BYTES: usize = 2;

/// The plays, unpacked when they are asked for.
pub(super) fn plays() -> Result<Split, DataError> {
    let path = Path::new(PLAYS);
    let bytes = Bytes::new(path, PLAYS_GZ, PLAYS_GZ.len() as u64)?;
    split(PLAYS, characters(path, all(bytes, PLAYS)?)?)
}

/// A text file, plain or gzip, as characters or as bytes.
pub(super) fn load(path: &Path, as_bytes: bool, name: &str) -> Result<Split, DataError> {
    let bytes = all(Bytes::open(path)?, name)?;
    split(name, if as_bytes { byte_tokens(path, &bytes)? } else { characters(path, bytes)? })
}

/// A file of tokens; one named `train.bin` is all training data where there is a `val.bin` beside it, which is the test part.
pub(super) fn load_tokens(path: &Path, vocabulary: Option<usize>, name: &str) -> Result<Split, DataError> {
    let read = |path: &Path| tokens(path, &all(Bytes::open_named(path)?, name)?, vocabulary);
    let (mut train, found) = read(path)?;
    let beside = path.with_file_name("val.bin");
    if path.file_name().is_none_or(|name| name != "train.bin") || !beside.is_file() {
        return split(name, (train, found));
    }
    let (test, found_beside) = read(&beside)?;
    let size = vocabulary.unwrap_or(found.size().max(found_beside.size()));
    let (end, text) = (train.len(), Vocabulary::Numbers { size });
    train.extend(test);
    split_at(name, train, text, end)
}

/// All bytes of a text; more than it may have tokens are refused.
pub(super) fn all(mut bytes: Bytes<'_>, name: &str) -> Result<Vec<u8>, DataError> {
    let most = MOST * TOKEN_BYTES as u64;
    let read = bytes.read(most + 1, most).map_err(|error| match error {
        // How long the text ought to be is not known.
        DataError::Gzip { path, offset, cause, .. } => TextError::Gzip { path, offset, cause }.into(),
        error => error,
    })?;
    if read.len() as u64 > most { Err(too_long(name)) } else { Ok(read) }
}

fn too_long(name: &str) -> DataError {
    TextError::TooLong { name: name.to_owned(), limit: u32::MAX }.into()
}

fn empty(path: &Path) -> DataError {
    TextError::Empty { path: path.to_owned() }.into()
}

/// The characters of UTF-8 text by their place among those that there are.
pub(super) fn characters(path: &Path, bytes: Vec<u8>) -> Result<(Vec<u32>, Vocabulary), DataError> {
    let text = String::from_utf8(bytes).map_err(|error| {
        let offset = error.utf8_error().valid_up_to();
        TextError::NotUtf8 { path: path.to_owned(), offset, found: error.as_bytes()[offset] }
    })?;
    if text.is_empty() {
        return Err(empty(path));
    }
    let vocabulary = Vocabulary::of_characters(&text);
    let there: Vec<char> = vocabulary.characters().collect();
    let token = |c: char| there.partition_point(|other| *other < c) as u32;
    Ok((text.chars().map(token).collect(), vocabulary))
}

/// Bytes as tokens.
pub(super) fn byte_tokens(path: &Path, bytes: &[u8]) -> Result<(Vec<u32>, Vocabulary), DataError> {
    if bytes.is_empty() {
        return Err(empty(path));
    }
    Ok((bytes.iter().copied().map(u32::from).collect(), Vocabulary::Bytes))
}

/// Tokens of 16 bits, little-endian; below `vocabulary`, or one more than the largest of them.
pub(super) fn tokens(
    path: &Path,
    bytes: &[u8],
    vocabulary: Option<usize>,
) -> Result<(Vec<u32>, Vocabulary), DataError> {
    let (whole, rest) = bytes.as_chunks::<TOKEN_BYTES>();
    if !rest.is_empty() {
        return Err(TextError::Odd { path: path.to_owned(), offset: whole.len() * TOKEN_BYTES }.into());
    }
    if whole.is_empty() {
        return Err(empty(path));
    }
    let tokens: Vec<u32> = whole.iter().map(|token| u32::from(u16::from_le_bytes(*token))).collect();
    let found = count_of_kinds(&tokens);
    let size = vocabulary.unwrap_or(found);
    if let Some(at) = tokens.iter().position(|token| *token as usize >= size) {
        let (path, offset, found) = (path.to_owned(), at * TOKEN_BYTES, tokens[at]);
        return Err(TextError::Token { path, offset, vocabulary: size, found }.into());
    }
    Ok((tokens, Vocabulary::Numbers { size }))
}

/// The first nine tenths of a text, and the rest.
fn split(name: &str, (tokens, vocabulary): (Vec<u32>, Vocabulary)) -> Result<Split, DataError> {
    let end = (tokens.len() as u64 * 9 / 10) as usize;
    split_at(name, tokens, vocabulary, end)
}

fn split_at(name: &str, tokens: Vec<u32>, vocabulary: Vocabulary, end: usize) -> Result<Split, DataError> {
    if tokens.len() as u64 > MOST {
        return Err(too_long(name));
    }
    let whole = Windows::new(tokens, Arc::new(vocabulary));
    let [train, test] = whole.split_at(end).map(|part| Dataset::of_windows(name.to_owned(), part));
    Ok(Split { train, test })
}
