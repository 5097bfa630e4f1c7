//! Weights as safetensors with PyTorch's names and layouts.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    fs,
    path::Path,
};

use safetensors::{Dtype, SafeTensors, View, serialize};

use crate::{
    durable,
    gpu::{Buffer, Gpu, GpuError, View as GpuView},
    kernels::Arena,
};

use super::{Model, WeightsError};

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
    serialize(tensors.iter().map(|tensor| (tensor.name.as_str(), Borrowed(tensor))), Some(metadata))
}

/// PyTorch's count of the batches that a batch norm has seen, an integer that nothing here needs.
const IGNORED: &str = ".num_batches_tracked";

/// Every tensor of a file, as f32; PyTorch's counters of batches are left out.
///
/// # Errors
/// [`WeightsError::Io`], [`WeightsError::Format`], or [`WeightsError::Tensor`] for another type than f32.
pub fn read_tensors(path: &Path) -> Result<Vec<NamedTensor>, WeightsError> {
    let bytes = fs::read(path).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
    parse_tensors(&bytes, path)
}

/// As [`read_tensors`], of the bytes of the file at `path`.
pub(crate) fn parse_tensors(bytes: &[u8], path: &Path) -> Result<Vec<NamedTensor>, WeightsError> {
    let file = SafeTensors::deserialize(bytes)
        .map_err(|error| WeightsError::Format { path: path.to_owned(), reason: error.to_string() })?;
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
    let tensors = read_tensors(path)?;
    place(gpu, model, arena, &arena.weights, tensors, path)
}

/// Writes tensors of the file at `path` to where [`tensors`] reads them.
pub(crate) fn place(
    gpu: &Gpu,
    model: &Model,
    arena: &Arena,
    buffer: &Buffer,
    tensors: Vec<NamedTensor>,
    path: &Path,
) -> Result<(), WeightsError> {
    let found: HashMap<String, NamedTensor> = tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
    let path = path.to_owned();
    let mut expected = HashSet::new();
    for tensor in state(model, arena, buffer) {
        let (name, shape, view) = tensor?;
        let Some(tensor) = found.get(name) else {
            let mut present: Vec<&str> = found.keys().map(String::as_str).collect();
            present.sort_unstable();
            return Err(WeightsError::Missing { path, name: name.to_owned(), present: present.join(", ") });
        };
        if tensor.shape != shape {
            let (expected, found) = (format!("{shape:?}"), format!("{:?}", tensor.shape));
            return Err(WeightsError::Tensor { path, name: name.to_owned(), expected, found });
        }
        gpu.write(&view, &tensor.values)?;
        expected.insert(name);
    }
    match found.keys().filter(|name| !expected.contains(name.as_str())).min() {
        Some(name) => Err(WeightsError::Unexpected { path, name: name.clone() }),
        None => Ok(()),
    }
}
