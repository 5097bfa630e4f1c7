//! `evaluate`, `hessian` and `noise`: what is measured of a network at given weights.

use std::path::PathBuf;

use jostle::{
    data::{DataSource, Dataset},
    experiments::spectrum_figure,
    gpu::Gpu,
    kernels::Arena,
    nn::{self, Model, NamedTensor},
    train::{
        CurvatureOptions, Network, NoiseOfStep, Prepared, RunConfig, Scored, TrainError, check_noise_of_step,
        model_for, noise_of_step,
    },
};
use numpy::PyArrayDyn;
use pyo3::{prelude::*, types::PyDict};
use serde_json::json;

use crate::{
    arrays::{Arrays, Own, Weights, to_array, to_arrays, to_tensors},
    failure::Failure,
    settings::Settings,
    training::adapter,
};

/// What weights in memory are called in messages.
const WEIGHTS: &str = "weights";

/// Where weights come from.
enum Source {
    File(PathBuf),
    Memory(Vec<NamedTensor>),
}

impl Source {
    fn new(file: Option<PathBuf>, arrays: Option<Weights<'_>>) -> Option<Self> {
        file.map(Self::File).or_else(|| Some(Self::Memory(to_tensors(arrays?))))
    }

    fn place(&self, network: &Network<'_>) -> Result<(), TrainError> {
        match self {
            Self::File(path) => network.load(path),
            Self::Memory(tensors) => network.place(tensors.clone(), WEIGHTS),
        }
    }
}

/// The test part, which is arrays that are to be scored whole, beside the training data of the run.
const GIVEN: &str = "given";

/// Likewise, without any other data: the training part is the same arrays.
const ALONE: &str = "alone";

/// The configuration by which arrays are scored whole: what it says of taking parts was meant for other data.
fn scored_whole(config: RunConfig, part: &str) -> RunConfig {
    match part {
        GIVEN => RunConfig { test_subset: None, ..config },
        ALONE => RunConfig { subset: None, test_subset: None, validation: None, label_noise: 0.0, ..config },
        _ => config,
    }
}

/// A part of the data, by its name.
fn part(prepared: Prepared, name: &str) -> Result<Dataset, Failure> {
    match name {
        "test" | GIVEN | ALONE => Ok(prepared.split.test),
        "train" => Ok(prepared.split.train),
        "validation" => {
            let none = || Failure::config("part: the configuration has no validation part");
            prepared.validation.ok_or_else(none)
        }
        _ => Err(Failure::config(format!("part: expected test, train or validation, found {name:?}"))),
    }
}

fn missing() -> Failure {
    Failure::config("weights: expected a file or arrays by name, found none")
}

/// Scores weights on a part of the data; with `outputs`, those too, in the data's order.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "Python's keywords, one for one")]
pub fn evaluate<'py>(
    py: Python<'py>,
    settings: Settings,
    file: Option<PathBuf>,
    weights: Option<Weights<'py>>,
    data: Option<Arrays<'py>>,
    part_name: String,
    outputs: bool,
    choice: Option<String>,
) -> PyResult<(String, Option<Bound<'py, PyArrayDyn<f32>>>)> {
    let own = Own::new(data.as_ref())?;
    let source = Source::new(file, weights).ok_or_else(missing)?;
    let score = || -> Result<_, Failure> {
        let config = scored_whole(own.named(settings.resolve()?), &part_name);
        let prepared = own.prepare(&config)?;
        let gpu = Gpu::with_caches(&adapter(choice.as_deref()))?;
        let network = Network::new(&gpu, &config, &prepared)?;
        source.place(&network)?;
        let data = part(prepared, &part_name)?;
        let samples = data.len();
        let evaluator = network.evaluator(data)?;
        let (scored, values) = match outputs {
            true => {
                let (evaluation, values) = evaluator.outputs(&gpu)?;
                (Scored { evaluation, quality: evaluator.quality(&values) }, Some(values))
            }
            false => (evaluator.score(&gpu)?, None),
        };
        let said = json!({ "part": part_name, "samples": samples, "scored": scored });
        Ok((said.to_string(), values.map(|values| (network.model().outputs_shape(samples), values))))
    };
    let (said, values) = py.detach(score)?;
    Ok((said, values.map(|(shape, values)| to_array(py, values, &shape)).transpose()?))
}

/// How curvature is measured.
#[derive(Debug, FromPyObject)]
pub struct Probing {
    #[pyo3(item)]
    probes: u32,
    #[pyo3(item)]
    probe_seed: Option<u64>,
    #[pyo3(item)]
    tolerance: f64,
    #[pyo3(item)]
    top: usize,
    #[pyo3(item)]
    lanczos_steps: usize,
    #[pyo3(item)]
    starts: u32,
}

/// Curvature at weights: JSON, and the figure of the density where there is one.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "Python's keywords, one for one")]
pub fn hessian(
    py: Python<'_>,
    settings: Settings,
    file: Option<PathBuf>,
    weights: Option<Weights<'_>>,
    data: Option<Arrays<'_>>,
    part_name: String,
    probing: Probing,
    choice: Option<String>,
) -> PyResult<(String, Option<String>)> {
    let own = Own::new(data.as_ref())?;
    let source = Source::new(file, weights).ok_or_else(missing)?;
    let measure = || -> Result<_, Failure> {
        let config = own.named(settings.resolve()?);
        let prepared = own.prepare(&config)?;
        let gpu = Gpu::with_caches(&adapter(choice.as_deref()))?;
        let network = Network::new(&gpu, &config, &prepared)?;
        source.place(&network)?;
        let options = CurvatureOptions {
            probes: probing.probes.max(1),
            seed: probing.probe_seed.unwrap_or(jostle::analysis::TraceOptions::default().seed),
            tolerance: probing.tolerance,
            lanczos_steps: probing.lanczos_steps,
            starts: probing.starts.max(1),
            top: probing.top,
        };
        let report = network.curvature(part(prepared, &part_name)?, options)?;
        let figure = report.spectrum.as_ref().map(|spectrum| spectrum_figure(&config.model, spectrum).to_svg());
        let density = report.spectrum.as_ref().map(|spectrum| spectrum.density(400));
        let said = json!({ "report": report, "density": density });
        Ok((said.to_string(), figure.transpose()?))
    };
    Ok(py.detach(measure)?)
}

/// The noise of a step: JSON, and what is added to each parameter.
#[pyfunction]
#[expect(clippy::too_many_arguments, reason = "Python's keywords, one for one")]
pub fn noise<'py>(
    py: Python<'py>,
    settings: Settings,
    step: u64,
    epoch: u64,
    file: Option<PathBuf>,
    weights: Option<Weights<'py>>,
    data: Option<Arrays<'py>>,
    choice: Option<String>,
) -> PyResult<(String, Bound<'py, PyDict>)> {
    let own = Own::new(data.as_ref())?;
    let source = Source::new(file, weights);
    let draw = || -> Result<_, Failure> {
        let config = own.named(settings.resolve()?);
        check_noise_of_step(&config, source.is_some())?;
        let model = model(&config, &own)?;
        let gpu = Gpu::with_caches(&adapter(choice.as_deref()))?;
        let place = |gpu: &Gpu, model: &Model, arena: &Arena| match &source {
            Some(Source::File(path)) => nn::load(gpu, model, arena, path),
            Some(Source::Memory(tensors)) => {
                nn::place(gpu, model, arena, &arena.weights, tensors.clone(), WEIGHTS.as_ref())
            }
            None => Ok(()),
        };
        Ok(noise_of_step(&gpu, &config, &model, [step, epoch], Some(&place))?)
    };
    let NoiseOfStep { tensors, sigma, group } = py.detach(draw)?;
    let said = json!({ "sigma": sigma, "group": group });
    Ok((said.to_string(), to_arrays(py, tensors)?))
}

/// The model of a configuration, for own data or for those that it names.
fn model(config: &RunConfig, own: &Own) -> Result<Model, TrainError> {
    if own.is_some() {
        return Ok(own.prepare(config)?.model);
    }
    let data: DataSource = config.data.parse()?;
    model_for(config, Some(&data))
}
