//! Data and model of a run, before any device is involved.

use crate::{
    data::{DataSource, Split},
    graph::ValueShape,
    nn::{Model, Target},
};

use super::{RunConfig, TrainError};

/// Data and model of a configuration, loaded and held against each other.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// Training (subset taken) and test data.
    pub split: Split,
    /// The model.
    pub model: Model,
}

impl Prepared {
    /// Loads the data of a configuration and checks that the model fits them.
    ///
    /// # Errors
    /// [`TrainError::Data`], [`TrainError::Model`], [`TrainError::Features`], [`TrainError::Classes`].
    pub fn load(config: &RunConfig) -> Result<Self, TrainError> {
        let source: DataSource = config.data.parse()?;
        let mut split = source.load()?;
        if let Some(count) = config.subset {
            let seed = config.subset_seed;
            split.train = match config.stratified {
                true => split.train.stratified_subset(count, seed)?,
                false => split.train.subset(count, seed)?,
            };
        }
        if let Some(count) = config.test_subset {
            split.test = split.test.stratified_subset(count, config.subset_seed)?;
        }
        let of = split.train.shape;
        let input = ValueShape::Image { channels: of.channels, height: of.height, width: of.width };
        let model = Model::build(&config.model, &Target { input, classes: split.train.classes })?;
        for data in [&split.train, &split.test] {
            if model.features() != data.features() {
                let of = &data.shape;
                return Err(TrainError::Features {
                    model: model.description.clone(),
                    data: data.name.clone(),
                    expected: model.features(),
                    found: data.features(),
                    shape: format!("{} x {} x {}", of.channels, of.height, of.width),
                });
            }
            if model.classes() < data.classes {
                return Err(TrainError::Classes {
                    model: model.description.clone(),
                    data: data.name.clone(),
                    outputs: model.classes(),
                    classes: data.classes,
                });
            }
        }
        Ok(Self { split, model })
    }
}
