//! The model for data that are named, built as training builds it, without reading more of them than it takes.

use crate::{
    data::DataSource,
    nn::{Model, Signature},
};

use super::{TrainError, prepared};

/// Shape and classes of a data set, which is read only where its name does not say them; a text in windows of `block` tokens, where
/// that is given.
///
/// # Errors
/// [`TrainError::Data`]
pub fn signature_of_source(data: &DataSource, block: Option<usize>) -> Result<Signature, TrainError> {
    Ok(match data.known_shape() {
        Some((shape, classes)) => prepared::signature(&shape, classes),
        None => prepared::signature_for(&data.load()?, block),
    })
}

/// The model of a description for a data set, as [`signature_of_source`] has it; without one for the model's own.
///
/// # Errors
/// [`TrainError::Data`], [`TrainError::Model`]
pub fn model_for(description: &str, data: Option<&DataSource>, block: Option<usize>) -> Result<Model, TrainError> {
    Ok(match data {
        Some(data) => Model::build(description, &signature_of_source(data, block)?)?,
        None => description.parse()?,
    })
}
