//! The model for data that are named, built as training builds it, without reading more of them than it takes.

use crate::{
    data::DataSource,
    nn::{Model, Signature},
};

use super::{TrainError, prepared};

/// Shape and classes of a data set, which is read only where its name does not say them.
///
/// # Errors
/// [`TrainError::Data`]
pub fn signature_of_source(data: &DataSource) -> Result<Signature, TrainError> {
    let (shape, classes) = match data.known_shape() {
        Some(known) => known,
        None => {
            let loaded = data.load()?.train;
            (loaded.shape, loaded.targets.outputs())
        }
    };
    Ok(prepared::signature(&shape, classes))
}

/// The model of a description for a data set; without one for the model's own.
///
/// # Errors
/// [`TrainError::Data`], [`TrainError::Model`]
pub fn model_for(description: &str, data: Option<&DataSource>) -> Result<Model, TrainError> {
    Ok(match data {
        Some(data) => Model::build(description, &signature_of_source(data)?)?,
        None => description.parse()?,
    })
}
