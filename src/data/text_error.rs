//! What can go wrong with a text.

use std::{io, path::PathBuf};

/// An error of a text; each message is one whole sentence, as those of [`DataError`](super::DataError).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TextError {
    /// A text's file is empty.
    #[error("{path}: at offset 0, expected a text, found the end of the data")]
    Empty {
        /// The file.
        path: PathBuf,
    },

    /// The gzip stream of a text is damaged or cut short.
    #[error("{path}: at offset {offset}, expected its gzip stream to go on, found it damaged or cut short: {cause}")]
    Gzip {
        /// The file.
        path: PathBuf,
        /// Bytes decompressed before the error.
        offset: u64,
        /// The decompressor's error.
        cause: io::Error,
    },

    /// A text's file is not UTF-8.
    #[error(
        "{path}: at offset {offset}, expected UTF-8 text, found the byte {found:#04x}; `text:FILE@bytes` takes any bytes"
    )]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// Bytes before it.
        offset: usize,
        /// The byte.
        found: u8,
    },

    /// A file of tokens ends within one.
    #[error("{path}: at offset {offset}, expected the two bytes of a token, found one")]
    Odd {
        /// The file.
        path: PathBuf,
        /// Where the last byte stands.
        offset: usize,
    },

    /// A token is not below the size of the vocabulary.
    #[error("{path}: at offset {offset}, expected a token below {vocabulary}, found {found}")]
    Token {
        /// The file.
        path: PathBuf,
        /// Where the token stands.
        offset: usize,
        /// Tokens of the vocabulary.
        vocabulary: usize,
        /// The token.
        found: u32,
    },

    /// A text has more tokens than 32 bits count.
    #[error("{name}: expected a text of at most {limit} tokens, found more")]
    TooLong {
        /// The data set.
        name: String,
        /// The most tokens.
        limit: u32,
    },

    /// A text, or a part of it, has not the tokens of one window.
    #[error(
        "{name}: expected at least {expected} tokens, a window of {length} and the next one, found {found}; a smaller --block \
         takes shorter texts"
    )]
    Short {
        /// The data set, and which part of it.
        name: String,
        /// Tokens of a window.
        length: usize,
        /// The least tokens.
        expected: usize,
        /// Tokens there are.
        found: usize,
    },
}
