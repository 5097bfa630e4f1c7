//! The readers of this module on bytes from memory, for the fuzz targets and the replay of their corpora.

use std::{io::Cursor, path::Path};

use image::ImageReader;

use super::{
    DataError,
    bytes::Bytes,
    cifar::{self, CIFAR10, CIFAR100},
    folder::{self, Sizing},
    idx, text,
};

/// An IDX file of images.
pub(crate) fn idx_images(path: &Path, bytes: &[u8]) -> Result<([u32; 3], Vec<u8>), DataError> {
    idx::read_images(Bytes::new(path, bytes, bytes.len() as u64)?)
}

/// An IDX file of labels.
pub(crate) fn idx_labels(path: &Path, bytes: &[u8]) -> Result<([u32; 1], Vec<u8>), DataError> {
    idx::read_labels(Bytes::new(path, bytes, bytes.len() as u64)?)
}

/// Pixels and labels of a file of CIFAR-10 or, if `fine`, CIFAR-100.
pub(crate) fn cifar(path: &Path, bytes: &[u8], fine: bool) -> Result<(Vec<u8>, Vec<u32>), DataError> {
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    let kind = if fine { CIFAR100 } else { CIFAR10 };
    cifar::read(Bytes::new(path, bytes, bytes.len() as u64)?, &kind, &mut pixels, &mut labels)?;
    Ok((pixels, labels))
}

/// Tokens of a text of characters, or of bytes, and the size of its vocabulary.
pub(crate) fn text(path: &Path, bytes: &[u8], as_bytes: bool) -> Result<(Vec<u32>, usize), DataError> {
    let bytes = text::all(Bytes::new(path, bytes, bytes.len() as u64)?, "text")?;
    let (tokens, vocabulary) = if as_bytes { text::byte_tokens(path, &bytes)? } else { text::characters(path, bytes)? };
    Ok((tokens, vocabulary.size()))
}

/// Tokens of a file of them, and the size of its vocabulary.
pub(crate) fn tokens(path: &Path, bytes: &[u8], vocabulary: Option<usize>) -> Result<(Vec<u32>, usize), DataError> {
    let (tokens, vocabulary) = text::tokens(path, bytes, vocabulary)?;
    Ok((tokens, vocabulary.size()))
}

/// Rows, columns and bytes of an image of a folder, in the size it has or in `size`.
pub(crate) fn image(path: &Path, bytes: &[u8], size: Option<[usize; 2]>) -> Result<([usize; 2], usize), DataError> {
    let (reader, stored) = (|| ImageReader::new(Cursor::new(bytes)), bytes.len() as u64);
    let sizing = match size {
        Some(size) => Sizing::To(size),
        None => Sizing::As(folder::size_of(&folder::decoder(path, reader(), stored)?), path),
    };
    let image = folder::read(path, reader(), stored, sizing)?;
    Ok(([image.height() as usize, image.width() as usize], image.as_bytes().len()))
}
