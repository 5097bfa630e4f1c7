//! The networks of the experiments on the width, and the weights that they begin with.

use serde::{Deserialize, Serialize};

use crate::{
    data::Dataset,
    gpu::Gpu,
    graph::{Param, ParamRole},
    kernels::{Activation, AdapterClass, Arena, NoiseUnit, Perturb},
    nn::Model,
    noise::{Distribution, Mode, NoiseConfig, Scheme},
    schedule::Moment,
};

use super::ExperimentError;

/// A family of networks over widths.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Net {
    /// For claims and figures.
    pub(super) label: String,
    /// Hidden layers.
    pub(super) hidden: usize,
    /// Between the layers.
    pub(super) activation: String,
    /// Widths of the hidden layers, in order.
    #[serde(default)]
    pub(super) widths: Vec<usize>,
}

impl Net {
    /// The model at a width.
    ///
    /// # Errors
    /// Those of the model.
    pub(super) fn model(&self, data: &Dataset, width: usize) -> Result<Model, ExperimentError> {
        let activation: Activation = self.activation.parse().map_err(|reason| ExperimentError::Settings {
            experiment: "width".to_owned(),
            reason: format!("activation of {}: {reason}", self.label),
        })?;
        let hidden = std::iter::repeat_n(width, self.hidden);
        let widths: Vec<usize> = [data.features()].into_iter().chain(hidden).chain([data.targets.outputs()]).collect();
        Ok(Model::mlp(&widths, activation).map_err(crate::train::TrainError::from)?)
    }
}

/// Weights N(0, 1/m), those of hidden layers with ReLU N(0, 2/m), m the width; biases 0.
pub(super) fn initialise(
    gpu: &Gpu,
    model: &Model,
    arena: &Arena,
    width: usize,
    seed: u64,
) -> Result<(), ExperimentError> {
    let layout = &arena.layout;
    let scaled = arena.with_noise_scales(gpu, &standard_deviations(model, width))?;
    let unit = NoiseConfig { mode: Mode::Model, sigma: 1.0, ..NoiseConfig::default() };
    // Another seed than the noise's, or the first step's noise would be the weights once more.
    let draw = Scheme::new(unit, layout, &model.noise_tensors(), !seed).at(0, Moment::START);
    let mut recorder = gpu.record();
    recorder.clear(&arena.weights.view());
    let perturb =
        Perturb::new(gpu, AdapterClass::for_device(gpu), &scaled, Distribution::Gaussian.code(), NoiseUnit::Absolute)?;
    perturb.record(gpu, &mut recorder, &draw.ranges, &draw.edges, draw.values)?;
    recorder.copy(&arena.weights_eff.view(), &arena.weights.view());
    Ok(recorder.submit()?)
}

/// Of the initial weights of each tensor. Hidden layers are those between the first and the last, whatever their shapes:
/// where the data have as many features as the network is wide, the first layer has the shape of a hidden one.
fn standard_deviations(model: &Model, width: usize) -> Vec<f32> {
    let params = model.graph.params();
    let is_weight = |param: &Param| param.role == ParamRole::Weight;
    let (first, last) = (params.iter().position(is_weight), params.iter().rposition(is_weight));
    let relu = !model.description.ends_with(":identity");
    let deviation = |(at, param): (usize, &Param)| match param.role {
        ParamRole::Bias | ParamRole::Scale => 0.0,
        ParamRole::Weight if relu && Some(at) > first && Some(at) < last => (2.0 / width as f32).sqrt(),
        ParamRole::Weight => (1.0 / width as f32).sqrt(),
    };
    params.iter().enumerate().map(deviation).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use super::*;

    /// Digits have 64 features, so that at width 64 the first layer's shape is that of a hidden one.
    #[test]
    fn the_first_layer_is_no_hidden_one_at_any_width() {
        for (sizes, width) in [([64, 64, 64, 10], 64.0_f32), ([64, 32, 32, 10], 32.0)] {
            let relu = Model::mlp(&sizes, Activation::Relu).unwrap();
            let plain = 1.0 / width.sqrt();
            let expected = [plain, 0.0, (2.0 / width).sqrt(), 0.0, plain, 0.0];
            assert_eq!(standard_deviations(&relu, sizes[1]), expected);
            let linear = Model::mlp(&sizes, Activation::Identity).unwrap();
            assert_eq!(standard_deviations(&linear, sizes[1]), [plain, 0.0, plain, 0.0, plain, 0.0]);
        }
    }
}
