//! How inputs are brought to a common scale.

use serde::{Deserialize, Deserializer};

use crate::{data::Dataset, names::named};

use super::TrainError;

named!("normalisation",
    /// By which mean and standard deviation the channels of inputs are normalised.
    #[derive(Default)]
    Normalise {
        /// Those that the literature uses for the data set where there are some (CIFAR), else none.
        #[default]
        Auto = "auto",
        /// None: inputs lie in [0, 1].
        None = "none" | "false",
        /// Those of the training data.
        Data = "data" | "true",
        /// Those that the literature uses for the data set.
        Published = "published",
    }
);

/// Configurations from before there was a choice say true or false.
#[derive(Deserialize)]
#[serde(untagged)]
enum Given {
    Flag(bool),
    Name(String),
}

/// Reads the value of a file.
pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Normalise, D::Error> {
    match Given::deserialize(deserializer)? {
        Given::Flag(flag) => Ok(if flag { Normalise::Data } else { Normalise::None }),
        Given::Name(name) => name.parse().map_err(serde::de::Error::custom),
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
