//! `checkpoint.json`: what a checkpoint is of, and where in the run it stands.
//!
//! Options come and go, and no run is refused for it. A key that is missing means what runs did before there was such a
//! key, which is its default; a key of the configuration that is unknown is one of a newer version, whose meaning nobody
//! here can know, and is refused by its name. Keys of this file that are unknown are passed over: whoever adds one that
//! must not be adds 1 to the format.
//!
//! | format | configuration | `config_sha256` | `graph_sha256` |
//! |---|---|---|---|
//! | 1 | the key `config` | of the configuration as its version wrote it: not checked against anything | of a text that changed from version to version: not checked against anything |
//! | 2 | the file `config.toml` | of the bytes of that file | of [`Graph::canonical_text`](crate::graph::Graph::canonical_text) |

use std::{collections::BTreeSet, path::Path};

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    data::{Dataset, SampleShape, SampleType, Targets},
    digest::{digits, sha256},
    kernels::GradientScaling,
    nn::Model,
    train::{Best, Prepared, RunConfig},
};

use super::folder::{self, Stored};

/// The file's name.
pub const NAME: &str = "checkpoint.json";

/// The configuration's file, since format 2.
pub const CONFIG: &str = "config.toml";

/// Version of the layout of a checkpoint that is written. Older ones are read, newer ones cannot be.
const FORMAT: u64 = 2;

/// The format whose configuration lies in `checkpoint.json`.
const CONFIG_WITHIN: u64 = 1;

/// This version of Jostle.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Where a run stands. All but the steps done follows from them and the configuration; it is there to be read, and held
/// against what follows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Position {
    /// Steps done: optimizer, learning rate, warm-up and noise go by it.
    pub step: u64,
    /// Whole epochs done: the sampler, its order and augmentation go by it.
    pub epoch: u64,
    /// Steps done of the epoch under way.
    pub step_of_epoch: u64,
    /// Standard deviation of the next step's noise.
    pub sigma: f64,
    /// The next step's noisy group in mode `layer`.
    pub group: Option<usize>,
}

/// What a run is a run of, beside its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Jostle's version: another may round otherwise.
    pub version: String,
    /// The adapter and its driver, on which alone a run resumes bit by bit.
    pub adapter: String,
    /// The model's description.
    pub model: String,
    /// Its parameters' names and shapes, in order.
    pub parameters: Vec<(String, Vec<usize>)>,
    /// SHA-256 of its graph as text: operations with their settings.
    pub graph_sha256: String,
    /// Name and number of samples of the training data.
    pub train: (String, usize),
    /// Name and number of samples of the test data.
    pub test: (String, usize),
    /// SHA-256 of the samples and labels of both.
    pub data_sha256: String,
}

impl Identity {
    /// Of what is at hand.
    #[must_use]
    pub fn new(prepared: &Prepared, adapter: String) -> Self {
        let Model { description, graph } = &prepared.model;
        let split = &prepared.split;
        let name_and_len = |data: &Dataset| (data.name.clone(), data.len());
        let mut hash = Sha256::new();
        for data in [&split.train, &split.test].into_iter().chain(&prepared.validation) {
            let SampleShape { channels, height, width } = data.shape;
            // As format 1 had it.
            let shape = format!("SampleShape {{ channels: {channels}, height: {height}, width: {width} }}");
            hash.update(format!("{shape} {} {};", data.targets.outputs(), data.len()));
            // Of bytes and of classes nothing is said, as in format 1.
            hash.update(match data.samples.kind() {
                SampleType::U8 => "",
                SampleType::F32 => "f32;",
                SampleType::U32 => "u32;",
            });
            hash.update(match data.targets {
                Targets::Classes { .. } => "",
                Targets::Vectors { .. } => "vectors;",
                Targets::Tokens { .. } => "tokens;",
                Targets::Next { .. } => "next;",
            });
            hash.update(data.samples.as_bytes());
            hash.update(bytemuck::cast_slice(data.targets.as_words()));
        }
        Self {
            version: VERSION.to_owned(),
            adapter,
            model: description.clone(),
            parameters: graph.params().iter().map(|param| (param.name.clone(), param.shape.clone())).collect(),
            graph_sha256: sha256(graph.canonical_text().as_bytes()),
            train: name_and_len(&split.train),
            test: name_and_len(&split.test),
            data_sha256: digits(&hash.finalize()),
        }
    }
}

/// A best evaluation as written: those of before there was a validation split go by the test loss, by which none is chosen.
#[derive(Deserialize)]
#[serde(untagged)]
enum WrittenBest {
    Validation(Best),
    Test {
        #[serde(rename = "test_loss")]
        _test_loss: f64,
    },
}

fn read_best<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Best>, D::Error> {
    Ok(match Option::deserialize(from)? {
        Some(WrittenBest::Validation(best)) => Some(best),
        Some(WrittenBest::Test { .. }) | None => None,
    })
}

/// `checkpoint.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of the layout.
    pub format: u64,
    /// The other files of the checkpoint.
    pub files: Vec<String>,
    /// Where the run stands.
    pub position: Position,
    /// The state of mixed precision's loss scale.
    pub scaling: GradientScaling,
    /// Bytes of `metrics.jsonl` that belong to the steps done.
    pub metrics_bytes: u64,
    /// Bytes of TensorBoard's events that do, where they are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events_bytes: Option<u64>,
    /// The evaluation with the lowest validation loss so far.
    #[serde(default, deserialize_with = "read_best")]
    pub best: Option<Best>,
    /// What it is a run of.
    pub identity: Identity,
    /// SHA-256 of the configuration's file.
    pub config_sha256: String,
    /// The configuration, from its file.
    #[serde(skip)]
    pub config: RunConfig,
}

/// The part of a file of format 1 that has become a file of its own.
#[derive(Deserialize)]
struct ConfigWithin {
    config: RunConfig,
}

impl Manifest {
    /// Of this version; `text` is the configuration as its file holds it.
    #[must_use]
    pub fn new(
        (config, text): (&RunConfig, &str),
        identity: &Identity,
        position: Position,
        scaling: GradientScaling,
    ) -> Self {
        Self {
            format: FORMAT,
            files: Vec::new(),
            position,
            scaling,
            metrics_bytes: 0,
            events_bytes: None,
            best: None,
            identity: identity.clone(),
            config_sha256: sha256(text.as_bytes()),
            config: config.clone(),
        }
    }

    /// Reads that of the checkpoint in a folder, all of whose files have to be whole.
    ///
    /// # Errors
    /// What is wrong, in words, with the file's path.
    pub fn open(checkpoint: &Path) -> Result<Self, String> {
        Self::read(&folder::read(checkpoint)?)
    }

    /// Reads that of a checkpoint, all of whose files have to be there.
    ///
    /// # Errors
    /// What is wrong, in words, with the file's path.
    pub(in crate::train) fn read(stored: &Stored) -> Result<Self, String> {
        let file = |name: &str| stored.file(name).map_err(|error| error.to_string());
        let (bytes, path) = file(NAME)?;
        let mut manifest = Self::parse(bytes).map_err(|reason| format!("{}: {reason}", path.display()))?;
        if manifest.format > CONFIG_WITHIN {
            let (bytes, path) = file(CONFIG)?;
            manifest.config = manifest.parse_config(bytes).map_err(|reason| format!("{}: {reason}", path.display()))?;
        }
        for name in &manifest.files {
            file(name)?;
        }
        Ok(manifest)
    }

    /// Reads the bytes of `checkpoint.json`; the configuration only where it lies in them, in format 1.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        let format = value.get("format").and_then(Value::as_u64);
        let Some(format) = format.filter(|format| (1..=FORMAT).contains(format)) else {
            let found = format.map_or("none".to_owned(), |format| format.to_string());
            return Err(format!("format {found}, this version reads 1 to {FORMAT}"));
        };
        let mut manifest = Self::deserialize(&value).map_err(|error| error.to_string())?;
        manifest.scaling = manifest.scaling.after(manifest.position.step);
        if format == CONFIG_WITHIN {
            let within = ConfigWithin::deserialize(&value);
            manifest.config = within.map_err(|error| manifest.unknown(&error.to_string()))?.config;
            manifest.config.check().map_err(|error| error.to_string())?;
        }
        Ok(manifest)
    }

    /// Reads the bytes of `config.toml`, which have to be those that were written.
    fn parse_config(&self, bytes: &[u8]) -> Result<RunConfig, String> {
        let (found, expected) = (sha256(bytes), &self.config_sha256);
        if found != *expected {
            return Err(format!("SHA-256 is {found}, config_sha256 of {NAME} is {expected}"));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| error.to_string())?;
        let config: RunConfig = toml::from_str(text).map_err(|error| self.unknown(error.message()))?;
        config.check().map_err(|error| error.to_string())?;
        Ok(config)
    }

    /// What the configuration's reader does not know, in a sentence with the version that did.
    fn unknown(&self, message: &str) -> String {
        // The list of all keys would bury the one that matters.
        let what = message.split(", expected one of").next().unwrap_or(message);
        format!("{what}: written by Jostle {}, this is {VERSION}", self.identity.version)
    }

    /// As JSON, human-readable.
    ///
    /// # Errors
    /// Those of JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }
}

/// Keys that change nothing of a run's course as long as its loss is finite.
const FREE_KEYS: [&str; 5] = ["log-every", "on-nan", "tensorboard", "test-every", "train-eval"];

/// What is another now than when a checkpoint was made.
#[derive(Debug, Default)]
pub struct Differences {
    /// What makes it another run: keys of the configuration, model, data.
    pub refused: Vec<String>,
    /// What a run resumes with all the same, in sentences.
    pub notices: Vec<String>,
}

/// Checks a checkpoint against the configuration and what is at hand.
pub fn differences(then: &Manifest, config: &RunConfig, now: &Identity) -> Differences {
    let mut refused = Vec::new();
    let mut differ = |what: &str, then: String, now: String| {
        if then != now {
            refused.push(format!("{what} was {then}, is {now}"));
        }
    };
    let format = then.format;
    let (before, then) = (&then.config, &then.identity);
    config_differences(before, config, &mut differ);
    let samples = |(name, count): &(String, usize)| format!("{name} with {count} samples");
    differ("training data", samples(&then.train), samples(&now.train));
    differ("test data", samples(&then.test), samples(&now.test));
    differ("SHA-256 of the data", then.data_sha256.clone(), now.data_sha256.clone());
    for index in 0..then.parameters.len().max(now.parameters.len()) {
        let show = |identity: &Identity| match identity.parameters.get(index) {
            Some((name, shape)) => format!("{name} {shape:?}"),
            None => "absent".to_owned(),
        };
        differ(&format!("parameter {index}"), show(then), show(now));
    }
    if then.parameters == now.parameters && format > CONFIG_WITHIN {
        differ("SHA-256 of the model's graph", then.graph_sha256.clone(), now.graph_sha256.clone());
    }
    let mut notices = Vec::new();
    if format == CONFIG_WITHIN {
        notices
            .push(format!("a checkpoint of format {format}: its model's parameters are compared, its operations not"));
    }
    let versions = ("Jostle's version", &then.version, &now.version);
    for (what, then, now) in [versions, ("the adapter", &then.adapter, &now.adapter)] {
        if then != now {
            notices.push(format!("{what} was {then}, is {now}: the run resumes, but not bit for bit"));
        }
    }
    Differences { refused, notices }
}

/// Calls `differ` with each key of the configuration, its value then and its value now. Both are written by this version,
/// whatever the keys were called and whether they were there when the older of them was.
fn config_differences(then: &RunConfig, now: &RunConfig, differ: &mut impl FnMut(&str, String, String)) {
    let table = |config: &RunConfig| toml::Table::try_from(config).unwrap_or_default();
    let (then, now) = (table(then), table(now));
    let show = |value: Option<&toml::Value>| value.map_or("not set".to_owned(), ToString::to_string);
    let keys: BTreeSet<&String> = then.keys().chain(now.keys()).collect();
    for key in keys.into_iter().filter(|key| !FREE_KEYS.contains(&key.as_str())) {
        differ(key, show(then.get(key)), show(now.get(key)));
    }
}
