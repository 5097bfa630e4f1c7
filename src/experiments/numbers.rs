//! Numbers in files of measurements: JSON has no NaN, and writes null for it.

use serde::{Deserialize, Deserializer};

/// Numbers, null being NaN: a run that diverged.
///
/// # Errors
/// Those of the format.
pub(super) fn or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}
