//! When a run is scored, and on what: the values of `--eval-every`, `--train-eval` and `--validation`.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::data::{DataError, Dataset};

/// A value as a TOML file writes it.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Written {
    /// A number of something.
    Count(u64),
    /// A share.
    Share(f64),
    /// Anything else.
    Word(String),
}

impl Written {
    /// As on the command line.
    fn text(self) -> String {
        match self {
            Self::Count(count) => count.to_string(),
            // With its point, lest 1.0 pass for a number of samples.
            Self::Share(share) => format!("{share:?}"),
            Self::Word(word) => word,
        }
    }

    /// A number where the text is one.
    fn from_text(text: String) -> Self {
        match (text.parse(), text.parse()) {
            (Ok(count), _) => Self::Count(count),
            (_, Ok(share)) => Self::Share(share),
            _ => Self::Word(text),
        }
    }
}

/// A type that files write as a number or a word, and that reads from and prints as text.
macro_rules! written {
    ($($name:ident),+) => {
        $(impl TryFrom<Written> for $name {
            type Error = String;

            fn try_from(written: Written) -> Result<Self, String> {
                written.text().parse()
            }
        }

        impl From<$name> for Written {
            fn from(value: $name) -> Self {
                Self::from_text(value.to_string())
            }
        })+
    };
}

written!(EvalEvery, TrainEval, Validation);

/// How often a run is evaluated; reads from and prints as `2`, epochs, or `500steps`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum EvalEvery {
    /// Every so many epochs.
    Epochs(u64),
    /// Every so many steps.
    Steps(u64),
}

const STEPS: &str = "steps";

impl EvalEvery {
    /// The number of the evaluation, counted from 1, that is due after so many steps with so many to an epoch.
    #[must_use]
    pub fn due(self, step: u64, per_epoch: u64) -> Option<u64> {
        let every = match self {
            Self::Epochs(epochs) => epochs.saturating_mul(per_epoch),
            Self::Steps(steps) => steps,
        };
        (step > 0 && step.is_multiple_of(every)).then(|| step / every.max(1))
    }

    /// Whether it is what a run does that is told nothing.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for EvalEvery {
    fn default() -> Self {
        Self::Epochs(1)
    }
}

impl FromStr for EvalEvery {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (number, kind): (_, fn(u64) -> Self) = match text.strip_suffix(STEPS) {
            Some(number) => (number, Self::Steps),
            None => (text, Self::Epochs),
        };
        let count = number.parse().ok().filter(|count| *count > 0);
        count
            .map(kind)
            .ok_or_else(|| format!("{text:?}: expected a number of epochs such as 2, or of steps such as 500steps"))
    }
}

impl fmt::Display for EvalEvery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Epochs(epochs) => write!(f, "{epochs}"),
            Self::Steps(steps) => write!(f, "{steps}{STEPS}"),
        }
    }
}

/// Which training samples an evaluation scores; reads from and prints as `all`, `none` or a number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum TrainEval {
    /// All of them.
    #[default]
    All,
    /// None.
    None,
    /// So many, always the same, each class in proportion.
    Samples(usize),
}

impl TrainEval {
    /// How many of so many samples; `None` for none.
    #[must_use]
    pub fn samples(self, train: usize) -> Option<usize> {
        match self {
            Self::All => Some(train),
            Self::None => None,
            Self::Samples(samples) => Some(samples),
        }
    }

    /// The samples, chosen by `seed` where they are not all; of a text random windows.
    ///
    /// # Errors
    /// As [`Dataset::stratified_subset`].
    pub fn part(self, train: &Dataset, seed: u64) -> Result<Option<Dataset>, DataError> {
        match self {
            Self::All => Ok(Some(train.clone())),
            Self::None => Ok(None),
            Self::Samples(samples) if train.windows().is_some() => Ok(Some(train.scored_windows(samples, seed))),
            Self::Samples(samples) => train.stratified_subset(samples, seed).map(Some),
        }
    }

    /// Whether it is what a run does that is told nothing.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl FromStr for TrainEval {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            "none" => Ok(Self::None),
            _ => {
                let samples = text.parse().ok().filter(|samples| *samples > 0);
                samples
                    .map(Self::Samples)
                    .ok_or_else(|| format!("{text:?}: expected all, none or a number of samples, at least 1"))
            }
        }
    }
}

impl fmt::Display for TrainEval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::None => f.write_str("none"),
            Self::Samples(samples) => write!(f, "{samples}"),
        }
    }
}

/// How much of the training data is kept apart to choose by; reads from and prints as `0.1` or `500`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(into = "Written", try_from = "Written")]
pub enum Validation {
    /// This share, between 0 and 1.
    Share(f64),
    /// So many samples.
    Samples(usize),
}

impl Validation {
    /// How many of so many samples.
    #[must_use]
    pub fn samples(self, train: usize) -> usize {
        match self {
            Self::Share(share) => (share * train as f64).round() as usize,
            Self::Samples(samples) => samples,
        }
    }
}

impl FromStr for Validation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let samples = text.parse().ok().filter(|samples| *samples > 0).map(Self::Samples);
        let share = || text.parse().ok().filter(|share| *share > 0.0 && *share < 1.0).map(Self::Share);
        samples.or_else(share).ok_or_else(|| {
            format!("{text:?}: expected a share between 0 and 1 such as 0.1, or a number of samples such as 500")
        })
    }
}

impl fmt::Display for Validation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(share) => write!(f, "{share}"),
            Self::Samples(samples) => write!(f, "{samples}"),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    #[test]
    fn values_read_and_print() {
        for (text, expected) in [("2", EvalEvery::Epochs(2)), ("500steps", EvalEvery::Steps(500))] {
            assert_eq!((text.parse(), expected.to_string().as_str()), (Ok(expected), text));
        }
        for (text, expected) in [("all", TrainEval::All), ("none", TrainEval::None), ("7", TrainEval::Samples(7))] {
            assert_eq!((text.parse(), expected.to_string().as_str()), (Ok(expected), text));
        }
        for (text, expected) in [("0.25", Validation::Share(0.25)), ("90", Validation::Samples(90))] {
            assert_eq!((text.parse(), expected.to_string().as_str()), (Ok(expected), text));
        }
    }

    #[test]
    fn what_is_no_value_is_refused_with_what_is_expected() {
        for text in ["0", "0steps", "steps", "-1", "1.5", "5 epochs", ""] {
            assert!(text.parse::<EvalEvery>().unwrap_err().contains("expected a number of epochs"), "{text}");
        }
        for text in ["0", "some", "0.5", ""] {
            assert!(text.parse::<TrainEval>().unwrap_err().contains("expected all, none"), "{text}");
        }
        for text in ["0", "1.0", "-0.1", "nan", "inf", "half", ""] {
            assert!(text.parse::<Validation>().unwrap_err().contains("expected a share"), "{text}");
        }
    }

    #[test]
    fn evaluations_are_due_by_epochs_or_steps() {
        let due = |every: EvalEvery| (0..=12).filter_map(|step| every.due(step, 4)).collect::<Vec<_>>();
        assert_eq!(due(EvalEvery::Epochs(1)), [1, 2, 3]);
        assert_eq!(due(EvalEvery::Epochs(2)), [1]);
        assert_eq!(due(EvalEvery::Steps(5)), [1, 2]);
        assert_eq!(EvalEvery::Epochs(u64::MAX).due(8, 4), None);
    }
}
