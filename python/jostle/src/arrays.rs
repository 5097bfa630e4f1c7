//! Arrays of Python as data sets, and tensors as arrays.

use jostle::{
    data::{Dataset, SampleShape, Samples, Split, Targets},
    nn::NamedTensor,
    train::{Prepared, RunConfig, TrainError},
};
use numpy::{PyArray1, PyArrayDyn, PyArrayMethods, PyReadonlyArray1};
use pyo3::{prelude::*, types::PyDict};

use crate::failure::Failure;

/// What own data are called in messages, and in the configuration of a run on them.
pub const NAME: &str = "arrays";

/// Flat values of samples.
#[derive(FromPyObject)]
enum Values<'py> {
    U8(PyReadonlyArray1<'py, u8>),
    F32(PyReadonlyArray1<'py, f32>),
}

/// Flat targets.
#[derive(FromPyObject)]
enum Answers<'py> {
    Classes(PyReadonlyArray1<'py, u32>),
    Vectors(PyReadonlyArray1<'py, f32>),
}

/// Samples with their targets, as `jostle._data` has checked and flattened them.
#[derive(FromPyObject)]
struct Part<'py> {
    #[pyo3(item)]
    values: Values<'py>,
    #[pyo3(item)]
    answers: Answers<'py>,
    /// Classes, or numbers of a vector.
    #[pyo3(item)]
    outputs: usize,
    /// Channels, rows and columns.
    #[pyo3(item)]
    shape: [usize; 3],
}

/// Data in Python's memory.
#[derive(FromPyObject)]
pub struct Arrays<'py> {
    #[pyo3(item)]
    train: Part<'py>,
    #[pyo3(item)]
    test: Option<Part<'py>>,
}

fn to_vec<T: numpy::Element + Copy>(array: &PyReadonlyArray1<'_, T>) -> Vec<T> {
    array.as_array().iter().copied().collect()
}

impl Part<'_> {
    fn dataset(&self) -> Result<Dataset, TrainError> {
        let samples: Samples = match &self.values {
            Values::U8(values) => to_vec(values).into(),
            Values::F32(values) => to_vec(values).into(),
        };
        let targets = match &self.answers {
            Answers::Classes(labels) => Targets::Classes { labels: to_vec(labels), classes: self.outputs },
            Answers::Vectors(values) => Targets::vectors(to_vec(values), self.outputs),
        };
        let [channels, height, width] = self.shape;
        Ok(Dataset::from_arrays(NAME, samples, targets, SampleShape { channels, height, width })?)
    }
}

/// Own data in the engine's memory, or none.
#[derive(Clone, Debug)]
pub struct Own(Option<(Dataset, Option<Dataset>)>);

impl Own {
    /// Takes a copy.
    pub fn new(arrays: Option<&Arrays<'_>>) -> Result<Self, Failure> {
        let taken =
            |arrays: &Arrays<'_>| Ok((arrays.train.dataset()?, arrays.test.as_ref().map(Part::dataset).transpose()?));
        Ok(Self(arrays.map(taken).transpose().map_err(|error: TrainError| Failure::from(error))?))
    }

    /// Whether there are any.
    pub fn is_some(&self) -> bool {
        self.0.is_some()
    }

    /// A configuration that says so where the data are these.
    pub fn named(&self, config: RunConfig) -> RunConfig {
        match &self.0 {
            Some(_) => RunConfig { data: NAME.to_owned(), ..config },
            None => config,
        }
    }

    /// Data and model of a configuration. Where no test part is given, a tenth of the samples is, by class and subset seed, as
    /// `validation` takes its part.
    pub fn prepare(&self, config: &RunConfig) -> Result<Prepared, TrainError> {
        let Some((train, test)) = &self.0 else { return Prepared::load(config) };
        let split = match test {
            Some(test) => Split { train: train.clone(), test: test.clone() },
            None => {
                let parts = train.set_apart(train.len().div_ceil(10), config.subset_seed)?;
                Split { train: parts.rest, test: parts.apart }
            }
        };
        Prepared::from_split(config, split)
    }
}

/// Tensors as a dictionary of arrays, in their order.
pub fn to_arrays<'py>(py: Python<'py>, tensors: Vec<NamedTensor>) -> PyResult<Bound<'py, PyDict>> {
    let arrays = PyDict::new(py);
    for NamedTensor { name, shape, values } in tensors {
        arrays.set_item(name, to_array(py, values, &shape)?)?;
    }
    Ok(arrays)
}

/// Values as an array of a shape.
pub fn to_array<'py>(py: Python<'py>, values: Vec<f32>, shape: &[usize]) -> PyResult<Bound<'py, PyArrayDyn<f32>>> {
    PyArray1::from_vec(py, values).reshape(shape.to_vec())
}

/// Weights as Python gives them: a dictionary of arrays, each flat and with its shape.
pub type Weights<'py> = Vec<(String, Vec<usize>, PyReadonlyArray1<'py, f32>)>;

/// Them as tensors.
pub fn to_tensors(weights: Weights<'_>) -> Vec<NamedTensor> {
    let tensor = |(name, shape, values): (String, Vec<usize>, PyReadonlyArray1<'_, f32>)| NamedTensor {
        name,
        shape,
        values: to_vec(&values),
    };
    weights.into_iter().map(tensor).collect()
}
