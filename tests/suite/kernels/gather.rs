//! A batch from the resident samples, and uniform initialisation.

use crate::common::{ROUNDOFF, assert_within, bits, device, hash, poisoned, run, words};
use jostle::{
    gpu::GpuError,
    kernels::{Augmentation, Gather, GatherForm, GatherViews, SampleElement, init_uniform, padded_channels},
};

fn packed(bytes: &[u8]) -> Vec<u32> {
    let word = |four: &[u8]| four.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    bytes.chunks(4).map(word).collect()
}

/// A gather of samples [channels, height, width] of random bytes.
struct Case {
    sample: [usize; 3],
    bytes: Vec<u8>,
    order: Vec<u32>,
    batch: usize,
}

const SCALES: [[f32; 2]; 3] = [[1.0 / (255.0 * 0.3), -0.4 / 0.3], [0.01, 0.5], [0.02, -1.5]];

impl Case {
    fn new(sample: [usize; 3], samples: usize, batch: usize) -> Self {
        let features: usize = sample.iter().product();
        Self {
            sample,
            bytes: (0..samples * features).map(|i| hash(31, i as u64) as u8).collect(),
            order: (0..samples as u32).map(|i| (i * 7 + 3) % samples as u32).collect(),
            batch,
        }
    }

    fn run(&self, planar: bool, augment: Augmentation, batch: [u32; 3]) -> Vec<f32> {
        let bytes = self.run_as(SampleElement::U8, planar, augment, batch);
        let numbers = self.run_as(SampleElement::F32, planar, augment, batch);
        assert_eq!(bits(&bytes), bits(&numbers), "the same values as bytes and as numbers");
        bytes
    }

    fn run_as(
        &self,
        kind: SampleElement,
        planar: bool,
        augment: Augmentation,
        [first, valid, epoch]: [u32; 3],
    ) -> Vec<f32> {
        let gpu = device();
        let [channels, height, width] = self.sample;
        let stride = if planar { channels } else { padded_channels(channels) };
        let output = poisoned(gpu, self.batch * height * width * stride);
        let indices = words(gpu, &self.order);
        let held = match kind {
            SampleElement::U8 => packed(&self.bytes),
            SampleElement::F32 => self.bytes.iter().map(|byte| f32::from(*byte).to_bits()).collect(),
            SampleElement::U32 => self.bytes.iter().map(|byte| u32::from(*byte)).collect(),
        };
        let views = GatherViews {
            samples: &words(gpu, &held),
            indices: &indices,
            ids: &indices,
            normalisation: &gpu.upload("normalisation", &SCALES[..channels]).unwrap().view(),
            output: &output.view,
        };
        let gather =
            Gather::new(gpu, &views, self.batch, self.sample, GatherForm { element: kind, planar }, augment).unwrap();
        let mut recorder = gpu.record();
        gather.record(&mut recorder, first, valid, epoch);
        recorder.submit().unwrap();
        output.read(gpu)
    }

    /// What a row should be, channel first: (value, bound), by the source of each pixel.
    fn expected(&self, sample: usize, source: impl Fn(usize, usize) -> Source) -> Vec<(f64, f64)> {
        let [channels, height, width] = self.sample;
        let mut row = Vec::new();
        for (c, scale_shift) in SCALES.iter().enumerate().take(channels) {
            let [scale, shift] = scale_shift.map(f64::from);
            for (y, x) in (0..height).flat_map(|y| (0..width).map(move |x| (y, x))) {
                let byte = |y, x| f64::from(self.bytes[((sample * channels + c) * height + y) * width + x]);
                let product = match source(y, x) {
                    Source::Pixel(y, x) => byte(y, x) * scale,
                    Source::Black => 0.0,
                    Source::Cut => -shift,
                };
                // one rounding of the product, one of the sum
                row.push((product + shift, 2.0 * ROUNDOFF * (product.abs() + shift.abs())));
            }
        }
        row
    }
}

/// Where a pixel comes from.
enum Source {
    Pixel(usize, usize),
    Black,
    Cut,
}

fn check(name: &str, found: &[f32], expected: &[(f64, f64)]) {
    let (values, bounds): (Vec<_>, Vec<_>) = expected.iter().copied().unzip();
    assert_within(name, found, &values, &bounds);
}

#[test]
fn bytes_at_any_offset_become_scaled_rows() {
    // sizes of every remainder mod 4, so that samples start at every byte of a word
    for sample in [[1, 1, 1], [1, 1, 2], [1, 1, 3], [1, 5, 1], [1, 8, 8], [3, 1, 67], [2, 3, 5]] {
        let case = Case::new(sample, 11, 6);
        for (first, valid) in [(0, 6), (5, 6), (7, 4), (10, 1), (2, 0)] {
            let features: usize = sample.iter().product();
            let mut expected = vec![(0.0, 0.0); 6 * features];
            for row in 0..valid as usize {
                let sample_row = case.expected(case.order[first as usize + row] as usize, Source::Pixel);
                expected[row * features..][..features].copy_from_slice(&sample_row);
            }
            let found = case.run(true, Augmentation::default(), [first, valid, 0]);
            check(&format!("{sample:?}, {valid} from {first}"), &found, &expected);
        }
    }
}

/// Images are the planar rows with their channels last and padded.
fn channel_last(rows: &[f32], [channels, height, width]: [usize; 3]) -> Vec<f32> {
    let (area, stride) = (height * width, padded_channels(channels));
    let mut images = vec![0.0; rows.len() / channels * stride];
    for (i, value) in rows.iter().enumerate() {
        let (row, channel, pixel) = (i / (channels * area), i / area % channels, i % area);
        images[(row * area + pixel) * stride + channel] = *value;
    }
    images
}

/// Philox4x32-10 by the published definition.
fn philox(mut counter: [u32; 4], seed: u64) -> [u32; 4] {
    let mut key = [seed as u32, (seed >> 32) as u32];
    for _ in 0..10 {
        let [a, b] = [(0xD251_1F53, counter[0]), (0xCD9E_8D57, counter[2])].map(|(m, c): (u64, u32)| m * u64::from(c));
        let high = |product: u64| (product >> 32) as u32;
        counter = [high(b) ^ counter[1] ^ key[0], b as u32, high(a) ^ counter[3] ^ key[1], a as u32];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

#[test]
fn augmentation_is_what_its_bits_say() {
    let case = Case::new([3, 9, 7], 11, 5);
    let [_, height, width] = case.sample.map(|side| side as i64);
    let seed = 0x1234_5678_9ABC;
    let below = |word: u32, bound: i64| (i64::from(word >> 16) * bound) >> 16;
    let (mut flips, mut offsets) = (0, std::collections::HashSet::new());
    for (pad, reflect, flip, cutout) in
        [(2, false, true, 0), (4, true, true, 3), (0, false, false, 4), (1, false, false, 0)]
    {
        let augment = Augmentation { crop_padding: pad as usize, reflect, flip, cutout: cutout as usize, seed };
        for epoch in 0..3u32 {
            let found = case.run(true, augment, [3, 5, epoch]);
            let mut expected = Vec::new();
            for row in 0..5 {
                let id = case.order[3 + row];
                let (bits, centre) = (philox([id, epoch, 0, 4], seed), philox([id, epoch, 1, 4], seed));
                let offset = [bits[0], bits[1]].map(|word| below(word, 2 * pad + 1) - pad);
                let flipped = flip && bits[2] >> 31 == 1;
                flips += i32::from(flipped);
                offsets.insert(offset);
                let mirror = |i: i64, size: i64| {
                    if i < 0 {
                        -i
                    } else if i >= size {
                        2 * (size - 1) - i
                    } else {
                        i
                    }
                };
                expected.extend(case.expected(id as usize, |y, x| {
                    let (y, x) = (y as i64, x as i64);
                    let [cy, cx] = [below(centre[0], height), below(centre[1], width)].map(|c| c - cutout / 2);
                    if (cy..cy + cutout).contains(&y) && (cx..cx + cutout).contains(&x) {
                        return Source::Cut;
                    }
                    let x = if flipped { width - 1 - x } else { x };
                    let (mut sy, mut sx) = (y + offset[0], x + offset[1]);
                    if reflect {
                        (sy, sx) = (mirror(sy, height), mirror(sx, width));
                    }
                    let inside = (0..height).contains(&sy) && (0..width).contains(&sx);
                    if inside { Source::Pixel(sy as usize, sx as usize) } else { Source::Black }
                }));
            }
            check(&format!("padding {pad}, epoch {epoch}"), &found, &expected);
            let images = case.run(false, augment, [3, 5, epoch]);
            assert_eq!(images, channel_last(&found, case.sample));
        }
    }
    assert!(flips > 5 && flips < 25 && offsets.len() > 15, "{flips} flips, {} offsets", offsets.len());
}

#[test]
fn a_wrong_output_length_is_refused() {
    let gpu = device();
    let (view, output) = (words(gpu, &[0; 8]), poisoned(gpu, 5));
    let normalisation = words(gpu, &[0; 2]);
    let views =
        GatherViews { samples: &view, indices: &view, ids: &view, normalisation: &normalisation, output: &output.view };
    let found = Gather::new(
        gpu,
        &views,
        2,
        [1, 1, 3],
        GatherForm { element: SampleElement::U8, planar: true },
        Augmentation::default(),
    );
    assert!(matches!(found, Err(GpuError::Length { argument: "output", expected: 6, found: 5, .. })));
}

#[test]
fn initialisation_is_uniform_and_pure() {
    let gpu = device();
    let draw = |count: usize, tensor: usize, seed: u64, bound: f32| {
        let weights = poisoned(gpu, count);
        run(gpu, &[&init_uniform(gpu, &weights.view, 0, tensor, seed, bound).unwrap()]);
        weights.read(gpu)
    };
    let bound = 0.25_f32;
    let count = 100_003;
    let whole = draw(count, 2, 9, bound);
    assert!(whole.iter().all(|w| (-bound..bound).contains(w)));
    // unit variables sqrt(3) w / bound: mean within 5/sqrt(n), second moment within 5 sqrt((1.8 - 1)/n) of 1
    let unit: Vec<f64> = whole.iter().map(|w| f64::from(*w) / f64::from(bound) * 3f64.sqrt()).collect();
    let n = count as f64;
    assert!((unit.iter().sum::<f64>() / n).abs() < 5.0 / n.sqrt());
    assert!((unit.iter().map(|u| u * u).sum::<f64>() / n - 1.0).abs() < 5.0 * (0.8 / n).sqrt());
    // the ends are reached: the largest of n misses the bound by more than 20/n with probability e^-10
    let largest = whole.iter().copied().fold(f32::MIN, f32::max);
    assert!(f64::from(largest) > f64::from(bound) * (1.0 - 40.0 / n), "largest {largest}");
    for len in [1, 2, 3, 4, 5, 63, 257] {
        assert_eq!(draw(len, 2, 9, bound), whole[..len], "a shorter tensor starts alike");
    }
    for other in [draw(64, 3, 9, bound), draw(64, 2, 10, bound), draw(64, 2, 9 + (1 << 32), bound)] {
        assert!(other.iter().zip(&whole).all(|(a, b)| a != b), "tensor, seed and its high word all count");
    }
}
