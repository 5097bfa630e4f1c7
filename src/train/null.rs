//! Numbers that JSON has no word for: NaN and infinity are written as null, and read as NaN.

use serde::{Deserialize, Deserializer};

/// A number, or null.
pub(super) fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

/// As [`number`], of a key that is there.
pub(super) fn measured<'de, D: Deserializer<'de>>(from: D) -> Result<Option<f64>, D::Error> {
    number(from).map(Some)
}
