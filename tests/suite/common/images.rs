//! Images as the kernels hold them (channel-last, the channels padded to whole vec4s), and who meets whom in
//! convolutions and pools.

use jostle::{
    data::{Dataset, SampleShape, Targets},
    kernels::{ConvOptions, padded_channels},
    ops::Pool,
};

use super::hash;

/// Random images of CIFAR-10's shape: `samples` of scripts/make_conv_parity.py.
pub fn hashed_images(seed: u64, count: usize) -> Dataset {
    hashed_squares(seed, count, 32)
}

/// As [`hashed_images`], of another side.
pub fn hashed_squares(seed: u64, count: usize, side: usize) -> Dataset {
    let shape = SampleShape { channels: 3, height: side, width: side };
    Dataset {
        name: "hash".to_owned(),
        samples: (0..count * shape.features()).map(|i| (hash(seed, i as u64) % 256) as u8).collect::<Vec<_>>().into(),
        targets: Targets::Classes {
            labels: (0..count).map(|i| (hash(seed + 1, i as u64) % 10) as u32).collect(),
            classes: 10,
        },
        shape,
        full_scale: 255.0,
        published: &[],
    }
}

/// Every position of a box, in row-major order.
pub fn grid([a, b, c]: [usize; 3]) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..a).flat_map(move |i| (0..b).flat_map(move |j| (0..c).map(move |k| (i, j, k))))
}

/// Channels padded with a value that must not reach any result.
pub fn padded(values: &[f32], channels: usize) -> Vec<f32> {
    let pixel = |pixel: &[f32]| {
        let mut padded = vec![1e3; padded_channels(channels)];
        padded[..channels].copy_from_slice(pixel);
        padded
    };
    values.chunks_exact(channels).flat_map(pixel).collect()
}

/// The channels in use. Padding may hold anything finite: a NaN there would spread through products with 0.
#[track_caller]
pub fn unpadded(values: &[f32], channels: usize) -> Vec<f32> {
    let pixels = values.chunks_exact(padded_channels(channels));
    assert!(pixels.clone().all(|pixel| pixel[channels..].iter().all(|value| value.is_finite())), "NaN in the padding");
    pixels.flat_map(|pixel| &pixel[..channels]).copied().collect()
}

/// Where a window's tap lies, if within the image.
fn tap([o, k]: [usize; 2], stride: usize, dilation: usize, padding: usize, size: usize) -> Option<usize> {
    (o * stride + k * dilation).checked_sub(padding).filter(|at| *at < size)
}

/// Every product in the convolution of an image: (row, column, channel) of the input, the weight's index in PyTorch's
/// layout, (row, column, channel) of the output. Sizes are (height, width, channels).
pub fn conv_terms(
    options: &ConvOptions,
    [ih, iw, ic]: [usize; 3],
    [oh, ow, oc]: [usize; 3],
    mut term: impl FnMut([usize; 3], usize, [usize; 3]),
) {
    let ConvOptions { kernel, stride, padding, dilation, groups } = *options;
    let (per_in, per_out) = (ic / groups, oc / groups);
    for (oy, ox, o) in grid([oh, ow, oc]) {
        for (ky, kx, i) in grid([kernel[0], kernel[1], per_in]) {
            let y = tap([oy, ky], stride[0], dilation[0], padding[0], ih);
            let x = tap([ox, kx], stride[1], dilation[1], padding[1], iw);
            if let (Some(y), Some(x)) = (y, x) {
                let weight = ((o * per_in + i) * kernel[0] + ky) * kernel[1] + kx;
                term([y, x, o / per_out * per_in + i], weight, [oy, ox, o]);
            }
        }
    }
}

/// The pixels of each of a pool's windows in row-major order, and what an average divides by: torch.nn.MaxPool2d,
/// AvgPool2d, AdaptiveAvgPool2d.
pub fn pool_windows(pool: &Pool, [height, width]: [usize; 2]) -> Vec<(Vec<usize>, f64)> {
    let [rows, columns] = pool.output_size([height, width]).unwrap();
    let window = |(oy, ox, _): (usize, usize, usize)| match *pool {
        Pool::AdaptiveAverage { .. } => {
            let bin = |o: usize, input: usize, out: usize| o * input / out..((o + 1) * input).div_ceil(out);
            let row = |y: usize| bin(ox, width, columns).map(move |x| y * width + x);
            let pixels: Vec<usize> = bin(oy, height, rows).flat_map(row).collect();
            let count = pixels.len() as f64;
            (pixels, count)
        }
        Pool::Max { kernel, stride, padding } | Pool::Average { kernel, stride, padding, .. } => {
            let pixel = |(ky, kx, _): (usize, usize, usize)| {
                let y = tap([oy, ky], stride[0], 1, padding[0], height)?;
                Some(y * width + tap([ox, kx], stride[1], 1, padding[1], width)?)
            };
            let pixels: Vec<usize> = grid([kernel[0], kernel[1], 1]).filter_map(pixel).collect();
            let counts_padding = matches!(pool, Pool::Average { count_padding: true, .. });
            let count = if counts_padding { kernel[0] * kernel[1] } else { pixels.len() } as f64;
            (pixels, count)
        }
    };
    grid([rows, columns, 1]).map(window).collect()
}

/// PyTorch's loop over a window of a max pool: the first of equals; a NaN displaces what was before it, and nothing
/// displaces it but another.
pub fn largest(pixels: &[usize], value: impl Fn(usize) -> f64) -> usize {
    let larger = |best: usize, pixel: usize| {
        let candidate = value(pixel);
        if candidate > value(best) || candidate.is_nan() { pixel } else { best }
    };
    pixels.iter().copied().fold(pixels[0], larger)
}
