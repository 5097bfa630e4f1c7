//! One's own problem, from a safetensors file, and coefficients written back.

use std::{collections::HashMap, ops::Range, path::Path};

use nalgebra::{DMatrix, DVector};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};

use crate::{
    experiments::ExperimentError,
    input,
    nn::{NamedTensor, listed, open_safetensors, write_tensors},
};

use super::{MOST_COEFFICIENTS, Regression, SimpleModel};

/// A problem as a model and a regression, with the way back to the file's order of coefficients.
#[derive(Clone, Debug, PartialEq)]
pub struct FileProblem {
    /// The model.
    pub model: SimpleModel,
    /// The regression, coefficients in the model's order.
    pub problem: Regression,
    /// The file's shape of theta, row-major, and for each of its elements the number of the coefficient.
    pub layout: ThetaLayout,
}

/// Where the coefficients of a model lie in a row-major tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct ThetaLayout {
    shape: Vec<usize>,
    coefficients: Vec<usize>,
}

impl ThetaLayout {
    /// The coefficients in the model's own order; those of a two-layer model as [rows, columns].
    #[must_use]
    pub fn new(model: &SimpleModel) -> Self {
        if let SimpleModel::TwoLayer { rows, columns, .. } = model {
            let coefficients = (0..rows * columns).map(|at| at / columns + rows * (at % columns)).collect();
            return Self { shape: vec![*rows, *columns], coefficients };
        }
        Self { shape: vec![model.coefficients()], coefficients: (0..model.coefficients()).collect() }
    }

    /// Writes named coefficients as f32.
    ///
    /// # Errors
    /// [`ExperimentError::Weights`] naming the file.
    pub fn write(&self, path: &Path, thetas: &[(String, DVector<f64>)]) -> Result<(), ExperimentError> {
        let tensor = |(name, theta): &(String, DVector<f64>)| NamedTensor {
            name: name.clone(),
            shape: self.shape.clone(),
            values: self.coefficients.iter().map(|at| theta[*at] as f32).collect(),
        };
        Ok(write_tensors(path, &thetas.iter().map(tensor).collect::<Vec<_>>(), HashMap::new())?)
    }
}

/// A safetensors file on its way to numbers.
struct Reader<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl Reader<'_> {
    fn error(&self, reason: String) -> ExperimentError {
        ExperimentError::Problem { path: self.path.to_owned(), reason }
    }

    fn has(&self, name: &str) -> bool {
        self.tensors.names().into_iter().any(|found| found == name)
    }

    fn tensor(&self, name: &str, dimensions: usize) -> Result<TensorView<'_>, ExperimentError> {
        let names = || listed(&self.tensors.names());
        let tensor =
            self.tensors.tensor(name).map_err(|_| self.error(format!("no tensor {name}; it holds {}", names())))?;
        let shape = tensor.shape();
        if shape.len() != dimensions || shape.contains(&0) {
            return Err(self.error(format!("{name} has the shape {shape:?}, expected {dimensions} dimensions, none 0")));
        }
        Ok(tensor)
    }

    /// Shape and elements, all finite.
    fn floats(&self, name: &str, dimensions: usize) -> Result<(Vec<usize>, Vec<f64>), ExperimentError> {
        let tensor = self.tensor(name, dimensions)?;
        let data = tensor.data();
        let values: Vec<f64> = match tensor.dtype() {
            Dtype::F32 => data.chunks_exact(4).map(|b| f64::from(bytemuck::pod_read_unaligned::<f32>(b))).collect(),
            Dtype::F64 => data.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect(),
            other => return Err(self.error(format!("{name} is {other:?}, expected F32 or F64"))),
        };
        if let Some(at) = values.iter().position(|value| !value.is_finite()) {
            return Err(self.error(format!("{name}: element {at} is {}", values[at])));
        }
        Ok((tensor.shape().to_vec(), values))
    }

    fn labels(&self, name: &str, expected: usize) -> Result<Vec<i64>, ExperimentError> {
        let tensor = self.tensor(name, 1)?;
        let data = tensor.data();
        let labels: Vec<i64> = match tensor.dtype() {
            Dtype::I64 => data.chunks_exact(8).map(bytemuck::pod_read_unaligned).collect(),
            Dtype::I32 => data.chunks_exact(4).map(|b| i64::from(bytemuck::pod_read_unaligned::<i32>(b))).collect(),
            Dtype::U8 => data.iter().map(|b| i64::from(*b)).collect(),
            other => return Err(self.error(format!("{name} is {other:?}, expected I64, I32 or U8"))),
        };
        if labels.len() != expected {
            return Err(
                self.error(format!("{name} has {} elements, expected {expected}: one a column of X", labels.len()))
            );
        }
        Ok(labels)
    }

    fn targets(&self, samples: usize, tensor: &str) -> Result<DVector<f64>, ExperimentError> {
        let (_, y) = self.floats("y", 1)?;
        if y.len() != samples {
            return Err(self.error(format!("y has {} elements, {tensor} has {samples} samples", y.len())));
        }
        Ok(DVector::from_vec(y))
    }

    fn design(&self) -> Result<Regression, ExperimentError> {
        let (shape, x) = self.floats("X", 2)?;
        Ok(Regression { y: self.targets(shape[0], "X")?, x: DMatrix::from_row_slice(shape[0], shape[1], &x) })
    }
}

/// Which experiment a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// X [n, d], y `[n]`.
    Sparse,
    /// X [n, d], y `[n]`, groups `[d]`: coefficients of one label are a group.
    Grouped,
    /// Y [p, q], or A [n, p, q] and y `[n]`.
    LowRank,
}

/// Reads a problem.
///
/// # Errors
/// [`ExperimentError::Problem`] naming file, tensor, what was found and what was expected; [`ExperimentError::Io`].
pub fn read(path: &Path, kind: FileKind) -> Result<FileProblem, ExperimentError> {
    let bytes = input::bytes(path).map_err(|source| ExperimentError::Io { path: path.to_owned(), source })?;
    parse(path, &bytes, kind)
}

/// The problem of a file's bytes; `path` is for messages.
pub(crate) fn parse(path: &Path, bytes: &[u8], kind: FileKind) -> Result<FileProblem, ExperimentError> {
    let tensors =
        open_safetensors(bytes).map_err(|reason| ExperimentError::Problem { path: path.to_owned(), reason })?;
    let reader = Reader { path, tensors };
    match kind {
        FileKind::Sparse => {
            let problem = reader.design()?;
            let model = SimpleModel::Diagonal { features: problem.x.ncols() };
            Ok(FileProblem { layout: ThetaLayout::new(&model), model, problem })
        }
        FileKind::Grouped => {
            let problem = reader.design()?;
            let labels = reader.labels("groups", problem.x.ncols())?;
            Ok(grouped(&problem, &labels))
        }
        FileKind::LowRank => low_rank(&reader),
    }
}

/// Sorts the coefficients by group.
fn grouped(problem: &Regression, labels: &[i64]) -> FileProblem {
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by_key(|at| labels[*at]);
    let mut groups: Vec<Range<usize>> = Vec::new();
    for (position, at) in order.iter().enumerate() {
        match groups.last_mut() {
            Some(group) if labels[order[group.start]] == labels[*at] => group.end += 1,
            _ => groups.push(position..position + 1),
        }
    }
    let mut coefficients = vec![0; order.len()];
    for (position, at) in order.iter().enumerate() {
        coefficients[*at] = position;
    }
    let problem = Regression { x: problem.x.select_columns(&order), y: problem.y.clone() };
    let layout = ThetaLayout { shape: vec![labels.len()], coefficients };
    FileProblem { model: SimpleModel::Group { groups }, problem, layout }
}

fn low_rank(reader: &Reader<'_>) -> Result<FileProblem, ExperimentError> {
    let (p, q, problem) = if reader.has("Y") {
        let (shape, y) = reader.floats("Y", 2)?;
        let (p, q) = (shape[0], shape[1]);
        // Seen whole, the design is the identity: the square of the file.
        if p * q > MOST_COEFFICIENTS {
            return Err(reader.error(format!(
                "Y is {p} x {q}, expected at most {MOST_COEFFICIENTS} elements: the solver keeps their Hessian on the host"
            )));
        }
        let scale = ((p * q) as f64).sqrt();
        let y = DMatrix::from_row_slice(p, q, &y) * scale;
        (p, q, Regression { x: DMatrix::identity(p * q, p * q) * scale, y: DVector::from_column_slice(y.as_slice()) })
    } else {
        let (shape, a) = reader.floats("A", 3)?;
        let [n, p, q] = [shape[0], shape[1], shape[2]];
        // A_k is row-major in the file, by columns here.
        let x = DMatrix::from_fn(n, p * q, |k, at| a[k * p * q + at % p * q + at / p]);
        (p, q, Regression { y: reader.targets(n, "A")?, x })
    };
    let model = SimpleModel::TwoLayer { rows: p, columns: q, width: p.min(q) };
    Ok(FileProblem { layout: ThetaLayout::new(&model), model, problem })
}
