//! A small data set, and models written out by hand in f64.

use jostle::{
    data::{Dataset, SampleShape},
    gpu::Gpu,
    graph::{DataViews, TargetKind},
    kernels::{Activation, Augmentation, SampleElement},
    train::DeviceData,
};

use super::{
    device, hash,
    reference::{activate, linear},
};

pub const FEATURES: usize = 5;
pub const SAMPLES: usize = 9;
pub const SCALE: f32 = 1.0 / 64.0;
pub const SHIFT: f32 = -1.5;

/// The tensors of a model.
pub type Params<'a> = &'a [Vec<f64>];
/// (parameters, one input) to the outputs.
pub type Forward<'a> = &'a dyn Fn(Params<'_>, &[f64]) -> Vec<f64>;

/// A data set of bytes with an order that is no identity.
pub struct Data {
    /// Channels, height and width; a row of features is an image of one row.
    pub shape: [usize; 3],
    pub bytes: Vec<u8>,
    pub labels: Vec<u32>,
    pub order: Vec<u32>,
}

impl Data {
    pub fn new(classes: usize) -> Self {
        Self::shaped(classes, [1, 1, FEATURES])
    }

    pub fn shaped(classes: usize, shape: [usize; 3]) -> Self {
        Self {
            shape,
            bytes: (0..SAMPLES * shape.iter().product::<usize>()).map(|i| (hash(71, i as u64) % 200) as u8).collect(),
            labels: (0..SAMPLES).map(|i| (hash(72, i as u64) % classes as u64) as u32).collect(),
            order: (0..SAMPLES as u32).map(|i| (i * 4 + 1) % SAMPLES as u32).collect(),
        }
    }

    pub fn views(&self) -> DataViews {
        self.views_on(device())
    }

    pub fn views_on(&self, gpu: &Gpu) -> DataViews {
        let mut bytes = self.bytes.clone();
        bytes.resize(bytes.len().next_multiple_of(4), 0xFF);
        let view = |words: &[u32]| gpu.upload("data", words).unwrap().view();
        let pixels = gpu.upload("pixels", &bytes).unwrap().view();
        let indices = view(&self.order);
        let normalisation = gpu.upload("normalisation", &vec![[SCALE, SHIFT]; self.shape[0]]).unwrap().view();
        let (sample, augment) = (self.shape, Augmentation::default());
        let (targets, ids) = (view(&self.labels), indices.clone());
        let classes = self.labels.iter().max().map_or(0, |label| *label as usize + 1);
        DataViews {
            samples: pixels,
            sample_element: SampleElement::U8,
            vocabulary: 0,
            targets,
            target_kind: TargetKind::Classes(classes),
            ids,
            indices,
            normalisation,
            sample,
            augment,
        }
    }

    /// The same on the device, `batch` samples at a time.
    pub fn on_device(&self, batch: usize) -> DeviceData {
        let gpu = device();
        let [channels, height, width] = self.shape;
        let data = Dataset {
            name: "made up".to_owned(),
            samples: self.bytes.clone().into(),
            targets: self.labels.clone().into(),
            shape: SampleShape { channels, height, width },
            full_scale: 1.0,
            published: &[],
        };
        // input = (byte - mean) / deviation: exact, both being powers of two and halves.
        let moments = [-SHIFT / SCALE, 1.0 / SCALE];
        let mut data = DeviceData::with_residency(gpu, data, batch, &[moments], false).unwrap();
        data.set_order(gpu, self.order.clone()).unwrap();
        data
    }

    /// (input, label) at a position of the order.
    pub fn sample(&self, position: usize) -> (Vec<f64>, usize) {
        let sample = self.order[position] as usize;
        let input = |byte: &u8| f64::from(*byte) * f64::from(SCALE) + f64::from(SHIFT);
        let features: usize = self.shape.iter().product();
        let bytes = &self.bytes[sample * features..][..features];
        (bytes.iter().map(input).collect(), self.labels[sample] as usize)
    }
}

pub fn map(kind: Activation, x: &[f64]) -> Vec<f64> {
    x.iter().map(|x| activate(kind, *x)).collect()
}

pub fn plus(a: &[f64], b: &[f64]) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + b).collect()
}

/// The n-th linear layer, counted from 1.
pub fn fc(params: Params<'_>, n: usize, x: &[f64]) -> Vec<f64> {
    linear(&params[2 * n - 2], &params[2 * n - 1], x)
}
