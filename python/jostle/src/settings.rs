//! A configuration as Python gives it: a file or a dictionary, and options over it.

use std::path::PathBuf;

use jostle::train::{Options, RunConfig, TrainError};
use pyo3::FromPyObject;
use serde_json::{Map, Value};

use crate::failure::Failure;

/// What a configuration is made of.
#[derive(Debug, FromPyObject)]
pub struct Settings {
    /// A TOML file.
    #[pyo3(item)]
    file: Option<PathBuf>,
    /// In its place: keys and values, as JSON.
    #[pyo3(item)]
    keys: Option<String>,
    /// Options over either, as on a command line.
    #[pyo3(item)]
    words: Vec<String>,
}

impl Settings {
    /// The options alone.
    pub fn options(&self) -> Result<Options, Failure> {
        Ok(Options::parse(&self.words)?)
    }

    /// The configuration, checked.
    pub fn resolve(&self) -> Result<RunConfig, Failure> {
        let options = self.options()?;
        match &self.keys {
            None => Ok(RunConfig::resolve(self.file.as_deref(), &options)?),
            Some(keys) => Ok(from_keys(keys)?.with(&options)?),
        }
    }
}

/// A configuration of the keys of a JSON object. Each is read by itself first, so that what is wrong names its key.
fn from_keys(text: &str) -> Result<RunConfig, Failure> {
    let keys: Map<String, Value> = serde_json::from_str(text)?;
    for (key, value) in &keys {
        let alone = Map::from_iter([(key.clone(), value.clone())]);
        if let Err(error) = serde_json::from_value::<RunConfig>(Value::Object(alone)) {
            return Err(TrainError::Config { key: key.clone(), reason: error.to_string() }.into());
        }
    }
    Ok(serde_json::from_value(Value::Object(keys))?)
}
