//! Matrices made orthogonal against f64: the powers of the matrix written out, whichever side is smaller.

use jostle::{
    gpu::{Element, Gpu, GpuError},
    kernels::{AdapterClass, CoopMatrices, Orthogonalise, Target, UpdateMatrix, with_variants},
};
use nalgebra::DMatrix;

use crate::common::{Guarded, ROUNDOFF, assert_close, bits, device, guarded, own_device, samples, wide};

/// Either side the smaller one, multiples of 4 and others, more than one tile, norms of one part and of several.
const SHAPES: [[usize; 2]; 5] = [[24, 64], [64, 24], [1, 27], [33, 7], [128, 96]];

/// The slope of five iterations at 0: how many times the rounding of an iterate grows in what follows at most, and a good deal
/// less in singular values as large as those of these matrices. Measured, in roundings of the largest element: up to 41.
const SLOPE: f64 = 485.0;

/// Every element of these within so much of the largest one.
fn tolerance(expected: &[f64]) -> f64 {
    SLOPE * ROUNDOFF * expected.iter().fold(0.0, |most: f64, x| most.max(x.abs()))
}

/// [rows, inner] times [inner, columns], row-major.
fn product(left: &[f64], right: &[f64], inner: usize) -> Vec<f64> {
    let columns = right.len() / inner;
    let mut result = vec![0.0; left.len() / inner * columns];
    for (row, result) in left.chunks_exact(inner).zip(result.chunks_exact_mut(columns)) {
        for (factor, right) in row.iter().zip(right.chunks_exact(columns)) {
            result.iter_mut().zip(right).for_each(|(sum, value)| *sum += factor * value);
        }
    }
    result
}

/// X <- a X + b X X' X + c X X' X X' X, five times from the matrix over its norm on.
fn reference(matrix: &[f32], [rows, columns]: [usize; 2], scale: f64) -> Vec<f64> {
    let norm = wide(matrix).iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-7);
    let mut x: Vec<f64> = wide(matrix).iter().map(|x| x / norm).collect();
    for _ in 0..5 {
        let transposed: Vec<f64> = (0..x.len()).map(|i| x[i % rows * columns + i / rows]).collect();
        let times_square = |y: &[f64]| product(&product(y, &transposed, columns), &x, rows);
        let third = times_square(&x);
        let fifth = times_square(&third);
        x = (0..x.len()).map(|i| 3.4445 * x[i] - 4.775 * third[i] + 2.0315 * fifth[i]).collect();
    }
    x.iter().map(|x| scale * x).collect()
}

/// The class of the adapter, and one without cooperative matrices or lanes that are known.
fn classes(gpu: &Gpu) -> Vec<AdapterClass> {
    let own = with_variants(gpu, |class| Orthogonalise::new(gpu, class, &[]).map(|_| class)).unwrap();
    let plain = AdapterClass::Gpu(CoopMatrices::default());
    if own == plain { vec![plain] } else { vec![own, plain] }
}

/// A matrix between guards.
struct Held {
    tensor: Guarded,
    sides: [usize; 2],
    scale: f64,
}

impl Held {
    fn new(gpu: &Gpu, values: &[f32], sides: [usize; 2], scale: f64) -> Self {
        Self { tensor: guarded(gpu, values), sides, scale }
    }

    fn matrix(&self) -> UpdateMatrix {
        UpdateMatrix { view: self.tensor.view.clone(), sides: self.sides, scale: self.scale }
    }
}

fn plan(gpu: &Gpu, class: AdapterClass, held: &[Held]) -> Orthogonalise {
    Orthogonalise::new(gpu, class, &held.iter().map(Held::matrix).collect::<Vec<_>>()).unwrap()
}

fn run(gpu: &Gpu, orthogonalise: &Orthogonalise) {
    let mut recorder = gpu.record();
    orthogonalise.record(&mut recorder);
    recorder.submit().unwrap();
}

fn values([rows, columns]: [usize; 2]) -> Vec<f32> {
    samples((rows * columns) as u64, rows * columns, 0.02)
}

#[test]
fn matrices_match_f64() {
    let gpu = device();
    let scale = |[rows, columns]: [usize; 2]| (rows as f64 / columns as f64).max(1.0).sqrt();
    let expected = SHAPES.map(|sides| reference(&values(sides), sides, scale(sides)));
    for class in classes(gpu) {
        let held = SHAPES.map(|sides| Held::new(gpu, &values(sides), sides, scale(sides)));
        let orthogonalise = plan(gpu, class, &held);
        run(gpu, &orthogonalise);
        for (held, expected) in held.iter().zip(&expected) {
            let (found, [rows, columns]) = (held.tensor.read(gpu), held.sides);
            let name = format!("{class:?}, {rows} x {columns}");
            assert_close(&name, &found, expected, tolerance(expected), 0.0);
            if rows.min(columns) == 24 {
                let singular = DMatrix::from_row_slice(rows, columns, &wide(&found)).singular_values() / held.scale;
                assert!(singular.iter().all(|value| (0.68..1.14).contains(value)), "{name}: {singular}");
            }
        }
        let launches = Orthogonalise::launches(&Target::with_class(gpu, class), &SHAPES).unwrap();
        let launched: Vec<_> = launches.iter().map(|launch| (launch.spec.entry, launch.grid)).collect();
        let bound = orthogonalise.dispatches().iter().map(|dispatch| (dispatch.kernel_name(), dispatch.grid()));
        assert_eq!(launched, bound.collect::<Vec<_>>(), "{class:?}");
    }
}

/// Zeros, norms about and below 1e-7, and norms that are not finite, beside a matrix that none of them reaches.
#[test]
fn extremes_stay_among_themselves_and_every_record_is_the_same() {
    let gpu = &own_device();
    let sides = [10, 10];
    let small: Vec<f32> = values(sides).iter().map(|x| x * 1e-7).collect();
    let with = |value: f32| [&values(sides)[..50], &[value], &values(sides)[51..]].concat();
    let broken = [with(f32::NAN), with(f32::INFINITY), with(-f32::INFINITY), with(1e30)];
    for class in classes(gpu) {
        let given: Vec<_> = broken.iter().cloned().chain([vec![0.0; 100], small.clone(), values(sides)]).collect();
        let held: Vec<Held> = given.iter().map(|values| Held::new(gpu, values, sides, -0.5)).collect();
        gpu.unused(0).unwrap(); // which is made once
        let before = gpu.allocated_bytes();
        let orthogonalise = plan(gpu, class, &held);
        let (found, words) =
            (gpu.allocated_bytes() - before, Orthogonalise::scratch_words(class, &[sides; 7]).unwrap());
        // Five buffers and a table for each matrix, all of them whole vec4s.
        let expected = words as u64 * 4..=words as u64 * 4 + 16 * (5 + 7);
        assert!(expected.contains(&found), "{class:?}: {found} bytes, {expected:?}");
        let results = [(); 2].map(|()| {
            held.iter().zip(&given).for_each(|(held, values)| gpu.write(&held.tensor.view, values).unwrap());
            run(gpu, &orthogonalise);
            held.iter().map(|held| held.tensor.read(gpu)).collect::<Vec<_>>()
        });
        let [first, second] = results.each_ref().map(|all| all.iter().map(|values| bits(values)).collect::<Vec<_>>());
        assert_eq!(first, second, "{class:?}");
        let (broken, finite) = results[0].split_at(broken.len());
        assert!(broken.iter().flatten().all(|value| value.is_nan()), "{class:?}: {broken:?}");
        assert_eq!(finite[0], vec![0.0; 100], "{class:?}");
        for (values, found) in [&small, &values(sides)].into_iter().zip(&finite[1..]) {
            let expected = reference(values, sides, -0.5);
            assert_close(&format!("{class:?}"), found, &expected, tolerance(&expected), 0.0);
        }
    }
}

#[test]
fn matrices_that_cannot_be_are_refused() {
    let gpu = device();
    let class = AdapterClass::for_device(gpu);
    let planned = |len: usize, sides: [usize; 2]| {
        let view = guarded(gpu, &vec![0.5; len]).view;
        Orthogonalise::new(gpu, class, &[UpdateMatrix { view, sides, scale: 1.0 }]).map(|_| ())
    };
    let empty = planned(3, [0, 3]);
    assert!(matches!(empty, Err(GpuError::Shape { .. })), "{empty:?}");
    let short = planned(11, [3, 4]);
    assert!(matches!(short, Err(GpuError::Length { argument: "matrix", expected: 12, found: 11, .. })), "{short:?}");
    let view = guarded(gpu, &[0.5; 6]).view.read_as(Element::Half, 12).unwrap();
    let half = Orthogonalise::new(gpu, class, &[UpdateMatrix { view, sides: [3, 4], scale: 1.0 }]);
    assert!(matches!(half, Err(GpuError::Element { found: Element::Half, .. })), "{half:?}");
}
