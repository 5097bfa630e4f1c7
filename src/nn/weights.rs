//! Weights as safetensors with PyTorch's names and layouts.

use std::{borrow::Cow, collections::HashMap, fs, io::Write, path::Path};

use safetensors::{Dtype, SafeTensors, View, serialize};

use crate::{
    gpu::{Buffer, Gpu},
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
    let views = tensors.iter().map(|tensor| (tensor.name.as_str(), Borrowed(tensor)));
    let bytes = serialize(views, Some(metadata))
        .map_err(|error| WeightsError::Format { path: path.to_owned(), reason: error.to_string() })?;
    replace(path, &bytes).map_err(|source| WeightsError::Io { path: path.to_owned(), source })
}

/// Writes beside the target and renames, so that a crash leaves the old file.
fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    let part = Path::new(&name);
    let mut file = fs::File::create(part)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, path)
}

/// Every tensor of a file, as f32.
///
/// # Errors
/// [`WeightsError::Io`], [`WeightsError::Format`], or [`WeightsError::Tensor`] for another type than f32.
pub fn read_tensors(path: &Path) -> Result<Vec<NamedTensor>, WeightsError> {
    let bytes = fs::read(path).map_err(|source| WeightsError::Io { path: path.to_owned(), source })?;
    let file = SafeTensors::deserialize(&bytes)
        .map_err(|error| WeightsError::Format { path: path.to_owned(), reason: error.to_string() })?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.tensors() {
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

/// Writes an arena's tensors under the model's names.
///
/// # Errors
/// [`WeightsError::Io`], or [`WeightsError::Gpu`] where reading back fails.
pub fn save(gpu: &Gpu, model: &Model, arena: &Arena, buffer: &Buffer, path: &Path) -> Result<(), WeightsError> {
    let mut tensors = Vec::new();
    for (tensor, param) in model.graph.params().iter().enumerate() {
        let values = gpu.read(&arena.tensor(buffer, tensor)?)?;
        tensors.push(NamedTensor { name: param.name.clone(), shape: param.shape.clone(), values });
    }
    let metadata = HashMap::from([("model".to_owned(), model.description.clone())]);
    write_tensors(path, &tensors, metadata)
}

/// Reads the clean weights of a model; every tensor must be there, in shape, and no other.
///
/// # Errors
/// [`WeightsError`] naming file and tensor.
pub fn load(gpu: &Gpu, model: &Model, arena: &Arena, path: &Path) -> Result<(), WeightsError> {
    let found = read_tensors(path)?;
    let path = path.to_owned();
    for (index, param) in model.graph.params().iter().enumerate() {
        let Some(tensor) = found.iter().find(|tensor| tensor.name == param.name) else {
            let present = found.iter().map(|tensor| tensor.name.as_str()).collect::<Vec<_>>().join(", ");
            return Err(WeightsError::Missing { path, name: param.name.clone(), present });
        };
        if tensor.shape != param.shape {
            return Err(WeightsError::Tensor {
                path,
                name: param.name.clone(),
                expected: format!("{:?}", param.shape),
                found: format!("{:?}", tensor.shape),
            });
        }
        gpu.write(&arena.tensor(&arena.weights, index)?, &tensor.values)?;
    }
    let params = model.graph.params();
    match found.into_iter().find(|tensor| params.iter().all(|param| param.name != tensor.name)) {
        Some(tensor) => Err(WeightsError::Unexpected { path, name: tensor.name }),
        None => Ok(()),
    }
}
