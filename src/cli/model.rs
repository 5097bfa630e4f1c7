//! The model of a command, built for the data that the command names, as training builds it.

use jostle::{
    data::DataSource,
    nn::{Model, Signature},
    train::{self, TrainError},
};

/// Shape and classes of a data set, which is read only where its name does not say them.
///
/// # Errors
/// [`TrainError::Data`]
pub(super) fn signature(data: &DataSource) -> Result<Signature, TrainError> {
    let (shape, classes) = match data.known_shape() {
        Some(known) => known,
        None => {
            let loaded = data.load()?.train;
            (loaded.shape, loaded.targets.outputs())
        }
    };
    Ok(train::signature(&shape, classes))
}

/// The model of a description for a data set; without one for the model's own.
///
/// # Errors
/// [`TrainError::Data`], [`TrainError::Model`]
pub(super) fn build(description: &str, data: Option<&DataSource>) -> Result<Model, TrainError> {
    Ok(match data {
        Some(data) => Model::build(description, &signature(data)?)?,
        None => description.parse()?,
    })
}
