//! How inputs are brought to a common scale.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::data::Dataset;

use super::TrainError;

/// By which mean and standard deviation the channels of inputs are normalised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "Given")]
pub enum Normalise {
    /// Those that the literature uses for the data set where there are some (CIFAR), else none.
    #[default]
    Auto,
    /// None: inputs lie in [0, 1].
    None,
    /// Those of the training data.
    Data,
    /// Those that the literature uses for the data set.
    Published,
}

const ALL: [Normalise; 4] = [Normalise::Auto, Normalise::None, Normalise::Data, Normalise::Published];

/// Configurations from before there was a choice say true or false.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Flag(bool),
    Name(String),
}

impl TryFrom<Given> for Normalise {
    type Error = String;

    fn try_from(given: Given) -> Result<Self, String> {
        match given {
            Given::Flag(flag) => Ok(if flag { Self::Data } else { Self::None }),
            Given::Name(name) => name.parse(),
        }
    }
}

impl From<Normalise> for String {
    fn from(normalise: Normalise) -> Self {
        normalise.to_string()
    }
}

impl fmt::Display for Normalise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Data => "data",
            Self::Published => "published",
        })
    }
}

impl FromStr for Normalise {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "true" => Ok(Self::Data),
            "false" => Ok(Self::None),
            _ => ALL
                .into_iter()
                .find(|normalise| normalise.to_string() == text)
                .ok_or_else(|| format!("unknown normalisation {text:?}, expected one of auto, none, data, published")),
        }
    }
}

impl Normalise {
    /// Mean and standard deviation for each channel, or one pair for all.
    ///
    /// # Errors
    /// [`TrainError::Config`] for published values of a data set that has none.
    pub fn moments(self, train: &Dataset) -> Result<Vec<[f32; 2]>, TrainError> {
        match self {
            Self::Auto if !train.published.is_empty() => Ok(train.published.to_vec()),
            Self::Auto | Self::None => Ok(vec![[0.0, 1.0]]),
            Self::Data => {
                let usable = |(mean, std): (f32, f32)| [mean, if std > 0.0 { std } else { 1.0 }];
                Ok(train.channel_mean_std().into_iter().map(usable).collect())
            }
            Self::Published if train.published.is_empty() => Err(TrainError::Config {
                key: "normalise".to_owned(),
                reason: format!("no published mean and deviation are known for {}; try data", train.name),
            }),
            Self::Published => Ok(train.published.to_vec()),
        }
    }
}
