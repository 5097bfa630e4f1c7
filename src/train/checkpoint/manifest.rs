//! `checkpoint.json`: what a checkpoint is of, and where in the run it stands.

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

use crate::{
    data::Dataset,
    digest::{digits, sha256},
    kernels::GradientScaling,
    nn::Model,
    train::{Best, Prepared, RunConfig},
};

use super::folder::Stored;

/// The file's name.
pub const NAME: &str = "checkpoint.json";

/// Version of the layout of a checkpoint; another one cannot be read.
const FORMAT: u64 = 1;

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

/// The loss scale of mixed precision, and what was left out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scaling {
    loss_scale: f32,
    factor: f32,
    good_steps: u32,
    skipped_steps: u32,
}

impl From<GradientScaling> for Scaling {
    fn from(of: GradientScaling) -> Self {
        let GradientScaling { loss_scale, factor, good_steps, skipped_steps, applied_steps: _ } = of;
        Self { loss_scale, factor, good_steps, skipped_steps }
    }
}

impl Scaling {
    /// As it lies on the device after so many steps, each of which made an update or left it out.
    #[must_use]
    pub fn after(self, steps: u64) -> GradientScaling {
        let Self { loss_scale, factor, good_steps, skipped_steps } = self;
        let applied_steps = steps.saturating_sub(u64::from(skipped_steps)) as u32;
        GradientScaling { loss_scale, factor, good_steps, skipped_steps, applied_steps }
    }
}

/// What a run is a run of, beside its configuration.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Jostle's version: another may round otherwise.
    pub version: String,
    /// The adapter and its driver, on which alone a run goes on bit by bit.
    pub adapter: String,
    /// The model's description.
    pub model: String,
    /// Its parameters' names and shapes, in order.
    pub parameters: Vec<(String, Vec<usize>)>,
    /// SHA-256 of its graph: operations with their settings.
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
        let of = |data: &Dataset| (data.name.clone(), data.len());
        let mut hash = Sha256::new();
        for data in [&split.train, &split.test].into_iter().chain(&prepared.validation) {
            hash.update(format!("{:?} {} {};", data.shape, data.classes, data.len()));
            hash.update(&data.pixels);
            hash.update(bytemuck::cast_slice(&data.labels));
        }
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            adapter,
            model: description.clone(),
            parameters: graph.params().iter().map(|param| (param.name.clone(), param.shape.clone())).collect(),
            graph_sha256: sha256(format!("{graph:?}").as_bytes()),
            train: of(&split.train),
            test: of(&split.test),
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
    pub scaling: Scaling,
    /// Bytes of `metrics.jsonl` that belong to the steps done.
    pub metrics_bytes: u64,
    /// The evaluation with the lowest validation loss so far.
    #[serde(default, deserialize_with = "read_best")]
    pub best: Option<Best>,
    /// What it is a run of.
    pub identity: Identity,
    /// SHA-256 of the configuration as TOML.
    pub config_sha256: String,
    /// The configuration.
    pub config: RunConfig,
}

/// SHA-256 of a configuration as TOML.
fn config_sha256(config: &RunConfig) -> String {
    // A configuration is a flat table, which TOML can always write; if not, the hash is that of nothing.
    sha256(toml::to_string(config).unwrap_or_default().as_bytes())
}

impl Manifest {
    /// Of this version.
    #[must_use]
    pub fn new(config: &RunConfig, identity: &Identity, position: Position, scaling: GradientScaling) -> Self {
        Self {
            format: FORMAT,
            files: Vec::new(),
            position,
            scaling: scaling.into(),
            metrics_bytes: 0,
            best: None,
            identity: identity.clone(),
            config_sha256: config_sha256(config),
            config: config.clone(),
        }
    }

    /// Reads that of a checkpoint, all of whose files have to be there.
    ///
    /// # Errors
    /// What is wrong, in words, with the file's path.
    pub fn read(stored: &Stored) -> Result<Self, String> {
        let (bytes, path) = stored.file(NAME).map_err(|error| error.to_string())?;
        let manifest = Self::parse(bytes).map_err(|reason| format!("{}: {reason}", path.display()))?;
        for name in &manifest.files {
            stored.file(name).map_err(|error| error.to_string())?;
        }
        Ok(manifest)
    }

    /// Reads the bytes of a file, and holds its configuration against itself.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let value: serde_json::Value = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        match value.get("format").and_then(serde_json::Value::as_u64) {
            Some(FORMAT) => {}
            found => {
                let found = found.map_or("none".to_owned(), |format| format.to_string());
                return Err(format!("format {found}, this version reads {FORMAT}"));
            }
        }
        let manifest: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        manifest.config.check().map_err(|error| error.to_string())?;
        let expected = config_sha256(&manifest.config);
        match &manifest.config_sha256 {
            found if *found == expected => Ok(manifest),
            found => Err(format!("config_sha256 is {found}, expected {expected}")),
        }
    }

    /// As JSON for people too.
    ///
    /// # Errors
    /// Those of JSON.
    pub fn to_bytes(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec_pretty(self)
    }
}

/// Keys that change nothing of a run's course as long as its loss is finite.
const FREE_KEYS: [&str; 2] = ["log-every", "on-nan"];

/// What is another in `now` than in `then`: keys of the configuration, and the identity's parts but for the adapter, with
/// the value of either.
pub fn differences(then: (&RunConfig, &Identity), now: (&RunConfig, &Identity)) -> Vec<String> {
    let config = |of: &RunConfig| toml::Table::try_from(of).unwrap_or_default();
    let (before, after) = (config(then.0), config(now.0));
    let show = |value: Option<&toml::Value>| value.map_or("not set".to_owned(), ToString::to_string);
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let mut found: Vec<String> = keys
        .into_iter()
        .filter(|key| !FREE_KEYS.contains(&key.as_str()) && before.get(*key) != after.get(*key))
        .map(|key| format!("{key} was {}, is {}", show(before.get(key)), show(after.get(key))))
        .collect();
    let (then, now) = (then.1, now.1);
    let mut differ = |what: &str, then: String, now: String| {
        if then != now {
            found.push(format!("{what} was {then}, is {now}"));
        }
    };
    differ("Jostle's version", then.version.clone(), now.version.clone());
    let samples = |(name, count): &(String, usize)| format!("{name} with {count} samples");
    differ("training data", samples(&then.train), samples(&now.train));
    differ("test data", samples(&then.test), samples(&now.test));
    differ("SHA-256 of the data", then.data_sha256.clone(), now.data_sha256.clone());
    for index in 0..then.parameters.len().max(now.parameters.len()) {
        let show = |of: &Identity| match of.parameters.get(index) {
            Some((name, shape)) => format!("{name} {shape:?}"),
            None => "absent".to_owned(),
        };
        differ(&format!("parameter {index}"), show(then), show(now));
    }
    if then.parameters == now.parameters {
        differ("SHA-256 of the model's graph", then.graph_sha256.clone(), now.graph_sha256.clone());
    }
    found
}
