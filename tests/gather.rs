//! A batch from the resident bytes, and uniform initialisation.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod common;

use common::{ROUNDOFF, assert_within, device, hash, poisoned, words};
use jostle::{
    gpu::GpuError,
    kernels::{Gather, init_uniform},
};

fn packed(bytes: &[u8]) -> Vec<u32> {
    let word = |four: &[u8]| four.iter().rev().fold(0, |word, byte| word << 8 | u32::from(*byte));
    bytes.chunks(4).map(word).collect()
}

#[test]
fn bytes_at_any_offset_become_scaled_rows() {
    let gpu = device();
    // features of every remainder mod 4, so that samples start at every byte of a word
    for features in [1, 2, 3, 5, 64, 67] {
        let (samples, batch) = (11, 6);
        let bytes: Vec<u8> = (0..samples * features).map(|i| hash(31, i as u64) as u8).collect();
        let order: Vec<u32> = (0..samples as u32).map(|i| (i * 7 + 3) % samples as u32).collect();
        let (pixels, indices) = (words(gpu, &packed(&bytes)), words(gpu, &order));
        for (first, valid) in [(0, 6), (5, 6), (7, 4), (10, 1), (2, 0)] {
            let [scale, shift] = [1.0 / (255.0 * 0.3), -0.4 / 0.3_f32];
            let output = poisoned(gpu, batch * features);
            let views = [&pixels, &indices, &output.view];
            let gather = Gather::new(gpu, views, [batch, features], [scale, shift]).unwrap();
            let mut recorder = gpu.record();
            gather.record(&mut recorder, first, valid);
            recorder.submit().unwrap();
            let (mut expected, mut bounds) = (vec![0.0; batch * features], vec![0.0; batch * features]);
            for i in 0..valid as usize * features {
                let sample = order[first as usize + i / features] as usize;
                let product = f64::from(bytes[sample * features + i % features]) * f64::from(scale);
                expected[i] = product + f64::from(shift);
                // one rounding of the product, one of the sum; rows that hold nothing are exactly 0
                bounds[i] = 2.0 * ROUNDOFF * (product.abs() + f64::from(shift.abs()));
            }
            assert_within(&format!("{features} features, {valid} from {first}"), &output.read(gpu), &expected, &bounds);
        }
    }
}

#[test]
fn a_wrong_output_length_is_refused() {
    let gpu = device();
    let (view, output) = (words(gpu, &[0; 8]), poisoned(gpu, 5));
    let found = Gather::new(gpu, [&view, &view, &output.view], [2, 3], [1.0, 0.0]);
    assert!(matches!(found, Err(GpuError::Length { argument: "output", expected: 6, found: 5, .. })));
}

#[test]
fn initialisation_is_uniform_and_pure() {
    let gpu = device();
    let draw = |count: usize, tensor: usize, seed: u64, bound: f32| {
        let weights = poisoned(gpu, count);
        common::run(gpu, &[&init_uniform(gpu, &weights.view, tensor, seed, bound).unwrap()]);
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
