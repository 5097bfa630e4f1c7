//! When checkpoints are written, and which are kept.

use std::{fmt, str::FromStr, time::Duration};

/// Steps or minutes between two checkpoints; reads from and prints as `500` or `10m`, `0` for none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Interval {
    /// Only at the end and where a run is stopped.
    Never,
    /// So many steps.
    Steps(u64),
    /// So long.
    Time(Duration),
}

impl FromStr for Interval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?}: expected a number of steps such as 500, or of minutes such as 10m");
        if let Some(minutes) = text.strip_suffix('m') {
            let minutes: f64 = minutes.parse().map_err(|_| wrong())?;
            let time = Duration::try_from_secs_f64(60.0 * minutes).map_err(|_| wrong())?;
            return Ok(if time.is_zero() { Self::Never } else { Self::Time(time) });
        }
        match text.parse().map_err(|_| wrong())? {
            0 => Ok(Self::Never),
            steps => Ok(Self::Steps(steps)),
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Never => f.write_str("0"),
            Self::Steps(steps) => write!(f, "{steps}"),
            Self::Time(time) => write!(f, "{}m", time.as_secs_f64() / 60.0),
        }
    }
}

/// The options of a run that only say how it is kept, and change nothing of its course.
#[derive(Clone, Copy, Debug, PartialEq, clap::Args)]
pub struct KeepOptions {
    /// Save all that a run needs to resume, every N steps or N minutes (10m); it is also saved at each evaluation whose
    /// validation loss is the best so far, at the end, and at Ctrl-C or SIGTERM. 0: only then
    #[arg(long, value_name = "N|Nm", default_value_t = Self::default().checkpoint_every)]
    pub checkpoint_every: Interval,
    /// Checkpoints to keep: the last so many, and the one with the best validation loss
    #[arg(long, value_name = "K", default_value_t = Self::default().keep_checkpoints, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    pub keep_checkpoints: usize,
}

impl Default for KeepOptions {
    fn default() -> Self {
        Self { checkpoint_every: Interval::Time(Duration::from_secs(600)), keep_checkpoints: 2 }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn intervals_read_and_print() {
        for (text, expected) in [
            ("500", Interval::Steps(500)),
            ("0", Interval::Never),
            ("10m", Interval::Time(Duration::from_secs(600))),
            ("0.5m", Interval::Time(Duration::from_secs(30))),
        ] {
            let interval: Interval = text.parse().unwrap();
            assert_eq!(interval, expected);
            assert_eq!(interval.to_string(), text);
        }
        for text in ["", "m", "-1", "-1m", "nanm", "infm", "1e99m", "10 s"] {
            let message = text.parse::<Interval>().unwrap_err();
            assert!(message.contains("expected"), "{message}");
        }
    }
}
