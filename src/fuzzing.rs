//! Every reader of files from anywhere, on bytes from memory: what the fuzz targets call, and `tests/untrusted_files/` with
//! their corpora. A refusal is `Err` with its message; a panic is a bug.

use std::{error::Error, path::Path};

use crate::{
    data::{DataSource, Vocabulary, untrusted},
    experiments::simple::{self, FileKind},
    gpu::Element,
    graph::ValueShape,
    kernels::Target,
    nn::{Model, Signature, WeightsFormat, parse_model, parse_tensors},
    optim::OptimizerKind,
    train::{Footprint, Manifest, MetricsFile, Options, RunConfig, parse_sums},
};

/// Takes a file's bytes as one of the readers does.
pub type Entry = fn(&[u8]) -> Result<(), String>;

/// The readers by the names of their fuzz targets.
pub const ENTRIES: [(&str, Entry); 10] = [
    ("checkpoint", checkpoint),
    ("idx", idx),
    ("cifar", cifar),
    ("image", image),
    ("weights", weights),
    ("model", model),
    ("config", config),
    ("problem", problem),
    ("text", text_file),
    ("tokens", tokens),
];

/// The file that messages name.
const PATH: &str = "untrusted file";

fn path() -> &'static Path {
    Path::new(PATH)
}

/// The message of an error, which has to name the file.
fn refusal(error: &dyn Error) -> String {
    let message = error.to_string();
    assert!(message.contains(PATH), "the message names no file: {message}");
    message
}

/// Whether any of several readings is not refused, else the refusals of all, a line each.
fn any<const N: usize>(readings: [Result<(), String>; N]) -> Result<(), String> {
    let refusals: Vec<&str> =
        readings.iter().filter_map(|reading| reading.as_ref().err().map(String::as_str)).collect();
    if refusals.len() < N { Ok(()) } else { Err(refusals.join("\n")) }
}

/// An IDX file, plain or gzip, of images or labels.
///
/// # Errors
/// The reader's message.
pub fn idx(bytes: &[u8]) -> Result<(), String> {
    let product = |dimensions: &[u32]| dimensions.iter().map(|side| *side as usize).product::<usize>();
    let images = untrusted::idx_images(path(), bytes);
    let labels = untrusted::idx_labels(path(), bytes);
    any([
        images.map(|(sides, pixels)| assert_eq!(product(&sides), pixels.len())).map_err(|error| refusal(&error)),
        labels.map(|(sides, labels)| assert_eq!(product(&sides), labels.len())).map_err(|error| refusal(&error)),
    ])
}

/// A binary file of CIFAR-10 or CIFAR-100, plain or gzip.
///
/// # Errors
/// The reader's message.
pub fn cifar(bytes: &[u8]) -> Result<(), String> {
    any([(false, 10), (true, 100)].map(|(fine, classes)| {
        let (pixels, labels) = untrusted::cifar(path(), bytes, fine).map_err(|error| refusal(&error))?;
        assert_eq!(pixels.len(), labels.len() * 3 * 32 * 32);
        assert!(labels.iter().all(|label| *label < classes));
        Ok(())
    }))
}

/// An image of a folder, in its own size and resized.
///
/// # Errors
/// The reader's message.
pub fn image(bytes: &[u8]) -> Result<(), String> {
    any([None, Some([8, 8])].map(|size| {
        let ([height, width], len) = untrusted::image(path(), bytes, size).map_err(|error| refusal(&error))?;
        assert!(len == height * width || len == 3 * height * width);
        assert!(size.is_none_or(|size| size == [height, width]));
        Ok(())
    }))
}

/// Weights of a small model.
///
/// # Errors
/// The reader's message, or that the tensors are not the model's.
pub fn weights(bytes: &[u8]) -> Result<(), String> {
    let tensors = parse_tensors(path(), bytes).map_err(|error| refusal(&error))?;
    for tensor in &tensors {
        assert_eq!(tensor.shape.iter().product::<usize>(), tensor.values.len());
    }
    let model = "mlp:2-2-1".parse::<Model>().map_err(|error| error.to_string())?;
    let matched = WeightsFormat::Jostle.read(path(), &model, tensors).map_err(|error| refusal(&error))?;
    assert_eq!(matched.len(), model.graph.params().len());
    Ok(())
}

/// A model's file, for images and for rows of features, and the plan of a run.
///
/// # Errors
/// The reader's message, or that there is no plan.
pub fn model(bytes: &[u8]) -> Result<(), String> {
    let text = text(bytes)?;
    let inputs = [
        ValueShape::Image { channels: 3, height: 32, width: 32 },
        ValueShape::Features(64),
        ValueShape::Sequence { length: 6, features: 5 },
        ValueShape::Tokens { length: 7, vocabulary: 11 },
    ];
    any(inputs.map(|input| {
        let model = parse_model(path(), text, &Signature { input, classes: 10 }).map_err(|error| refusal(&error))?;
        planned(&model)
    }))
}

/// What comes before any device: the bytes of a run.
fn planned(model: &Model) -> Result<(), String> {
    const BATCH: usize = 128;
    let footprint = Footprint::new(model, BATCH, OptimizerKind::Adam, Element::Word, &Target::GENERIC);
    let (footprint, _) = footprint.map_err(|error| error.to_string())?;
    assert!(footprint.total_bytes >= model.graph.layout().parameters() as u64 * 4);
    Ok(())
}

/// A run's configuration, and what follows from it without a device or another file.
///
/// # Errors
/// The reader's message.
pub fn config(bytes: &[u8]) -> Result<(), String> {
    let text = text(bytes)?;
    let config = RunConfig::resolve_text((path(), text), &Options::default()).map_err(|error| error.to_string())?;
    let (rate, length) = (config.learning_rate(), config.length(1));
    for step in [0, length.steps] {
        let when = length.moment(step);
        let _ = (rate.at(when), config.noise_config().sigma_at(when));
    }
    let _ = (config.augmentation(), config.optimizer_config());
    config.data.parse::<DataSource>().map_err(|error| error.to_string())?;
    // A model of another file is that file's reader's.
    if config.model.ends_with(".toml") {
        return Ok(());
    }
    planned(&config.model.parse::<Model>().map_err(|error| error.to_string())?)
}

/// A text, plain or gzip, as characters; what is one is one of bytes too.
///
/// # Errors
/// The reader's message.
pub fn text_file(bytes: &[u8]) -> Result<(), String> {
    let read = |as_bytes| {
        let (tokens, size) = untrusted::text(path(), bytes, as_bytes).map_err(|error| refusal(&error))?;
        assert!(!tokens.is_empty() && tokens.iter().all(|token| (*token as usize) < size));
        Ok(tokens.len())
    };
    let (characters, all): (Result<usize, String>, Result<usize, String>) = (read(false), read(true));
    let characters = characters?;
    assert!(all.is_ok_and(|all| characters <= all), "characters of what are no bytes");
    Ok(())
}

/// A file of tokens, of any vocabulary and of one of 50,304.
///
/// # Errors
/// The reader's message.
pub fn tokens(bytes: &[u8]) -> Result<(), String> {
    any([None, Some(50_304)].map(|vocabulary| {
        let (tokens, size) = untrusted::tokens(path(), bytes, vocabulary).map_err(|error| refusal(&error))?;
        assert!(tokens.len() == bytes.len() / 2 && tokens.iter().all(|token| (*token as usize) < size));
        Ok(())
    }))
}

/// What a run's vocabulary says of itself.
fn vocabulary(bytes: &[u8]) -> Result<(), String> {
    let vocabulary = Vocabulary::parse(bytes)?;
    let first = String::from_utf8(vocabulary.decode(0)).map_err(|error| error.to_string())?;
    assert_eq!(vocabulary.encode(&first), Ok(vec![0]));
    Ok(())
}

/// What goes with the tensors of a checkpoint: its manifest, its checksums, the metrics and the vocabulary of its run.
///
/// # Errors
/// The reader's message.
pub fn checkpoint(bytes: &[u8]) -> Result<(), String> {
    let metrics = || MetricsFile::parse(std::str::from_utf8(bytes).map_err(|error| error.to_string())?);
    any([Manifest::parse(bytes).map(|_| ()), parse_sums(bytes).map(|_| ()), metrics().map(|_| ()), vocabulary(bytes)])
}

/// A problem of an experiment, as each of the three kinds.
///
/// # Errors
/// The reader's message.
pub fn problem(bytes: &[u8]) -> Result<(), String> {
    any([FileKind::Sparse, FileKind::Grouped, FileKind::LowRank].map(|kind| {
        let read = simple::parse(path(), bytes, kind).map_err(|error| refusal(&error))?;
        assert_eq!(read.problem.x.nrows(), read.problem.y.len());
        assert_eq!(read.problem.x.ncols(), read.model.coefficients());
        Ok(())
    }))
}

fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|error| error.to_string())
}
