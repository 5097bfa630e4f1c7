//! The model of a command, built for the data that the command names, as training builds it.

use jostle::{
    data::DataSource,
    nn::{Model, Target},
    train::{self, TrainError},
};

/// Shape and classes of a data set, which is read only where its name does not say them.
///
/// # Errors
/// [`TrainError::Data`]
pub(super) fn target(data: &DataSource) -> Result<Target, TrainError> {
    let (shape, classes) = match data.known_shape() {
        Some(known) => known,
        None => {
            let loaded = data.load()?.train;
            (loaded.shape, loaded.targets.outputs())
        }
    };
    Ok(train::target(&shape, classes))
}

/// The model of a description for a data set; without one for the model's own.
///
/// # Errors
/// [`TrainError::Data`], [`TrainError::Model`]
pub(super) fn build(description: &str, data: Option<&DataSource>) -> Result<Model, TrainError> {
    Ok(match data {
        Some(data) => Model::build(description, &target(data)?)?,
        None => description.parse()?,
    })
}
