//! Numbers as they are told, and in files of measurements: JSON has no NaN, and writes null for it.

use serde::{Deserialize, Deserializer};

/// Numbers, null being NaN: a run that diverged.
///
/// # Errors
/// Those of the format.
pub(super) fn or_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
    let values = Vec::<Option<f64>>::deserialize(deserializer)?;
    Ok(values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
}

/// Three significant digits.
#[must_use]
pub fn short(value: f64) -> String {
    if !value.is_finite() || value == 0.0 {
        return value.to_string();
    }
    let decimals = 2 - value.abs().log10().floor() as i32;
    match decimals {
        7.. => format!("{value:.2e}"),
        0..7 => format!("{value:.*}", decimals as usize),
        _ => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits() {
        let cases = [(0.0, "0"), (0.004_812, "0.00481"), (1234.5, "1234"), (12.34, "12.3"), (3.2e-7, "3.20e-7")];
        for (value, expected) in cases {
            assert_eq!(short(value), expected);
        }
        assert_eq!(short(f64::NAN), "NaN");
    }
}
