//! What the tokens of a text stand for.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// What tokens stand for, so that a text can be made of them; as JSON it lies in the folder of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Vocabulary {
    /// Characters: the token of one is its place among them, sorted, as nanoGPT's `prepare.py` numbers them.
    Characters {
        /// Each once, ascending.
        characters: String,
    },
    /// Bytes: the token of one is its value.
    Bytes,
    /// Numbers from 0 on, of which nothing more is known: texts of them are numbers with spaces between.
    Numbers {
        /// Tokens are below this.
        size: usize,
    },
}

/// A part of a text that a vocabulary has no token for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at offset {offset}, expected one of {expected}, found `{}`", .found.escape_debug())]
pub struct UnknownToken {
    /// Bytes of the text before it.
    pub offset: usize,
    /// What there are tokens for.
    pub expected: String,
    /// The part.
    pub found: String,
}

impl Vocabulary {
    /// Of all characters of a text.
    #[must_use]
    pub fn of_characters(text: &str) -> Self {
        let characters: BTreeSet<char> = text.chars().collect();
        Self::Characters { characters: characters.into_iter().collect() }
    }

    /// Its characters, ascending; none where tokens stand for something else.
    pub(super) fn characters(&self) -> impl Iterator<Item = char> {
        let characters = if let Self::Characters { characters } = self { characters.as_str() } else { "" };
        characters.chars()
    }

    /// How many tokens there are.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Characters { characters } => characters.chars().count(),
            Self::Bytes => 256,
            Self::Numbers { size } => *size,
        }
    }

    /// The tokens of a text.
    ///
    /// # Errors
    /// [`UnknownToken`] for the first part of it that has none.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, UnknownToken> {
        let unknown = |offset: usize, expected: &str, found: &str| UnknownToken {
            offset,
            expected: format!("the {} {expected} of the vocabulary", self.size()),
            found: found.to_owned(),
        };
        match self {
            Self::Characters { characters } => {
                let sorted: Vec<char> = characters.chars().collect();
                let token = |(offset, c): (usize, char)| {
                    let place = sorted.binary_search(&c).map_err(|_| unknown(offset, "characters", &c.to_string()))?;
                    Ok(place as u32)
                };
                text.char_indices().map(token).collect()
            }
            Self::Bytes => Ok(text.bytes().map(u32::from).collect()),
            Self::Numbers { size } => {
                let token = |word: &str| {
                    let offset = word.as_ptr() as usize - text.as_ptr() as usize;
                    let number = word.parse().ok().filter(|token| (*token as usize) < *size);
                    number.ok_or_else(|| unknown(offset, "numbers from 0 on", word))
                };
                text.split_whitespace().map(token).collect()
            }
        }
    }

    /// What a token is as a part of a text: bytes, as a character may take several tokens; nothing where there is no such token.
    #[must_use]
    pub fn decode(&self, token: u32) -> Vec<u8> {
        match self {
            Self::Characters { characters } => {
                characters.chars().nth(token as usize).map_or(Vec::new(), |c| c.to_string().into_bytes())
            }
            Self::Bytes => u8::try_from(token).into_iter().collect(),
            Self::Numbers { .. } => format!("{token} ").into_bytes(),
        }
    }

    /// Reads what a run's folder holds.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        /// Those of the kernels' 32 bits.
        const MOST: usize = u32::MAX as usize;
        let vocabulary: Self = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        if let Self::Characters { characters } = &vocabulary {
            let ascends = |(before, after): (char, char)| before < after;
            if !characters.chars().zip(characters.chars().skip(1)).all(ascends) {
                return Err("expected characters in ascending order, each once, found others".to_owned());
            }
        }
        match vocabulary.size() {
            size @ (0 | MOST..) => Err(format!("expected from 1 to {MOST} tokens, found {size}")),
            _ => Ok(vocabulary),
        }
    }

    /// As [`Vocabulary::parse`] reads it.
    ///
    /// # Errors
    /// Those of JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }
}
