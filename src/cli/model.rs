//! The model of a command, built for the data that the command names, as training builds it.

use jostle::{
    data::DataSource,
    graph::ValueShape,
    nn::{Model, Target},
    train::TrainError,
};

/// Shape and classes of a data set, which is read only where its name does not say them.
///
/// # Errors
/// [`TrainError::Data`]
pub(super) fn target(data: &DataSource) -> Result<Target, TrainError> {
    let (shape, classes) = match data.known_shape() {
        Some(known) => known,
        None => {
            let train = data.load()?.train;
            (train.shape, train.classes)
        }
    };
    let input = ValueShape::Image { channels: shape.channels, height: shape.height, width: shape.width };
    Ok(Target { input, classes })
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
