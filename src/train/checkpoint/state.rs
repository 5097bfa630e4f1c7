//! Between a trainer and the files of a checkpoint.

use crate::{
    gpu::Element,
    kernels::GradientScaling,
    nn::{self, NamedTensor},
    train::{TrainError, Trainer},
};

use super::{CheckpointError, Manifest, Stored};

const WEIGHTS: &str = "weights.safetensors";
const AVERAGE: &str = "weights-average.safetensors";
const STATE: &str = "state.safetensors";

/// The noisy weights of the next step, which within an epoch the last update wrote.
const EFFECTIVE: &str = "weights_eff";

/// The files of a trainer's state; `within` an epoch the noisy weights are part of it.
///
/// # Errors
/// Those of the device, or [`CheckpointError::NotFinite`].
pub fn files(trainer: &Trainer<'_>, within: bool) -> Result<Vec<(&'static str, Vec<u8>)>, TrainError> {
    let (gpu, model, arena) = (trainer.gpu(), &trainer.model, &trainer.arena);
    let mut files = vec![(WEIGHTS, nn::tensors(gpu, model, arena, &arena.weights)?)];
    if let Some(average) = trainer.average() {
        files.push((AVERAGE, nn::tensors(gpu, model, arena, average)?));
    }
    let mut state = Vec::new();
    for (role, buffer) in trainer.optimizer.named_state() {
        for (index, param) in model.graph.params().iter().enumerate() {
            let values = gpu.read(&arena.tensor(buffer, index)?)?;
            state.push(NamedTensor { name: format!("{role}.{}", param.name), shape: param.shape.clone(), values });
        }
    }
    if within {
        let words = arena.layout.words();
        let view = arena.weights_eff.view().read_as(arena.element, words)?;
        state.push(NamedTensor { name: EFFECTIVE.to_owned(), shape: vec![words], values: gpu.read_floats(&view)? });
    }
    files.push((STATE, state));
    let step = trainer.steps_done();
    let broken = |tensor: &&NamedTensor| !tensor.values.iter().all(|value| value.is_finite());
    if let Some(tensor) = files.iter().flat_map(|(_, tensors)| tensors).find(broken) {
        return Err(CheckpointError::NotFinite { step, tensor: tensor.name.clone() }.into());
    }
    files
        .into_iter()
        .map(|(name, tensors)| {
            let format = |error: safetensors::SafeTensorError| CheckpointError::Content {
                path: name.into(),
                reason: error.to_string(),
            };
            Ok((name, nn::tensor_bytes(&tensors, nn::metadata(model)).map_err(format)?))
        })
        .collect()
}

/// Puts a trainer where a checkpoint stands.
///
/// # Errors
/// Those of the device, and [`WeightsError`](crate::nn::WeightsError) for a tensor that is not as the model's.
pub fn restore(trainer: &mut Trainer<'_>, stored: &Stored, manifest: &Manifest) -> Result<(), TrainError> {
    let (gpu, model, arena) = (trainer.gpu(), &trainer.model, &trainer.arena);
    // The average first: its file repeats the running statistics, which are those of the weights' file.
    if let Some(average) = trainer.average() {
        let (bytes, path) = stored.file(AVERAGE)?;
        nn::place(gpu, model, arena, average, nn::parse_tensors(&path, bytes)?, &path)?;
    }
    let (bytes, path) = stored.file(WEIGHTS)?;
    nn::place(gpu, model, arena, &arena.weights, nn::parse_tensors(&path, bytes)?, &path)?;
    let (bytes, path) = stored.file(STATE)?;
    let mut file = nn::TensorFile::new(&path, nn::parse_tensors(&path, bytes)?);
    for (role, buffer) in trainer.optimizer.named_state() {
        for (index, param) in model.graph.params().iter().enumerate() {
            let values = file.take(&format!("{role}.{}", param.name), &param.shape)?.values;
            gpu.write(&arena.tensor(buffer, index)?, &values)?;
        }
    }
    if manifest.position.step_of_epoch > 0 {
        let values = file.take(EFFECTIVE, &[arena.layout.words()])?.values;
        match arena.element {
            Element::Half => {
                let halves: Vec<half::f16> = values.iter().map(|value| half::f16::from_f32(*value)).collect();
                gpu.write(&arena.weights_eff.view(), &halves)?;
            }
            _ => gpu.write(&arena.weights_eff.view(), &values)?,
        }
    }
    gpu.write(&arena.scaling.view(), &[GradientScaling::from(manifest.scaling)])?;
    trainer.set_steps_done(manifest.position.step);
    Ok(())
}
