//! The size of a batch: a number, or `auto` for the largest that fits.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Stands for the largest batch that fits data and device, until [`super::Trainer::batch`] says which that is.
pub const AUTO_BATCH: usize = usize::MAX;

const AUTO: &str = "auto";

/// Reads `auto` or a number.
pub(super) fn parse(text: &str) -> Result<usize, String> {
    if text == AUTO { Ok(AUTO_BATCH) } else { text.parse().map_err(|_| format!("{text:?}: expected a number or auto")) }
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Written {
    Number(usize),
    Word(String),
}

fn written(batch: usize) -> Written {
    if batch == AUTO_BATCH { Written::Word(AUTO.to_owned()) } else { Written::Number(batch) }
}

pub(super) fn serialize<S: Serializer>(batch: &usize, serializer: S) -> Result<S::Ok, S::Error> {
    written(*batch).serialize(serializer)
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    match Written::deserialize(deserializer)? {
        Written::Number(batch) => Ok(batch),
        Written::Word(word) => parse(&word).map_err(serde::de::Error::custom),
    }
}
