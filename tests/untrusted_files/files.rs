//! Small valid files of every format that is read: what untrusted ones are made from, and the seeds of the fuzz targets.

use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use image::{DynamicImage, ImageFormat};
use safetensors::{Dtype, serialize, tensor::TensorView};

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An IDX file: magic number, dimensions, values.
pub fn idx(magic: u32, dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let header = [magic].into_iter().chain(dimensions.iter().copied());
    header.flat_map(u32::to_be_bytes).chain(values.iter().copied()).collect()
}

/// Three images of 4 rows and 5 columns.
pub fn idx_images() -> Vec<u8> {
    let values: Vec<u8> = (0..60).map(|i| i * 4).collect();
    idx(0x803, &[3, 4, 5], &values)
}

pub fn idx_labels() -> Vec<u8> {
    idx(0x801, &[3], &[2, 0, 1])
}

/// A record of CIFAR: its label bytes and 32 x 32 pixels of each colour.
pub fn cifar_record(labels: &[u8]) -> Vec<u8> {
    labels.iter().copied().chain((0..3 * 32 * 32).map(|i| (i / 64) as u8)).collect()
}

pub fn encoded(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// A drawing of 6 columns and 4 rows that tells its channels apart.
pub fn drawing() -> DynamicImage {
    image::RgbImage::from_fn(6, 4, |x, y| image::Rgb([x as u8 * 40, y as u8 * 60, 7])).into()
}

/// A safetensors file of f32 tensors, of which each element is half its number.
pub fn tensors(list: &[(&str, &[usize])]) -> Vec<u8> {
    typed_tensors(&list.iter().map(|(name, shape)| (*name, Dtype::F32, *shape)).collect::<Vec<_>>())
}

/// The same of any type; those that are not f32 are 0.
pub fn typed_tensors(list: &[(&str, Dtype, &[usize])]) -> Vec<u8> {
    let data: Vec<Vec<u8>> = list
        .iter()
        .map(|(_, dtype, shape)| {
            let len = shape.iter().product::<usize>();
            match dtype {
                Dtype::F32 => (0..len).flat_map(|i| (i as f32 / 2.0).to_le_bytes()).collect(),
                _ => vec![0; len * dtype.bitsize() / 8],
            }
        })
        .collect();
    let views = list
        .iter()
        .zip(&data)
        .map(|((name, dtype, shape), data)| (name.to_string(), TensorView::new(*dtype, shape.to_vec(), data).unwrap()));
    serialize(views, None).unwrap()
}

/// The weights of `mlp:2-2-1`, the model that the fuzz target's weights are for.
pub fn weights() -> Vec<u8> {
    tensors(&[("fc1.weight", &[2, 2]), ("fc1.bias", &[2]), ("fc2.weight", &[1, 2]), ("fc2.bias", &[1])])
}

/// Every layer there is.
pub const MODEL: &str = r#"[[layers]]
type = "conv"
channels = 8
kernel = 3
padding = 1
bias = false

[[layers]]
type = "batch-norm"

[[layers]]
type = "relu"

[[layers]]
type = "residual"
name = "stage"
layers = [
    { type = "conv", channels = 16, kernel = [3, 1], padding = [1, 0], stride = 2, dilation = 1, groups = 2 },
    { type = "group-norm", groups = 4 },
    { type = "gelu" },
]
shortcut = [{ type = "conv", name = "projection", channels = 16, kernel = 1, stride = 2 }]

[[layers]]
type = "max-pool"
kernel = 2

[[layers]]
type = "average-pool"
kernel = 2
stride = 1
padding = 1
count_padding = false

[[layers]]
type = "silu"

[[layers]]
type = "adaptive-average-pool"
size = [2, 2]

[[layers]]
type = "layer-norm"

[[layers]]
type = "global-average-pool"

[[layers]]
type = "flatten"

[[layers]]
type = "dropout"
probability = 0.25

[[layers]]
type = "linear"
features = 20

[[layers]]
type = "tanh"

[[layers]]
type = "linear"
name = "head"
"#;

/// A network for rows of features.
pub const ROWS: &str = r#"[[layers]]
type = "residual"
layers = [{ type = "linear", features = 64 }, { type = "sigmoid" }]
[[layers]]
type = "batch-norm"
[[layers]]
type = "linear"
"#;

/// A configuration with most keys.
pub const CONFIG: &str = r#"data = "digits"
model = "mlp:64-32-10:gelu"
precision = "f16"
loss = "nll"
noise = "layer"
sigma = 0.05
noise-order = "random"
noise-scale = "filter"
noise-distribution = "rademacher"
noise-schedule = "cosine"
noise-milestones-every = 4
noise-milestones = [3]
noise-gamma = 0.5
noise-off-epoch = 7
groups = "module"
optimizer = "adamw"
lr = 1e-3
schedule = "step"
schedule-unit = "step"
milestones-every = 3
milestones = [2, 5]
gamma = 0.5
momentum = 0.9
dampening = 0.0
nesterov = true
weight-decay = 5e-4
beta1 = 0.9
beta2 = 0.999
eps = 1e-8
epochs = 10
batch = 64
seed = 3
subset = 1000
stratified = true
label-noise = 0.3
label-noise-seed = 4
normalise = "data"
crop-padding = 2
flip = true
cutout = 2
label-smoothing = 0.1
clip-norm = 1.0
accumulate = 2
warmup-steps = 10
ema = 0.99
batch-order = "shuffled"
log-every = 5
"#;

/// Characters of one to four bytes.
const VERSE: &str = "so süß ist nichts: ☙ 𝄞\n";

/// The seeds of each fuzz target, by name.
pub fn seeds() -> Vec<(&'static str, &'static str, Vec<u8>)> {
    let png = |image: DynamicImage| encoded(image, ImageFormat::Png);
    let grey = DynamicImage::from(drawing().into_luma8());
    let design: (&str, &[usize]) = ("X", &[3, 4]);
    let groups = [("X", Dtype::F32, [3, 4].as_slice()), ("y", Dtype::F32, &[3]), ("groups", Dtype::I64, &[4])];
    let counter = [("fc1.bias", Dtype::F32, [2].as_slice()), ("bn.num_batches_tracked", Dtype::I64, &[])];
    let zoo = "model = \"resnet18:8\"\ndata = \"folder:images@8x8\"\nsteps = 5\ncrop-reflect = true\n";
    vec![
        ("idx", "images", idx_images()),
        ("idx", "labels", idx_labels()),
        ("idx", "images.gz", gzip(&idx_images())),
        ("idx", "labels.gz", gzip(&idx_labels())),
        ("idx", "members.gz", [gzip(&idx_labels()[..7]), gzip(&idx_labels()[7..])].concat()),
        ("cifar", "ten", cifar_record(&[7])),
        ("cifar", "hundred", cifar_record(&[19, 99])),
        ("cifar", "ten.gz", gzip(&cifar_record(&[7]).repeat(2))),
        ("image", "rgb8.png", png(drawing())),
        ("image", "grey8.png", png(grey.clone())),
        ("image", "rgba16.png", png(drawing().into_rgba16().into())),
        ("image", "rgb.jpg", encoded(drawing(), ImageFormat::Jpeg)),
        ("image", "grey.jpg", encoded(grey, ImageFormat::Jpeg)),
        ("weights", "mlp", weights()),
        ("weights", "counter", typed_tensors(&counter)),
        ("model", "image", MODEL.as_bytes().to_vec()),
        ("model", "rows", ROWS.as_bytes().to_vec()),
        ("config", "all", CONFIG.as_bytes().to_vec()),
        ("config", "zoo", zoo.as_bytes().to_vec()),
        ("config", "empty", Vec::new()),
        ("text", "verse", VERSE.as_bytes().to_vec()),
        ("text", "verse.gz", gzip(VERSE.as_bytes())),
        ("tokens", "gpt2", [0, 1, 50_256, 7].map(u16::to_le_bytes).concat()),
        ("problem", "sparse", tensors(&[design, ("y", &[3])])),
        ("problem", "grouped", typed_tensors(&groups)),
        ("problem", "whole", tensors(&[("Y", &[3, 2])])),
        ("problem", "measured", tensors(&[("A", &[2, 3, 2]), ("y", &[2])])),
    ]
}
