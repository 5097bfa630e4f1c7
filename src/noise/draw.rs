//! The host's twin of `shaders/shared/philox.wgsl` and `noise.wgsl`: the same arithmetic in the same order.

use super::Distribution;

/// Which use of randomness a counter serves; the last word of Philox' counter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Weight noise.
    Weights = 0,
    /// Initialisation.
    Init = 1,
    /// The choice of a random group.
    Group = 2,
    /// Masks of dropout.
    Dropout = 3,
    /// Crops, flips and cutouts.
    Augment = 4,
    /// Probes of curvature matrices.
    Probes = 5,
    /// Keys of a step's further draws of noise.
    Draw = 6,
    /// Tokens of texts that a model writes; drawn on the host alone.
    Sampling = 7,
    /// Labels drawn anew at each visit of a sample; drawn on the host alone.
    Labels = 8,
    /// Weights drawn from a posterior; drawn on the host alone.
    Posterior = 9,
}

/// Philox4x32-10 (Salmon et al., SC 2011): 128 random bits from a counter and a key.
#[must_use]
pub fn philox(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let product = |a: u32, b: u32| u64::from(a) * u64::from(b);
    let mut c = counter;
    let mut k = key;
    for _ in 0..10 {
        let (p0, p1) = (product(0xD251_1F53, c[0]), product(0xCD9E_8D57, c[2]));
        c = [(p1 >> 32) as u32 ^ c[1] ^ k[0], p1 as u32, (p0 >> 32) as u32 ^ c[3] ^ k[1], p0 as u32];
        k = [k[0].wrapping_add(0x9E37_79B9), k[1].wrapping_add(0xBB67_AE85)];
    }
    c
}

/// The two words of a seed, as Philox' key.
pub(super) fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// Unit noise of a tensor's element at a step: zero mean, unit variance.
///
/// Agrees with the device to a few ulp (exactly where the adapter does not contract `a * b + c`).
#[must_use]
pub fn unit_noise(distribution: Distribution, seed: u64, step: u32, tensor: u32, element: usize) -> f32 {
    unit(Stream::Weights, distribution, seed, step, tensor, element)
}

/// A Rademacher probe's value, 1 or -1, for a tensor's element: independent of the noise of any step, whatever the seeds.
#[must_use]
pub fn probe(seed: u64, number: u32, tensor: u32, element: usize) -> f32 {
    unit(Stream::Probes, Distribution::Rademacher, seed, number, tensor, element)
}

/// Standard normals for the first `len` elements of a tensor in a draw of weights from a posterior: independent of the noise of
/// any step, whatever the seeds.
pub fn posterior_normals(seed: u64, draw: u32, tensor: u32, len: usize) -> impl Iterator<Item = f32> {
    let octet = move |octet: usize| {
        let words = philox([octet as u32, tensor, draw, Stream::Posterior as u32], key(seed));
        words.into_iter().flat_map(box_muller)
    };
    (0..len.div_ceil(8)).flat_map(octet).take(len)
}

fn unit(stream: Stream, distribution: Distribution, seed: u64, number: u32, tensor: u32, element: usize) -> f32 {
    let words = philox([(element / 8) as u32, tensor, number, stream as u32], key(seed));
    let word = words[element % 8 / 2];
    let half = ((word >> (16 * (element % 2))) & 0xFFFF).cast_signed();
    match distribution {
        Distribution::Gaussian => box_muller(word)[element % 2],
        Distribution::Rademacher => (1 - 2 * (half >> 15)) as f32,
        Distribution::Uniform => 2.642_899_7e-5 * (2 * half - 65_535) as f32,
    }
}

/// A pair of standard normals: 20 bits of radius, 12 of angle.
fn box_muller(word: u32) -> [f32; 2] {
    let uniform = ((word >> 12) as f32 + 0.5) * 2f32.powi(-20);
    let radius = (-2.0 * log(uniform)).sqrt();
    let [cos, sin] = unit_circle(word & 0xFFF);
    [radius * cos, radius * sin]
}

/// `noise_log` of `shaders/shared/noise.wgsl`: a minimax polynomial on [sqrt(1/2), sqrt(2)).
fn log(x: f32) -> f32 {
    let bits = x.to_bits();
    let e = bits.wrapping_sub(0x3F35_04F3).cast_signed() >> 23;
    let m = f32::from_bits(bits.wrapping_sub(e.cast_unsigned() << 23)) - 1.0;
    let coefficients = [
        9.142_127e-2,
        -1.468_172e-1,
        1.491_420_4e-1,
        -1.650_325_4e-1,
        1.995_647_7e-1,
        -2.500_570_7e-1,
        3.333_42e-1,
        -4.999_991_7e-1_f32,
    ];
    let p = coefficients.into_iter().reduce(|p, c| p * m + c).unwrap_or_default();
    (p * m) * m + m + e as f32 * std::f32::consts::LN_2
}

/// The cosine and sine in `noise_box_muller` of `shaders/shared/noise.wgsl` (Cephes' sinf and cosf on an eighth of a turn).
fn unit_circle(bits: u32) -> [f32; 2] {
    let angle = (((bits & 0x3FF).cast_signed() - 512) as f32 + 0.5) * 1.533_980_8e-3;
    let z = angle * angle;
    let s = ((-1.951_529_6e-4 * z + 8.332_161e-3) * z - 1.666_665_5e-1) * z * angle + angle;
    let c = ((2.443_315_7e-5 * z - 1.388_731_6e-3) * z + 4.166_664_6e-2) * z * z - 0.5 * z + 1.0;
    match bits >> 10 {
        0 => [c, s],
        1 => [-s, c],
        2 => [-c, -s],
        _ => [s, -c],
    }
}

#[cfg(test)]
mod tests {
    use super::philox;

    /// Random123's tests/kat_vectors, Philox4x32-10.
    #[test]
    fn philox_gives_the_published_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, expected) in cases {
            assert_eq!(philox(counter, key), expected);
        }
    }
}
