//! Between a trainer and the files of a checkpoint.

use crate::{
    gpu::Element,
    nn::{self, NamedTensor, TensorFile},
    noise::Point,
    optim::Optimizer,
    rules::Effective,
    train::{TrainError, Trainer},
};

use super::{CheckpointError, Manifest, Stored};

/// The weights, under the names of PyTorch.
pub const WEIGHTS: &str = "weights.safetensors";
const AVERAGE: &str = "weights-average.safetensors";
const STATE: &str = "state.safetensors";
/// What a rule keeps of weights that the run went through.
const MOMENTS: &str = "moments.safetensors";

/// The noisy weights of the next step, as the last update wrote them. They can be made anew, but for the rounding of some
/// adapters, so they are there where nothing has overwritten them since.
const EFFECTIVE: &str = "weights_eff";

/// What is kept of the past gradients of filters, in a rule whose noise goes by them.
const HISTORY: &str = "filter_history";

/// The files of a trainer's state; the noisy weights that the next step begins at are part of it where they are there.
///
/// # Errors
/// Those of the device, or [`CheckpointError::NotFinite`].
pub fn files(trainer: &Trainer<'_>) -> Result<Vec<(&'static str, Vec<u8>)>, TrainError> {
    let (gpu, model, arena) = (trainer.gpu(), &trainer.model, &trainer.arena);
    let mut files = vec![(WEIGHTS, nn::tensors(gpu, model, arena, &arena.weights)?)];
    if let Some(average) = trainer.average() {
        files.push((AVERAGE, nn::tensors(gpu, model, arena, average)?));
    }
    let mut state = Vec::new();
    for (role, buffer) in trainer.machine.optimizer().into_iter().flat_map(Optimizer::named_state) {
        for (index, param) in model.graph.params().iter().enumerate() {
            let values = gpu.read(&arena.tensor(buffer, index)?)?;
            state.push(NamedTensor { name: format!("{role}.{}", param.name), shape: param.shape.clone(), values });
        }
    }
    if let Some(history) = trainer.machine.history() {
        let shape = vec![history.len()];
        state.push(NamedTensor { name: HISTORY.to_owned(), shape, values: gpu.read(&history.view())? });
    }
    let step = trainer.steps_done();
    let broken = |tensor: &&NamedTensor| !tensor.values.iter().all(|value| value.is_finite());
    if let Some(tensor) = files.iter().flat_map(|(_, tensors)| tensors).chain(&state).find(broken) {
        return Err(CheckpointError::NotFinite { step, tensor: tensor.name.clone() }.into());
    }
    // Noise may take weights past what is finite, while they themselves are: the next step shows what comes of it.
    let next = trainer.machine.start(step);
    if next != Point::Clean && trainer.machine.holds(&next) {
        let words = arena.layout.words();
        let view = arena.weights_eff.view().read_as(arena.element, words)?;
        state.push(NamedTensor { name: EFFECTIVE.to_owned(), shape: vec![words], values: gpu.read_floats(&view)? });
    }
    files.push((STATE, state));
    let own = files.into_iter().map(|(name, tensors)| (name, tensors, nn::metadata(model)));
    let moments = trainer.moments().map(|(tensors, metadata)| (MOMENTS, tensors, metadata));
    own.chain(moments)
        .map(|(name, tensors, metadata)| {
            let format = |error: safetensors::SafeTensorError| CheckpointError::Content {
                path: name.into(),
                reason: error.to_string(),
            };
            Ok((name, nn::tensor_bytes(&tensors, metadata).map_err(format)?))
        })
        .collect()
}

/// Puts a trainer where a checkpoint stands; `next` is where the next step begins if that is as in the run that wrote it.
///
/// # Errors
/// Those of the device, and [`WeightsError`](crate::nn::WeightsError) for a tensor that is not as the model's.
pub fn restore(
    trainer: &mut Trainer<'_>,
    stored: &Stored,
    manifest: &Manifest,
    next: Option<Point>,
) -> Result<(), TrainError> {
    let (gpu, model, arena) = (trainer.gpu(), &trainer.model, &trainer.arena);
    // The average first: its file repeats the running statistics, which are those of the weights' file.
    if let Some(average) = trainer.average() {
        let (bytes, path) = stored.file(AVERAGE)?;
        nn::place(gpu, model, arena, average, nn::parse_tensors(&path, bytes)?, &path)?;
    }
    let (bytes, path) = stored.file(WEIGHTS)?;
    nn::place(gpu, model, arena, &arena.weights, nn::parse_tensors(&path, bytes)?, &path)?;
    let (bytes, path) = stored.file(STATE)?;
    let mut file = TensorFile::new(&path, nn::parse_tensors(&path, bytes)?);
    for (role, buffer) in trainer.machine.optimizer().into_iter().flat_map(Optimizer::named_state) {
        for (index, param) in model.graph.params().iter().enumerate() {
            let values = file.take(&format!("{role}.{}", param.name), &param.shape)?.values;
            gpu.write(&arena.tensor(buffer, index)?, &values)?;
        }
    }
    if let Some(history) = trainer.machine.history() {
        gpu.write(&history.view(), &file.take(HISTORY, &[history.len()])?.values)?;
    }
    let mut effective = Effective::Other;
    if let Some(next) = next.filter(|_| file.has(EFFECTIVE)) {
        let values = file.take(EFFECTIVE, &[arena.layout.words()])?.values;
        match arena.element {
            Element::Half => {
                let halves: Vec<half::f16> = values.iter().map(|value| half::f16::from_f32(*value)).collect();
                gpu.write(&arena.weights_eff.view(), &halves)?;
            }
            _ => gpu.write(&arena.weights_eff.view(), &values)?,
        }
        effective = trainer.machine.led(next);
    }
    // There are none before the rule begins to keep some.
    if manifest.files.iter().any(|name| name == MOMENTS) {
        let (bytes, path) = stored.file(MOMENTS)?;
        trainer.restore_moments(bytes, &path)?;
    }
    let (gpu, arena) = (trainer.gpu(), &trainer.arena);
    let step = manifest.position.step;
    gpu.write(&arena.scaling.view(), &[manifest.scaling])?;
    trainer.set_steps_done(step, effective);
    Ok(())
}
