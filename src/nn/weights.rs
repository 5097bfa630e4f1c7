//! Weights as safetensors with PyTorch's names and layouts.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    path::Path,
};

use safetensors::{Dtype, SafeTensors, View, serialize};

use crate::{
    durable,
    gpu::{Buffer, Gpu, GpuError, View as GpuView},
    input,
    kernels::Arena,
};

use super::{Model, WeightsError, WeightsFormat, safetensors_file};

/// A named f32 tensor on the host.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// PyTorch's name.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub values: Vec<f32>,
}

struct Borrowed<'a>(&'a NamedTensor);

impl View for Borrowed<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        &self.0.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        // safetensors is little-endian, and so are the targets of wgpu's native backends.
        Cow::Borrowed(bytemuck::cast_slice(&self.0.values))
    }

    fn data_len(&self) -> usize {
        size_of_val(self.0.values.as_slice())
    }
}

/// Writes tensors with metadata; the file appears whole or not at all.
///
/// # Errors
/// [`WeightsError::Io`] naming the file.
pub fn write_tensors(
    path: &Path,
    tensors: &[NamedTensor],
    metadata: HashMap<String, String>,
) -> Result<(), WeightsError> {
    let bytes = tensor_bytes(tensors, metadata)
        .map_err(|error| WeightsError::Format { path: path.to_owned(), reason: error.to_string() })?;
    durable::write_file(path, &bytes).map_err(|source| WeightsError::Io { path: path.to_owned(), source })
}

/// A safetensors file of tensors with metadata.
pub(crate) fn tensor_bytes(
    tensors: &[NamedTensor],
    metadata: HashMap<String, String>,
) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let sorted: BTreeMap<String, String> = metadata.clone().into_iter().collect();
    let mut bytes = serialize(tensors.iter().map(|tensor| (tensor.name.as_str(), Borrowed(tensor))), Some(metadata))?;
    safetensors_file::sort_metadata(&mut bytes, &sorted)?;
    Ok(bytes)
}

/// PyTorch's count of the batches that a batch norm has seen, an integer that nothing here needs.
const IGNORED: &str = ".num_batches_tracked";

/// Every tensor of a file, as f32; PyTorch's counters of batches are left out.
///
/// # Errors
/// [`WeightsError::Io`], [`WeightsError::Format`], or [`WeightsError::Tensor`] for another type than f32.
pub fn read_tensors(path: &Path) -> Result<Vec<NamedTensor>, WeightsError> {
    let bytes = input::bytes(path).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
    parse_tensors(path, &bytes)
}

/// The tensors of a file's bytes, as [`read_tensors`] has them; `path` is for messages.
pub(crate) fn parse_tensors(path: &Path, bytes: &[u8]) -> Result<Vec<NamedTensor>, WeightsError> {
    let file =
        safetensors_file::open(bytes).map_err(|reason| WeightsError::Format { path: path.to_owned(), reason })?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.tensors().into_iter().filter(|(name, _)| !name.ends_with(IGNORED)) {
        if view.dtype() != Dtype::F32 {
            return Err(WeightsError::Tensor {
                path: path.to_owned(),
                name,
                expected: "F32".to_owned(),
                found: format!("{:?}", view.dtype()),
            });
        }
        let values = view.data().chunks_exact(4).map(bytemuck::pod_read_unaligned).collect();
        tensors.push(NamedTensor { name, shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

/// What a file's bytes say of it beside its tensors; `path` is for messages.
///
/// # Errors
/// As [`read_tensors`].
pub(crate) fn parse_metadata(path: &Path, bytes: &[u8]) -> Result<HashMap<String, String>, WeightsError> {
    let format = |reason: String| WeightsError::Format { path: path.to_owned(), reason };
    safetensors_file::open(bytes).map_err(format)?;
    let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| format(error.to_string()))?;
    Ok(metadata.metadata().clone().unwrap_or_default())
}

/// Name, shape and place of every tensor of a model's state: its parameters in `buffer`, then its running statistics.
fn state<'m>(
    model: &'m Model,
    arena: &'m Arena,
    buffer: &'m Buffer,
) -> impl Iterator<Item = Result<(&'m str, Vec<usize>, GpuView), GpuError>> {
    let params = model.graph.params().iter().enumerate();
    let params =
        params.map(|(index, param)| Ok((param.name.as_str(), param.shape.clone(), arena.tensor(buffer, index)?)));
    let stats = model.graph.stats().iter().enumerate();
    params.chain(stats.map(|(index, stat)| Ok((stat.name.as_str(), vec![stat.channels], arena.stat(index)?))))
}

/// Writes the parameters in one of an arena's buffers, and the running statistics, under the model's names.
///
/// # Errors
/// [`WeightsError::Io`], or [`WeightsError::Gpu`] where reading back fails.
pub fn save(gpu: &Gpu, model: &Model, arena: &Arena, buffer: &Buffer, path: &Path) -> Result<(), WeightsError> {
    write_tensors(path, &tensors(gpu, model, arena, buffer)?, metadata(model))
}

/// The parameters in one of an arena's buffers, and the running statistics, under the model's names.
///
/// # Errors
/// [`WeightsError::Gpu`] where reading back fails.
pub(crate) fn tensors(
    gpu: &Gpu,
    model: &Model,
    arena: &Arena,
    buffer: &Buffer,
) -> Result<Vec<NamedTensor>, WeightsError> {
    let mut tensors = Vec::new();
    for tensor in state(model, arena, buffer) {
        let (name, shape, view) = tensor?;
        tensors.push(NamedTensor { name: name.to_owned(), shape, values: gpu.read(&view)? });
    }
    Ok(tensors)
}

pub(crate) fn metadata(model: &Model) -> HashMap<String, String> {
    HashMap::from([("model".to_owned(), model.description.clone())])
}

/// Reads the clean weights and the running statistics of a model; every tensor must be there, in shape, and no other.
///
/// # Errors
/// [`WeightsError`] naming file and tensor.
pub fn load(gpu: &Gpu, model: &Model, arena: &Arena, path: &Path) -> Result<(), WeightsError> {
    load_as(gpu, model, arena, path, WeightsFormat::Jostle)
}

/// As [`load`], of a file with another program's names and layouts.
///
/// # Errors
/// As [`load`].
pub fn load_as(
    gpu: &Gpu,
    model: &Model,
    arena: &Arena,
    path: &Path,
    format: WeightsFormat,
) -> Result<(), WeightsError> {
    // All of the file is checked against the model before any of it is written.
    let tensors = format.read(path, model, read_tensors(path)?)?;
    write(gpu, model, arena, &arena.weights, &tensors)
}

/// Writes tensors, those of the file at `path`, to the parameters in one of an arena's buffers and to the running statistics, as
/// [`load`] does.
///
/// # Errors
/// As [`load`].
pub fn place(
    gpu: &Gpu,
    model: &Model,
    arena: &Arena,
    buffer: &Buffer,
    tensors: Vec<NamedTensor>,
    path: &Path,
) -> Result<(), WeightsError> {
    let tensors = WeightsFormat::Jostle.read(path, model, tensors)?;
    write(gpu, model, arena, buffer, &tensors)
}

/// Tensors in the model's order.
fn write(
    gpu: &Gpu,
    model: &Model,
    arena: &Arena,
    buffer: &Buffer,
    tensors: &[NamedTensor],
) -> Result<(), WeightsError> {
    for (tensor, place) in tensors.iter().zip(state(model, arena, buffer)) {
        let (_, _, view) = place?;
        gpu.write(&view, &tensor.values)?;
    }
    Ok(())
}

/// The tensors of a file, to be taken out one by one.
pub(crate) struct TensorFile<'a> {
    path: &'a Path,
    left: HashMap<String, NamedTensor>,
    /// The names in the file.
    present: String,
}

impl<'a> TensorFile<'a> {
    /// `path` is for messages.
    pub(crate) fn new(path: &'a Path, tensors: Vec<NamedTensor>) -> Self {
        let left: HashMap<String, NamedTensor> =
            tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let present = listed(&left.keys().collect::<Vec<_>>());
        Self { path, left, present }
    }

    /// Whether there is a tensor of this name, not taken yet.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.left.contains_key(name)
    }

    /// The tensor of this name, which has to have this shape.
    ///
    /// # Errors
    /// [`WeightsError::Missing`] or [`WeightsError::Tensor`].
    pub(crate) fn take(&mut self, name: &str, shape: &[usize]) -> Result<NamedTensor, WeightsError> {
        let (path, name) = (self.path.to_owned(), name.to_owned());
        match self.left.remove(&name) {
            Some(tensor) if tensor.shape == shape => Ok(tensor),
            Some(tensor) => {
                let (expected, found) = (format!("{shape:?}"), format!("{:?}", tensor.shape));
                Err(WeightsError::Tensor { path, name, expected, found })
            }
            None => Err(WeightsError::Missing { path, name, present: self.present.clone() }),
        }
    }

    /// # Errors
    /// [`WeightsError::Unexpected`] if a tensor is left.
    pub(crate) fn finish(self) -> Result<(), WeightsError> {
        match self.left.into_keys().min() {
            Some(name) => Err(WeightsError::Unexpected { path: self.path.to_owned(), name }),
            None => Ok(()),
        }
    }
}

/// Some of a file's names, in order and escaped: a file may have any number, of any characters.
pub(crate) fn listed(names: &[impl AsRef<str>]) -> String {
    const SHOWN: usize = 20;
    let mut names: Vec<&str> = names.iter().map(AsRef::as_ref).collect();
    names.sort_unstable();
    let mut shown: Vec<String> = names.iter().take(SHOWN).map(|name| name.escape_debug().to_string()).collect();
    if names.len() > SHOWN {
        shown.push(format!("and {} more", names.len() - SHOWN));
    }
    shown.join(", ")
}
